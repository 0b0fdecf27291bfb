import type { AudioFormat } from "@rspp/ports/provider";
import type { Played } from "@rspp/transport/agent-line";
import { HandClock } from "@rspp/transport/testing/hand-clock";
import { mediaOf } from "@rspp/transport/testing/media";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ROOM_RATE_HZ } from "./agent-room.ts";
import { limits } from "./limits.ts";
import { Playout } from "./playout.ts";

const format: AudioFormat = { codec: "pcm_s16le", rateHz: ROOM_RATE_HZ.agent, channels: 1 };
const bytesPerMs = (ROOM_RATE_HZ.agent * 2) / 1_000;

/** A track that plays by the clock what it was given. */
function rig() {
  const clock = new HandClock();
  const said: (Played & { atMs: number })[] = [];
  const answers: { turn: number; playedUs: number; frames: number }[] = [];
  const states: boolean[] = [];
  let endMs = 0;
  let givenMs = 0;
  const nowMs = (): number => clock.nowNs() / 1e6;
  const queuedMs = (): number => Math.max(0, endMs - nowMs());
  const playout = new Playout({
    clock,
    room: {
      play: (bytes) => {
        givenMs += bytes.byteLength / bytesPerMs;
        endMs = Math.max(endMs, nowMs()) + bytes.byteLength / bytesPerMs;
      },
      clear: () => {
        const left = queuedMs();
        endMs = nowMs();
        return left;
      },
      queuedMs,
    },
    agent: {
      written: () => undefined,
      played: (played) => {
        said.push({ ...played, atMs: nowMs() });
        return null;
      },
      flushed: ({ turn }, playedUs, frames) => {
        answers.push({ turn, playedUs, frames });
        return null;
      },
    },
    speaking: (is) => states.push(is),
  });
  const push = (turn: number, count: number, end = true) =>
    mediaOf(turn, count, { format, end }).map((media) => playout.push(media));
  return { clock, playout, said, answers, states, push, queuedMs, givenMs: () => givenMs };
}

const ofTurn = (turn: number) => (n: number) => n === turn;

describe("what the agent's track has played", () => {
  test("F-039 F-083 a turn is told from its first sample to its end, never more than the track has played", () => {
    const { clock, said, push, states, playout } = rig();
    push(1, 50);
    for (let ms = 0; ms < 1_200; ms += 5) clock.pass(5);
    expect([said[0]?.state, said[0]?.playedUs]).toEqual(["playing", 0]);
    expect(said.at(-1)).toMatchObject({ turn: 1, state: "completed", playedUs: 1_000_000 });
    for (const { playedUs, atMs } of said) expect(playedUs).toBeLessThanOrEqual(atMs * 1_000 + 1);
    expect([states, playout.idle(), clock.pending()]).toEqual([[true, false], true, 0]);
  });

  test("F-033 F-039 a flush answers at once with what was heard; only the lead is taken back", () => {
    const { clock, push, playout, answers, queuedMs } = rig();
    push(1, 100);
    clock.pass(330);
    const cut = playout.cut(ofTurn(1));
    playout.flush({ turn: 1, generation: 1 }, cut, ofTurn(1));
    expect(answers).toEqual([{ turn: 1, playedUs: 330_000, frames: expect.any(Number) }]);
    expect(answers[0]?.frames).toBeLessThanOrEqual(100 - 16);
    expect(queuedMs()).toBe(0);
    expect([playout.idle(), playout.leftMs()]).toEqual([true, 0]);
  });

  test("a flush of a turn that was heard whole says so, and what is not fenced goes on where it was", () => {
    const { clock, push, playout, answers, said, givenMs } = rig();
    push(1, 5);
    push(2, 50);
    clock.pass(130);
    playout.flush({ turn: 1, generation: 1 }, 0, ofTurn(1));
    expect(answers).toEqual([{ turn: 1, playedUs: 100_000, frames: 0 }]);
    clock.pass(2_000);
    expect(said.at(-1)).toMatchObject({ turn: 2, state: "completed", playedUs: 1_000_000 });
    // What was taken back was given again, and nothing else twice.
    expect(givenMs()).toBeLessThanOrEqual(1_100 + limits.LEAD_MS + 20);
  });

  test("F-033 property: whenever it is cut, what is said to be heard is what the track played of the turn", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 80 }), fc.integer({ min: 0, max: 2_000 }), (frames, afterMs) => {
        const { clock, push, playout, answers } = rig();
        push(1, frames);
        clock.pass(afterMs);
        const cut = playout.cut(ofTurn(1));
        playout.flush({ turn: 1, generation: 1 }, cut, ofTurn(1));
        const heardUs = Math.min(frames * 20_000, afterMs * 1_000);
        expect(Math.abs((answers[0]?.playedUs ?? -1) - heardUs)).toBeLessThanOrEqual(1);
      }),
    );
  });
});
