/** The Realtime endpoint under the contract, with a client of its protocol as the caller's end. */
import { type Event, plainClient } from "../integration/realtime-rig.ts";
import { clock, openFake, tokenOf, until } from "../integration/websocket-rig.ts";
import type { Adapter } from "./adapter.ts";

/** From the socket to the loudspeaker. */
const WAY_NS = 30e6;

/** Plays what it is given, in order and in real time, until it is interrupted. */
class Player {
  readonly #turnOf = new Map<string, number>();
  readonly #given: { turn: number; startNs: number; us: number }[] = [];
  #outNs = 0;

  hear(event: Event): void {
    if (event.type === "response.created") {
      const { id, metadata } = event.response as { id: string; metadata: { turn: string } };
      this.#turnOf.set(id, Number(metadata.turn));
    }
    if (event.type === "response.output_audio.delta") {
      const us = (Buffer.from(String(event.delta), "base64").length / 48) * 1_000;
      const startNs = Math.max(this.#outNs, clock.nowNs() + WAY_NS);
      this.#outNs = startNs + us * 1_000;
      this.#given.push({ turn: this.#turnOf.get(String(event.response_id)) ?? 0, startNs, us });
    }
    if (event.type === "input_audio_buffer.speech_started") this.#interrupted();
  }

  heardUs(turn: number): number {
    const nowNs = clock.nowNs();
    const heard = this.#given.filter((one) => one.turn === turn);
    return Math.round(heard.reduce((sum, one) => sum + playedUs(one, nowNs), 0));
  }

  #interrupted(): void {
    const nowNs = clock.nowNs();
    for (const one of this.#given) one.us = playedUs(one, nowNs);
    this.#outNs = nowNs;
  }
}

/** A frame that has begun is heard to its end. */
function playedUs({ startNs, us }: { startNs: number; us: number }, nowNs: number): number {
  return startNs <= nowNs ? us : 0;
}

/** 24 kHz of the same level. */
function risen(frame: Int16Array): Event {
  const audio = Buffer.from(new Int16Array(480).fill(frame[0] ?? 0).buffer).toString("base64");
  return { type: "input_audio_buffer.append", audio };
}

export async function realtime(): Promise<Adapter> {
  const rig = await openFake();
  return {
    name: "realtime",
    // 24 kHz, and a filter.
    lossy: true,
    open: async (id) => {
      const player = new Player();
      const client = plainClient(rig, tokenOf(id));
      client.onEvent = (event) => player.hear(event);
      await until(() => client.of("session.created").length === 1, "session.created");
      const session = rig.session(id);
      let epoch = 1;
      const speak = (frames: readonly Int16Array[]): void => {
        // The filter gives the last of it when something follows.
        for (const frame of [...frames, new Int16Array(320), new Int16Array(320)]) client.send(risen(frame));
      };
      return {
        epoch,
        received: () => session.received,
        send: (message) => session.transport.send(message),
        speak,
        endOfUtterance: () => {
          if (session.audio().length === 0) speak(Array.from({ length: 5 }, () => new Int16Array(320)));
          client.send({ type: "input_audio_buffer.commit" });
        },
        stop: () => {
          // Only what is being answered can be cancelled.
          session.transport.send({ kind: "control", epoch, signal: "turn_open", turn: 9, reason: "" });
          client.send({ type: "response.cancel" });
        },
        hangUp: () => client.close(),
        heardUs: (turn) => player.heardUs(turn),
        raiseEpoch: (raised) => {
          const took = session.request.raiseEpoch(raised);
          if (took) epoch = raised;
          return Promise.resolve(took);
        },
        close: async () => {
          session.transport.send({ kind: "close", epoch, reason: "completed" });
          await until(() => client.closed.length > 0, "the end of the connection");
        },
      };
    },
    close: () => rig.transport.close(),
  };
}
