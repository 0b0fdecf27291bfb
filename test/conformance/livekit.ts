/** The LiveKit adapter under the contract, in a room that plays by the clock; a real server is in `test/livekit`. */
import { s16ToBytes } from "@rspp/audio/pcm";
import type { OpenedSession } from "@rspp/ports/session-opener";
import type { TransportEgress } from "@rspp/ports/transport";
import { type AgentRoom, ROOM_RATE_HZ, type RoomListener } from "@rspp/transport-livekit/agent-room";
import { LiveKitTransport } from "@rspp/transport-livekit/transport";
import { clock, FakeSession, tokenOf, until, verifier } from "../integration/websocket-rig.ts";
import type { Adapter } from "./adapter.ts";

const LOUDNESS = 1_000;

/** What the track was given: a turn by its loudness, and when it is heard. */
interface Sound {
  readonly turn: number;
  readonly startMs: number;
  endMs: number;
}

class Room implements AgentRoom {
  readonly listener: RoomListener;
  readonly #sounds: Sound[] = [];
  #endMs = 0;

  constructor(listener: RoomListener) {
    this.listener = listener;
  }

  async join(): Promise<void> {}
  transcribe(): void {}
  agentState(): void {}
  tell(): void {}
  async leave(): Promise<void> {}

  play(bytes: Uint8Array): void {
    const samples = new Int16Array(bytes.slice().buffer);
    const startMs = Math.max(performance.now(), this.#endMs);
    this.#endMs = startMs + (samples.length * 1_000) / ROOM_RATE_HZ.agent;
    const turn = Math.round((samples[samples.length >> 1] ?? 0) / LOUDNESS);
    this.#sounds.push({ turn, startMs, endMs: this.#endMs });
  }

  clear(): number {
    const now = performance.now();
    const left = this.queuedMs();
    for (const sound of this.#sounds) sound.endMs = Math.min(sound.endMs, Math.max(now, sound.startMs));
    this.#endMs = now;
    return left;
  }

  queuedMs(): number {
    return Math.max(0, this.#endMs - performance.now());
  }

  heardUs(of: number): number {
    const now = performance.now();
    const heardMs = this.#sounds
      .filter(({ turn }) => turn === of)
      .reduce((ms, { startMs, endMs }) => ms + Math.max(0, Math.min(now, endMs) - startMs), 0);
    return heardMs * 1_000;
  }
}

/** As loud as its turn's number says. */
function audible(message: TransportEgress): TransportEgress {
  if (message.kind !== "media") return message;
  const samples = new Int16Array(message.bytes.byteLength >> 1).fill(message.turn * LOUDNESS);
  return { ...message, bytes: s16ToBytes(samples) };
}

export async function livekit(): Promise<Adapter> {
  const sessions = new Map<string, FakeSession>();
  const rooms: Room[] = [];
  const transport = new LiveKitTransport({
    ...{ clock, verifier, url: "ws://livekit.test", clientUrl: "" },
    tokens: { agent: () => Promise.resolve("agent"), caller: () => Promise.resolve("caller") },
    openSession: async (request) => {
      const session = new FakeSession(request);
      const { tenant, session: sessionId, pipelineVersion } = request.claims;
      sessions.set(sessionId, session);
      const value: OpenedSession = { session, epoch: 1, tenant, sessionId, pipelineVersion };
      return { ok: true, value };
    },
    createRoom: (listener) => {
      const room = new Room(listener);
      rooms.push(room);
      return room;
    },
  });
  return {
    name: "livekit",
    open: async (id) => {
      const joined = await transport.join({ token: tokenOf(id), room: "", callerIdentity: "", callerWithinMs: 0 });
      const room = rooms.at(-1);
      if (!joined.ok || room === undefined) throw new Error("the agent is in no room");
      const { listener } = room;
      listener.callerCame("caller");
      await until(() => transport.session(id)?.line.isOpen() === true, "the session");
      const session = sessions.get(id);
      if (session === undefined) throw new Error(`no session ${id}`);
      let epoch = 1;
      return {
        epoch,
        received: () => session.received,
        send: (message) => session.transport.send(audible(message)),
        speak: (frames) => {
          for (const frame of frames) listener.audio(s16ToBytes(frame));
        },
        endOfUtterance: () => listener.signal('{"signal":"end_of_utterance"}'),
        stop: () => listener.signal('{"signal":"stop"}'),
        hangUp: () => listener.callerLeft("client_initiated", true),
        heardUs: (turn) => room.heardUs(turn),
        raiseEpoch: (raised) => {
          const took = session.request.raiseEpoch(raised);
          if (took) epoch = raised;
          return Promise.resolve(took);
        },
        close: async () => {
          session.transport.send({ kind: "close", epoch, reason: "completed" });
          await until(() => transport.session(id) === undefined, "the end of the call");
        },
      };
    },
    close: () => transport.close(),
  };
}
