import { expect, test } from "vitest";
import { CallerWatch } from "./caller-watch.ts";

function rig() {
  let nowMs = 0;
  const said: string[] = [];
  const caller = { control: (signal: string) => void said.push(signal) };
  const watch = new CallerWatch({ caller, nowNs: () => nowMs * 1e6, silenceMs: 2_000, stallMs: 500 });
  /** Packets every 100 ms, and a look at the clock with each. */
  const pass = (ms: number, packet: "loud" | "quiet" | "none"): string[] => {
    for (let i = 0; i < ms / 100; i++) {
      nowMs += 100;
      if (packet !== "none") watch.packet(packet === "loud");
      watch.tick();
    }
    return said.splice(0);
  };
  return { watch, pass };
}

test("F-086 silence, mute and stall are told apart, each once for as long as it lasts", () => {
  const { watch, pass } = rig();
  expect(pass(3_000, "loud")).toEqual([]);
  expect(pass(5_000, "quiet")).toEqual(["silence"]);
  expect(pass(2_000, "none")).toEqual(["stall"]);
  expect(pass(100, "loud")).toEqual([]);
  expect(pass(2_000, "none")).toEqual(["stall"]);
  watch.mute(true);
  expect(pass(5_000, "none")).toEqual(["mute", "muted"]);
  watch.mute(false);
  expect(pass(400, "none")).toEqual(["unmute"]);
  expect(pass(200, "none")).toEqual(["stall"]);
  expect(watch.counts).toEqual({ silences: 1, stalls: 3 });
});

test("nothing is due while the connection is cut", () => {
  const { watch, pass } = rig();
  watch.away(true);
  expect(pass(5_000, "none")).toEqual([]);
  watch.away(false);
  expect(pass(400, "none")).toEqual([]);
  expect(pass(200, "none")).toEqual(["stall"]);
});
