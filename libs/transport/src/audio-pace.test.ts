import { describe, expect, test } from "vitest";
import { AudioPace } from "./audio-pace.ts";
import { limits } from "./limits.ts";
import { HandClock } from "./testing/hand-clock.ts";

function rig() {
  const clock = new HandClock();
  const went: string[] = [];
  const pace = new AudioPace(clock);
  const frames = (count: number): void => {
    for (let i = 0; i < count; i++) pace.push(20_000, () => went.push("audio"));
  };
  return { clock, went, pace, frames, signal: (name: string) => pace.push(0, () => went.push(name)) };
}

describe("the pace of a caller's audio", () => {
  test("in real time, and after a small hiccup, nothing waits", () => {
    const { clock, went, pace, frames, signal } = rig();
    for (let i = 0; i < 50; i++) {
      frames(1);
      clock.pass(20);
    }
    clock.pass(180);
    frames(10);
    signal("end_of_utterance");
    expect(went).toEqual([...Array(60).fill("audio"), "end_of_utterance"]);
    expect([pace.waiting(), clock.pending()]).toEqual([0, 0]);
  });

  test("F-091 what comes all at once goes on four times faster than it was spoken, signals in their place", () => {
    const { clock, went, pace, frames, signal } = rig();
    frames(250);
    signal("end_of_utterance");
    frames(5);
    expect(went).toHaveLength(10);
    clock.pass(500);
    expect(went).toHaveLength(110);
    clock.pass(1_000);
    expect(went).toHaveLength(256);
    expect(went.indexOf("end_of_utterance")).toBe(250);
    expect([pace.waiting(), clock.pending()]).toEqual([0, 0]);
  });

  test("long frames go, a flush lets all go, a close none, and what waits is bounded", () => {
    const { clock, went, pace, frames } = rig();
    for (let i = 0; i < 3; i++) pace.push(1_000_000, () => went.push("long"));
    clock.pass(200);
    expect(went).toEqual(["long", "long", "long"]);
    frames(100);
    pace.flush();
    expect(went).toHaveLength(103);
    frames(100);
    pace.close();
    clock.pass(10_000);
    expect([went.length, clock.pending()]).toEqual([103, 0]);
    const over = limits.PACE_BURST_MS / 20 + limits.PACE_ITEMS_MAX + 1;
    frames(over);
    expect([pace.waiting(), went.length]).toEqual([0, 103 + over]);
  });
});
