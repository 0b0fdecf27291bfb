/** P8: the frame that ends an utterance handed in -> `turn_open` handed out, 300 calls on the core (`docs/benchmarks.md`). */
import type { Bench, BenchResult } from "./bench.ts";
import { PINNED } from "./children.ts";
import { runCore } from "./p3-voice-loop.ts";

const CALLS = 300;

export const p8: Bench = {
  name: "P8",
  title: "Deciding event to turn_open, 300 calls on one core",
  async run(): Promise<BenchResult> {
    const seen = await runCore("policy", CALLS);
    const one = (what: string, value: number, bar?: number) => ({
      ...{ what, value, low: value, high: value, unit: "ms" },
      ...(bar === undefined ? {} : { bar }),
    });
    return {
      name: "P8",
      title: p8.title,
      topology: `one process, ${PINNED.split(",")[0] ?? ""}, callers within it; policy and health come by snapshots over a socket, another policy every second, told to every call; providers simulated without delay; spool on disk at L0`,
      compared: "the gate of 120 ms",
      rows: [one("turn_open, p50", seen.openP50Ms), one("turn_open, p95", seen.openP95Ms, 5)],
      notes: [
        `${seen.replies} turns; CPU ${seen.cpuPercent.toFixed(0)} %; waited ${seen.waitedPercent.toFixed(1)} % for its core`,
        `${seen.snapshots} snapshots put in force while it ran; a turn start asks nobody`,
        "endpointing 0: the first frame of silence decides; the recogniser's final is awaited in between",
      ],
    };
  },
};
