import { CAPABILITIES, type Capability } from "./capabilities.ts";
import { FAULT_KINDS } from "./fault-kinds.ts";
import type { TraceEvent } from "./trace.ts";

export const ROWS = ["T1", "T2", "T3", "T4", "T5", "T5a", "T6", "T7", "T8", "T9", "T10", "T11", "T12", "T13"] as const;
export type Row = (typeof ROWS)[number];

/** What one run, or all of them, really reached. */
export interface Coverage {
  faults: Record<string, number>;
  rows: Record<Row, number>;
  /** In so many seeds the pipeline had it. */
  drawn: Record<Capability, number>;
  bargeIns: { active: number; playing: number };
}

export function newCoverage(drawn: readonly Capability[] = []): Coverage {
  const zero = <T extends string>(names: readonly T[]): Record<T, number> =>
    Object.fromEntries(names.map((name) => [name, 0])) as Record<T, number>;
  const counted = zero(CAPABILITIES);
  for (const capability of drawn) counted[capability] = 1;
  return {
    faults: zero(FAULT_KINDS),
    rows: zero(ROWS),
    drawn: counted,
    bargeIns: { active: 0, playing: 0 },
  };
}

export function addCoverage(sum: Coverage, one: Coverage): void {
  for (const [name, count] of Object.entries(one.faults)) sum.faults[name] = (sum.faults[name] ?? 0) + count;
  for (const row of ROWS) sum.rows[row] += one.rows[row];
  for (const capability of CAPABILITIES) sum.drawn[capability] += one.drawn[capability];
  sum.bargeIns.active += one.bargeIns.active;
  sum.bargeIns.playing += one.bargeIns.playing;
}

/** Counts rows of the turn machine by what they show: signals and records. T11 shows in the state a replay comes to. */
export function coverageListener(coverage: Coverage): (event: TraceEvent) => void {
  return (event) => {
    if (event.kind === "fault") coverage.faults[event.name] = (coverage.faults[event.name] ?? 0) + 1;
    if (event.kind !== "signal") return;
    const row = rowOf(event.event);
    if (row !== null) coverage.rows[row] += 1;
    if (event.event.signal === "abort" && event.event.fields.cause === "barge_in") coverage.bargeIns.active += 1;
    if (row === "T13" && event.event.reason === "barge_in") coverage.bargeIns.playing += 1;
  };
}

function rowOf(event: Extract<TraceEvent, { kind: "signal" }>["event"]): Row | null {
  const { signal, reason, fields, emitter } = event;
  switch (signal) {
    case "turn_open_proposed":
      return "T1";
    case "defer":
    case "reject":
      return reason.startsWith("no_candidate") || reason.startsWith("no_speech_path") ? "T5a" : "T2";
    case "stale_epoch_reject":
      return fields.scope === "pre_turn" ? "T3" : "T12";
    case "deauthorized_drain":
      return fields.scope === "pre_turn" ? "T4" : null;
    case "turn_open":
      return "T5";
    case "commit":
      return "T6";
    case "abort":
      if (reason === "cancelled") return "T7";
      if (reason === "authority_loss") return "T8";
      return reason === "recording_evidence_unavailable" ? "T9" : "T10";
    case "playback_cancelled":
      return emitter === "egress" ? "T13" : null;
    default:
      return null;
  }
}
