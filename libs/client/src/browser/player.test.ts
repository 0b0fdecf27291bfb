import { describe, expect, test } from "vitest";
import { FakeAudio } from "../testing/fake-audio.ts";
import { FakeHost } from "../testing/fake-host.ts";
import type { OutputFrame, Played } from "../types.ts";
import { WebAudioPlayer } from "./player.ts";

function rig() {
  const host = new FakeHost();
  const context = new FakeAudio(host);
  const reports: Played[] = [];
  const onPlayed = (played: Played): void => void reports.push(played);
  const player = new WebAudioPlayer({ context, host, onPlayed, bufferMs: 80 });
  return { host, context, reports, player };
}

function frame(turn: number, sequence: number, end = false, generation = 0): OutputFrame {
  const data = new Uint8Array(Int16Array.from({ length: 320 }, () => 16_384).buffer);
  const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
  return { turn, generation, sequence, offsetUs: (sequence - 1) * 20_000, durationUs: 20_000, format, data, end };
}

const starts = (context: FakeAudio): number[] => context.sounds.map((s) => Math.round(s.startS * 1_000));

describe("the browser's player", () => {
  test("frames follow each other without a gap on the audio clock, whatever the page does, and are reported as heard", () => {
    const { host, context, reports, player } = rig();
    for (let i = 1; i <= 20; i++) player.play(frame(1, i));
    expect(starts(context)).toEqual(Array.from({ length: 20 }, (_, i) => 80 + i * 20));
    expect(context.sounds[0]?.samples[0]).toBe(0.5);
    host.pass(90);
    expect(reports).toEqual([{ turn: 1, generation: 0, state: "playing", playedUs: 0 }]);
    player.play(frame(1, 21, true));
    host.pass(1_000);
    expect(reports.at(-1)).toEqual({ turn: 1, generation: 0, state: "completed", playedUs: 420_000 });
    expect(reports.map((r) => r.playedUs)).toEqual(reports.map((r) => r.playedUs).toSorted((a, b) => a - b));
    expect([player.held(), player.underruns, host.waiting()]).toEqual([0, 0, 0]);
  });

  test("what is heard later than it is played is reported later", () => {
    const { host, context, reports, player } = rig();
    context.outputLatency = 0.2;
    for (let i = 1; i <= 5; i++) player.play(frame(1, i, i === 5));
    host.pass(270);
    expect(reports).toEqual([]);
    host.pass(130);
    expect(reports.map((r) => r.state)).toEqual(["playing", "completed"]);
  });

  test("F-175 a flush silences at once, counts the part of the frame that was heard, and spares later turns", () => {
    const { host, context, player } = rig();
    for (let i = 1; i <= 10; i++) player.play(frame(1, i));
    player.play(frame(2, 1, true));
    host.pass(130);
    expect(player.flush({ turn: 1, generation: 1, allEarlier: true, reason: "barge_in" })).toEqual({
      playedUs: 50_000,
      flushedFrames: 7,
    });
    host.pass(1_000);
    // 50 ms of the cut turn and the later turn's one frame.
    expect(context.heardS(0, 10)).toBeCloseTo(0.07);
    expect(context.heardS(0.13, 10)).toBeCloseTo(0.02);
    expect(player.held()).toBe(0);
  });

  test("a flush of what was never heard, and twice", () => {
    const { host, context, player } = rig();
    player.play(frame(1, 1));
    const cut = { turn: 1, generation: 1, allEarlier: false, reason: "stop" };
    expect(player.flush(cut)).toEqual({ playedUs: 0, flushedFrames: 1 });
    expect(player.flush(cut)).toEqual({ playedUs: 0, flushedFrames: 0 });
    host.pass(1_000);
    expect(context.heardS(0, 10)).toBe(0);
    expect(host.waiting()).toBe(0);
  });

  test("a held turn waits and goes on where it stopped; a later one is not held", () => {
    const { host, context, reports, player } = rig();
    for (let i = 1; i <= 10; i++) player.play(frame(1, i, i === 10));
    host.pass(90);
    player.hold(1);
    host.pass(1_000);
    expect(context.heardS(0, 2)).toBeCloseTo(0.02);
    player.resume();
    host.pass(1_000);
    expect(context.heardS(0, 5)).toBeCloseTo(0.2);
    expect(reports.at(-1)).toMatchObject({ state: "completed", playedUs: 200_000 });
    player.hold(2);
    player.play(frame(3, 1, true));
    host.pass(200);
    expect(reports.at(-1)).toMatchObject({ turn: 3, state: "completed" });
  });

  test("sound that ran dry begins again with a little gathered, and a bare end completes the turn", () => {
    const { host, context, reports, player } = rig();
    player.play(frame(1, 1));
    host.pass(5_000);
    player.play(frame(1, 2));
    player.play({ ...frame(1, 3, true), data: new Uint8Array(0), durationUs: 0 });
    host.pass(200);
    expect(starts(context)).toEqual([80, 5_080]);
    expect(player.underruns).toBe(1);
    expect(reports.at(-1)).toMatchObject({ state: "completed", playedUs: 40_000 });
  });

  test("a minute at most is held, what cannot be played is lost, and nothing is heard after the end of the call", () => {
    const { host, context, reports, player } = rig();
    for (let i = 1; i <= 3_100; i++) player.play(frame(1, i));
    expect([player.held(), player.overflowed]).toEqual([3_000, 100]);
    player.play({ ...frame(2, 1), format: { codec: "opus", rateHz: 48_000, channels: 1 } });
    expect(reports).toEqual([{ turn: 2, generation: 0, state: "lost", playedUs: 0 }]);
    host.pass(100);
    player.close();
    player.play(frame(3, 1));
    host.pass(100_000);
    expect(context.heardS(0, 1_000)).toBeCloseTo(0.02);
    expect(host.waiting()).toBe(0);
  });
});
