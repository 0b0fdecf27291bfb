import type { TransportIngress } from "@rspp/ports/transport";
import { describe, expect, test } from "vitest";
import { AgentLine, type Fence, type Flush } from "./agent-line.ts";
import type { Media } from "./audio-out.ts";
import { limits } from "./limits.ts";
import { createReceiverGate } from "./receiver-gate.ts";
import { HandClock } from "./testing/hand-clock.ts";
import { mediaOf } from "./testing/media.ts";

/** A line whose `flush` is answered as the kind of adapter does. */
function rig(answer: (line: AgentLine, flush: Flush) => void = () => {}) {
  const clock = new HandClock();
  const said: TransportIngress[] = [];
  const sent: Media[] = [];
  let flush: Flush | undefined;
  const gate = createReceiverGate(1);
  const line: AgentLine = new AgentLine({
    clock,
    gate,
    format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
    deliver: (message) => void said.push(message),
    send: (media) => {
      sent.push(media);
      line.written(media.turn, media.generation, media.offsetUs + media.durationUs);
    },
    cut: () => 7,
    flush: (_fence, pending) => {
      flush = pending;
      answer(line, pending);
    },
  });
  const fence: Fence = { kind: "fence", epoch: 1, turn: 1, generation: 1, all: true, reason: "barge_in" };
  const play = (count: number) => mediaOf(1, count, { end: false }).map((media) => line.media(media));
  const acks = () => said.filter((m) => m.kind === "fence_ack");
  const states = () => said.flatMap((m) => (m.kind === "delivery" ? [`${m.state}/${m.playedUs}`] : []));
  return { clock, gate, line, sent, fence, play, acks, states, flush: () => flush };
}

const progress = (playedUs: number) => ({ turn: 1, generation: 0, state: "playing", playedUs }) as const;

describe("who knows what was played", () => {
  test("F-039 an adapter that plays itself answers at once, in media time", () => {
    const { line, fence, play, acks, states } = rig((own, flush) => void own.flushed(flush, 60_000, 7));
    play(10);
    line.played(progress(20_000));
    line.fence(fence);
    expect(acks()).toEqual([{ kind: "fence_ack", epoch: 1, turn: 1, generation: 1, playedUs: 60_000, flushed: 7 }]);
    expect(states()).toEqual(["accepted/0", "started/0", "cancelled/60000"]);
  });

  test("F-039 a client answers later, once; what it says beyond what was sent is cut to it, and told", () => {
    const { line, fence, play, acks, states, flush } = rig();
    play(10);
    line.played(progress(20_000));
    line.fence(fence);
    expect(acks()).toEqual([]);
    const pending = flush();
    if (pending === undefined) throw new Error("it was flushed");
    expect(line.flushed(pending, 900_000, 3)?.violations?.[0]?.field).toBe("played_us");
    expect(line.flushed(pending, 100_000, 3)).toBeNull();
    expect(acks()).toMatchObject([{ playedUs: 200_000, flushed: 3 }]);
    expect(states().at(-1)).toBe("cancelled/200000");
  });

  test("F-039 unanswered, it settles by the last report; what comes later is refused, or heard of no more", () => {
    const { clock, line, fence, play, acks, gate } = rig();
    play(10);
    line.played(progress(80_000));
    line.fence(fence);
    clock.pass(limits.FLUSH_ANSWER_MS);
    expect(acks()).toMatchObject([{ playedUs: 80_000 }]);
    expect(line.fencesUnanswered).toBe(1);
    expect(mediaOf(1, 1, { from: 11 }).map((media) => line.media(media))).toEqual(["fenced"]);
    expect(gate.fenced(1, 0)).toBe(true);
    expect(line.played(progress(190_000))).toBeNull();
  });

  test("a report of what was never sent names its field", () => {
    const { line, play } = rig();
    expect(line.played(progress(1))?.violations?.[0]?.field).toBe("turn_number");
    play(2);
    expect(line.played(progress(50_000))?.violations?.[0]?.field).toBe("played_us");
    expect(line.played({ ...progress(40_000), state: "completed" })?.violations?.[0]?.field).toBe("state");
  });
});
