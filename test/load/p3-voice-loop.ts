/** P3: the whole voice loop over an in-memory transport, as many calls as one core carries (`docs/benchmarks.md`). */
import type { Bench, BenchResult, Row } from "./bench.ts";
import { Child, PINNED } from "./children.ts";
import type { CoreFigures } from "./core-load.ts";

const WARM_S = 10;
const RUN_S = 10;
const LATE_MS_MAX = 20;
/** Calls tried with each detector; the last are the bars. */
const STEPS = { voice: [100, 200, 300, 400, 500], silero: [50, 100, 150] } as const;
const NAMES = { voice: "trivial detector", silero: "Silero" } as const;

export async function runCore(
  mode: "voice" | "policy" | "silero" | "echo",
  calls: number,
  warmS = WARM_S,
): Promise<CoreFigures> {
  const child = new Child("./core-load.ts", [mode, String(calls), String(warmS), String(RUN_S)], 0);
  try {
    return await child.next<CoreFigures>((warmS + RUN_S + 60) * 1_000);
  } finally {
    await child.stop();
  }
}

const plain = (what: string, unit: string, value: number, bar?: number): Row => ({
  ...{ what, unit, value, low: value, high: value },
  ...(bar === undefined ? {} : { bar }),
});

export const p3: Bench = {
  name: "P3",
  title: "Whole voice loop, calls on one core",
  async run(): Promise<BenchResult> {
    const rows: Row[] = [];
    const notes: string[] = [];
    for (const mode of ["voice", "silero"] as const) {
      let most = 0;
      for (const calls of STEPS[mode]) {
        const seen = await runCore(mode, calls);
        const name = `${NAMES[mode]}, ${calls} calls`;
        const bar = calls === STEPS[mode].at(-1) ? LATE_MS_MAX : undefined;
        rows.push(plain(`${name}: output late, p95`, "ms", seen.lateP95Ms, bar));
        rows.push(plain(`${name}: CPU`, "%", seen.cpuPercent));
        notes.push(
          `${name}: ${seen.replies} replies, ${seen.media} frames out; late p99 ${seen.lateP99Ms.toFixed(1)} ms; end of speech to first output p50 ${seen.firstP50Ms.toFixed(1)}, p95 ${seen.firstP95Ms.toFixed(1)} ms; waited ${seen.waitedPercent.toFixed(1)} % for its core; ${seen.rssMb.toFixed(0)} MiB`,
        );
        // A reply of each call every five seconds, or it is not served.
        const served = seen.replies >= 0.9 * calls * (RUN_S / 5);
        if (seen.lateP95Ms <= LATE_MS_MAX && served) most = calls;
      }
      rows.push(
        plain(`${NAMES[mode]}: most calls of those tried with output no later than ${LATE_MS_MAX} ms`, "calls", most),
      );
    }
    return {
      name: "P3",
      title: p3.title,
      topology: `one process, ${PINNED.split(",")[0] ?? ""}, callers within it; one second of speech and two of reply in every five; providers simulated without delay; spool on disk at L0`,
      compared:
        "the same at fewer calls; LiveKit Agents 40 to 45 (trivial detector) and about 27 (Silero) calls a core",
      rows,
      notes,
    };
  },
};
