import type { ClientHost, OutputFrame } from "@rspp/client/types";
import { expect, test } from "vitest";
import { Loudspeaker } from "./loudspeaker.ts";

/** Time that moves by hand. */
function manualHost(): ClientHost & { to(ms: number): void } {
  let nowMs = 0;
  const timers = new Map<object, { atMs: number; fire: () => void }>();
  return {
    nowMs: () => nowMs,
    setTimer: (fire, ms) => {
      const id = {};
      timers.set(id, { atMs: nowMs + ms, fire });
      return id;
    },
    clearTimer: (id) => void timers.delete(id as object),
    random: () => 0,
    to(ms) {
      for (;;) {
        const due = [...timers].filter(([, { atMs }]) => atMs <= ms).sort((a, b) => a[1].atMs - b[1].atMs)[0];
        if (due === undefined) break;
        timers.delete(due[0]);
        nowMs = Math.max(nowMs, due[1].atMs);
        due[1].fire();
      }
      nowMs = ms;
    },
  };
}

function frame(turn: number, index: number, value: number, end = false): OutputFrame {
  const format = { codec: "pcm_s16le" as const, rateHz: 16_000, channels: 1 };
  const data = new Uint8Array(new Int16Array(320).fill(value).buffer);
  return { turn, generation: 0, sequence: index + 1, offsetUs: index * 20_000, durationUs: 20_000, format, data, end };
}

test("what is heard is recorded with its pauses, and a cut frame only as far as it was played", () => {
  const host = manualHost();
  const speaker = new Loudspeaker({ host, device: null, onFrame: () => {}, onPlayed: () => {} });
  host.to(1_000);
  for (let i = 0; i < 10; i++) speaker.play(frame(1, i, 100));
  host.to(1_095);
  const { playedUs, flushedFrames } = speaker.flush({ turn: 1, generation: 1, allEarlier: true, reason: "barge_in" });
  expect([playedUs, flushedFrames]).toEqual([55_000, 7]);
  host.to(2_000);
  speaker.play(frame(2, 0, 200, true));
  host.to(2_100);
  const samples = speaker.recording();
  const count = (value: number): number => samples.filter((sample) => sample === value).length;
  expect(count(100)).toBe(55 * 16);
  expect(count(200)).toBe(320);
  // Silence until 1.04 s, the agent's buffer included, and between the turns.
  expect(samples.indexOf(100)).toBe(1_040 * 16);
  expect(samples.indexOf(200)).toBe(2_000 * 16);
});
