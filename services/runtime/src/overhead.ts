import { performance } from "node:perf_hooks";
import { NS_PER_MS } from "@rspp/base/brand";
import type { Histogram } from "@rspp/telemetry/histogram";
import type { Counter } from "@rspp/telemetry/metric-registry";
import type { Metrics } from "./metrics.ts";

/** Parts of a scheduling point, in their order. */
export type StepPart = "kernel" | "journal" | "effects" | "telemetry";

/**
 * One step in so many is timed: looking at the clock four times costs as much as a small step. A prime, since steps come in a
 * rhythm of frames and answers, of which every part is to be met.
 */
export const SAMPLED_STEPS = 61;

/**
 * What the platform itself costs, apart from the time of nodes (F-052, `kernel.md` §10): how long the parts of a step take,
 * telemetry being one of them. One for all sessions of a runtime, since one thread runs them all.
 */
export class Overhead {
  private readonly steps: Counter;
  private readonly parts: Readonly<Record<StepPart, Histogram>>;
  private readonly nowMs: () => number;
  private count = 0;
  private atMs = 0;

  /** @param nowMs milliseconds of real time, whatever clock the sessions run under. */
  constructor(metrics: Metrics, nowMs: () => number = () => performance.now()) {
    this.steps = metrics.of.steps.with();
    const time = (part: StepPart): Histogram => metrics.of.stepTime.with(part);
    const [kernel, journal] = [time("kernel"), time("journal")];
    this.parts = { kernel, journal, effects: time("effects"), telemetry: time("telemetry") };
    this.nowMs = nowMs;
  }

  /** @returns whether this step is one that is timed. */
  begin(): boolean {
    this.steps.value += 1;
    this.count += 1;
    if (this.count < SAMPLED_STEPS) return false;
    this.count = 0;
    this.atMs = this.nowMs();
    return true;
  }

  /** Of a timed step: since the part before it ended. */
  ended(part: StepPart): void {
    const now = this.nowMs();
    this.parts[part].record((now - this.atMs) * NS_PER_MS);
    this.atMs = now;
  }
}
