/** What every replay offers, whatever its mode: a cursor, breakpoints, and an outcome tagged with the mode (F-151, F-152). */
import type { Effect } from "@rspp/kernel/effect";
import type { Batch } from "@rspp/kernel/input";
import type { DivergenceClass } from "@rspp/kernel/replay-classes";
import type { RunMode, RunTimeline } from "./run-timeline.ts";

export interface StepView {
  readonly batch: Batch;
  readonly effects: readonly Effect[];
}

/** A difference found step by step against the recording itself, not between two timelines. */
export interface StepDivergence {
  batch: number;
  class: DivergenceClass;
  expected: string;
  found: string;
}

export interface ReplayOutcome {
  mode: Exclude<RunMode, "live">;
  /** The pipeline version it ran; the recording's own unless another was given. */
  pipeline: string;
  /** `effects`: texts recomputed (L2); `handles`: over recorded decisions (L1). */
  level: "effects" | "handles";
  steps: number;
  /** No step differed from what was recorded. */
  identical: boolean;
  stepDivergences: StepDivergence[];
  /** What was taken over or could not be told, a sentence each. */
  notes: string[];
  /** The recorded run; null where the recording tells too little of it. */
  reference: RunTimeline | null;
  replayed: RunTimeline;
  /** Of state and effects; equal for equal runs. */
  digest: string;
}

export interface ReplayRun {
  /** One step; null at the end. */
  step(): StepView | null;
  /** Everything that a later `resume` needs, as text. The replay can go on, too. */
  pause(): string;
  /** SHA-256 over the kernel's state and the rolling digest of effects. */
  stateDigest(): string;
  /** As far as it has come; complete once `step` has given null. */
  outcome(): ReplayOutcome;
}

/** Where a run is to stop; every condition that is given must hold of one step. */
export interface Breakpoint {
  /** Name of a signal, or type of an input or effect. */
  readonly kind?: string;
  readonly node?: string;
  readonly turn?: number;
  /** The step that takes in this input, or a later one. */
  readonly input?: number;
  /** The step of this number, or a later one. */
  readonly step?: number;
}

export function breakpointHit(at: Breakpoint, { batch, effects }: StepView): boolean {
  if (at.step !== undefined && batch.index < at.step) return false;
  if (at.input !== undefined && (batch.inputs.at(-1)?.seq ?? 0) < at.input) return false;
  if (at.kind === undefined && at.node === undefined && at.turn === undefined) return true;
  const told = (kinds: readonly string[], node: string, turn: number): boolean =>
    (at.kind === undefined || kinds.includes(at.kind)) &&
    (at.node === undefined || at.node === node) &&
    (at.turn === undefined || at.turn === turn);
  for (const { body } of batch.inputs)
    if (told([body.type, ...(body.type === "control" ? [body.signal] : [])], nodeOf(body), turnOf(body))) return true;
  return effects.some((effect) => {
    if (effect.type !== "signal") return told([effect.type], nodeOf(effect), turnOf(effect));
    const { signal, fields, turn } = effect.event;
    return told(["signal", signal], String(fields.node ?? ""), turn);
  });
}

function nodeOf(of: object): string {
  return "node" in of && typeof of.node === "string" ? of.node : "";
}

function turnOf(of: object): number {
  return "turn" in of && typeof of.turn === "number" ? of.turn : 0;
}

/** Goes on until one of the breakpoints is hit; null when the recording ends first. */
export function runUntil(run: ReplayRun, breakpoints: readonly Breakpoint[]): StepView | null {
  for (let view = run.step(); view !== null; view = run.step()) {
    const seen = view;
    if (breakpoints.some((at) => breakpointHit(at, seen))) return view;
  }
  return null;
}

export function runToEnd(run: ReplayRun): ReplayOutcome {
  while (run.step() !== null);
  return run.outcome();
}

/** `turn=2`, `kind=barge_in`, `node=llm`, `input=240`, `step=17`, several by commas; null for anything else. */
export function parseBreakpoint(text: string): Breakpoint | null {
  const found: Record<string, string | number> = {};
  for (const part of text.split(",")) {
    const [, name = "", value = ""] = /^(kind|node|turn|input|step)=(.+)$/.exec(part.trim()) ?? [];
    if (name === "") return null;
    if (name === "kind" || name === "node") found[name] = value;
    else if (/^\d{1,15}$/.test(value)) found[name] = Number(value);
    else return null;
  }
  return found;
}
