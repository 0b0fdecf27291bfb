import { describe, expect, test } from "vitest";
import { PacedPlayer } from "./paced-player.ts";
import { FakeHost } from "./testing/fake-host.ts";
import type { OutputFrame, Played } from "./types.ts";

function rig(): {
  host: FakeHost;
  heard: { frame: OutputFrame; atMs: number }[];
  reports: Played[];
  player: PacedPlayer;
} {
  const host = new FakeHost();
  const heard: { frame: OutputFrame; atMs: number }[] = [];
  const reports: Played[] = [];
  const onFrame = (frame: OutputFrame): void => void heard.push({ frame, atMs: host.nowMs() });
  const player = new PacedPlayer({ host, onFrame, onPlayed: (p) => void reports.push(p), bufferMs: 40 });
  return { host, heard, reports, player };
}

const frame = (turn: number, sequence: number, end = false): OutputFrame => ({
  turn,
  generation: 0,
  sequence,
  offsetUs: (sequence - 1) * 20_000,
  durationUs: 20_000,
  format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
  data: new Uint8Array(640),
  end,
});

describe("the paced player", () => {
  test("hands frames out when they are due, without drift, and reports what was played", () => {
    const { host, heard, reports, player } = rig();
    for (let i = 1; i <= 20; i++) player.play(frame(1, i));
    host.pass(1_000);
    expect(heard.map((h) => h.atMs)).toEqual(Array.from({ length: 20 }, (_, i) => 40 + i * 20));
    player.play(frame(1, 21, true));
    host.pass(100);
    expect(reports.map((r) => [r.state, r.playedUs])).toEqual([
      ["playing", 0],
      ["playing", 200_000],
      ["playing", 400_000],
      ["completed", 420_000],
    ]);
  });

  test("F-175 a flush empties it at once, counts the part of the frame that was heard, and spares later turns", () => {
    const { host, heard, player } = rig();
    for (let i = 1; i <= 10; i++) player.play(frame(1, i));
    player.play(frame(2, 1));
    host.pass(75);
    const before = heard.length;
    const cut = player.flush({ turn: 1, generation: 1, allEarlier: true, reason: "barge_in" });
    expect(cut).toEqual({ playedUs: 35_000, flushedFrames: 8 });
    // A later turn begins at once.
    expect(heard.slice(before).map((h) => h.frame.turn)).toEqual([2]);
    expect(player.flush({ turn: 7, generation: 1, allEarlier: false, reason: "stop" })).toEqual({
      playedUs: 0,
      flushedFrames: 0,
    });
  });

  test("what is held waits, a later turn does not, and it goes on where it was", () => {
    const { host, heard, player } = rig();
    for (let i = 1; i <= 4; i++) player.play(frame(1, i));
    host.pass(50);
    player.hold(1);
    host.pass(500);
    expect(heard.length).toBe(1);
    player.resume();
    host.pass(100);
    expect(heard.map((h) => h.frame.sequence)).toEqual([1, 2, 3, 4]);
  });

  test("more than a minute is refused, the end mark never", () => {
    const { player, heard } = rig();
    for (let i = 1; i <= 3_005; i++) player.play(frame(1, i));
    player.play({ ...frame(1, 3_006, true), durationUs: 0 });
    expect([player.overflowed, heard.length, player.queued().frames]).toEqual([5, 1, 3_000]);
  });
});
