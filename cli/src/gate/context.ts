/** What every gate of a run is given, and how it tells what it found. */

import { join } from "node:path";
import type { GateSession } from "@rspp/replay/gates/facts";
import type { Check } from "@rspp/replay/gates/types";
import { digestOf, type GateInput, type GateOutcome, type Level } from "./artefact.ts";

export interface GateContext {
  /** Root of the checkout. */
  readonly root: string;
  readonly level: Level;
  /** Recordings to judge: those that were named, else simulated calls. */
  readonly sessions: readonly GateSession[];
  readonly recordings: readonly GateInput[];
  /** Folders and files whose bytes are searched for secrets. */
  readonly recordingPaths: readonly string[];
  /** Simulated calls, which are the same for the same build. */
  readonly simulated: readonly GateSession[];
  /** Seeds of the simulator. */
  readonly seeds: number;
}

export interface Gate {
  readonly name: string;
  readonly features: readonly string[];
  /** In one line, for people. */
  readonly about: string;
  readonly run: (context: GateContext) => Promise<GateOutcome> | GateOutcome;
}

/** @param path of the checkout; a folder counts with all that is in it. */
export function checkoutInput(root: string, path: string): GateInput {
  return { path, in: "checkout", sha256: digestOf(join(root, path)) ?? "" };
}

export function check(name: string, op: Check["op"], bar: number, found: number | null): Check {
  const holds = {
    "<=": (value: number) => value <= bar,
    ">=": (value: number) => value >= bar,
    "=": (value: number) => value === bar,
  };
  return { name, op, bar, found, ok: found !== null && holds[op](found) };
}

const reasonsMax = 8;

/** Passes only where every check holds and there is at least one. */
export function judged(
  checks: readonly Check[],
  reasons: readonly string[],
  inputs: readonly GateInput[],
  figures: Readonly<Record<string, number>> = {},
): GateOutcome {
  const passed = checks.length > 0 && checks.every(({ ok }) => ok);
  const missed = checks
    .filter(({ ok }) => !ok)
    .map(({ name, op, bar, found }) => `${name} is ${found ?? "not known"}, it must be ${op} ${bar}`);
  const more = reasons.length - reasonsMax;
  const shown = [...reasons.slice(0, reasonsMax), ...(more > 0 ? [`and ${more} more`] : [])];
  return {
    verdict: passed ? "pass" : "fail",
    checks,
    figures,
    reasons: passed ? [] : shown.length > 0 ? shown : missed,
    inputs,
  };
}

export function notRun(reason: string): GateOutcome {
  return { verdict: "not_run", checks: [], figures: {}, reasons: [reason], inputs: [] };
}
