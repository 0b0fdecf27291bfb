/** Replays of recordings, and figures beside those of an earlier build (F-127): output and latency, each with its threshold. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gateFacts } from "@rspp/replay/gates/facts";
import { safetyGates } from "@rspp/replay/gates/safety";
import { configOf, reExecute } from "@rspp/replay/re-execute";
import type { GateOutcome } from "./artefact.ts";
import { check, checkoutInput, type GateContext, judged } from "./context.ts";

const baselineFile = "test/replay/latency-baseline.json";
/** In virtual time nothing varies: what is above by more than this was made slower. */
const TOLERANCE = 1.05;
const toleranceMs = 5;

/** Figures by gate and percentile. */
export type LatencyFigures = Readonly<Record<string, number>>;

export function latencyFigures(sessions: GateContext["sessions"]): LatencyFigures {
  const kept = new Set(["p50_ms", "p95_ms"]);
  const all = safetyGates(gateFacts(sessions)).flatMap(({ gate, figures }) =>
    Object.entries(figures)
      .filter(([name]) => kept.has(name))
      .map(([name, value]) => [`${gate}.${name}`, Math.round(value * 1_000) / 1_000] as const),
  );
  return Object.fromEntries(all);
}

/** Simulated calls are no slower than those of the baseline. */
export function latencyRegression({ root, simulated }: GateContext): GateOutcome {
  const file = join(root, baselineFile);
  const baseline = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as LatencyFigures) : {};
  return judgeLatency(baseline, latencyFigures(simulated), [checkoutInput(root, baselineFile)]);
}

export function judgeLatency(
  baseline: LatencyFigures,
  figures: LatencyFigures,
  inputs: GateOutcome["inputs"],
): GateOutcome {
  const checks = Object.entries(baseline).map(([name, was]) =>
    check(name, "<=", Math.round((was * TOLERANCE + toleranceMs) * 1_000) / 1_000, figures[name] ?? null),
  );
  return judged(checks, checks.length === 0 ? [`${baselineFile} has no figures`] : [], inputs, figures);
}

/** Every recording with a journal, re-executed: effect for effect the same. */
export function recordingsReplayed({ sessions, recordings }: GateContext): GateOutcome {
  const reasons: string[] = [];
  let identical = 0;
  let asked = 0;
  for (const { sessionId, runs, problems } of sessions)
    for (const run of runs) {
      const config = configOf(run);
      if (config === null) continue;
      asked += 1;
      try {
        const result = reExecute(sessionId, config, run, [...problems]);
        const [first] = result.divergences;
        if (result.identical && result.problems.length === 0) identical += 1;
        else
          reasons.push(
            `${sessionId}: ${first === undefined ? result.problems[0] : `${first.class} at step ${first.batch}`}`,
          );
      } catch (failure) {
        reasons.push(`${sessionId}: ${failure instanceof Error ? failure.message : String(failure)}`);
      }
    }
  const checks = [check("recordings", ">=", 1, asked), check("replayed_identically", "=", asked, identical)];
  return judged(checks, reasons, recordings);
}
