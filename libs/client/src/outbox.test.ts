import { describe, expect, test } from "vitest";
import { Outbox } from "./outbox.ts";

const none = { case: undefined } as const;

describe("what was said and not confirmed", () => {
  test("thirty seconds of audio are kept, the oldest goes first and is counted, signals stay", () => {
    const outbox = new Outbox();
    outbox.keep("signal", none, 100, 0);
    for (let ms = 0; ms < 40_000; ms += 20) outbox.keep("audio", none, 640, ms);
    expect([outbox.lastAudio(), outbox.lastSignal()]).toEqual([2_000, 1]);
    const kept = outbox.after(0, 0).length;
    expect(kept).toBeLessThanOrEqual(1 + 1_501);
    expect(kept).toBeGreaterThanOrEqual(1 + 1_500);
    expect(outbox.lostFrames).toBe(2_000 - (kept - 1));
  });

  test("bytes and number are bounded, too", () => {
    const outbox = new Outbox();
    for (let i = 0; i < 20; i++) outbox.keep("audio", none, 1_000_000, 0);
    expect(outbox.after(0, 0).length).toBe(6);
    for (let i = 0; i < 9_000; i++) outbox.keep("signal", none, 1, 0);
    expect(outbox.after(0, 0).length).toBeLessThanOrEqual(8_192);
  });

  test("what is confirmed is forgotten, each kind by its own numbers, and the order stays", () => {
    const outbox = new Outbox();
    const messages = [1, 2, 3, 4].map(() => ({ ...none }));
    for (const [i, message] of messages.entries()) outbox.keep(i === 2 ? "signal" : "audio", message, 1, 0);
    const left = outbox.after(1, 0);
    expect(left.length).toBe(3);
    expect(left.every((message, i) => message === messages[i + 1])).toBe(true);
    outbox.confirmed(3, 1);
    expect(outbox.after(0, 0)).toEqual([]);
  });
});
