/**
 * Recording level under pressure and the reservation of evidence bytes (kernel.md §11, F-153, F-176). Levels fall one step
 * per report and rise one step per turn boundary; none is ever skipped and the policy's ceiling is never passed.
 */
import { type MonoNs, NS_PER_MS } from "@rspp/base/brand";
import {
  EVIDENCE_QUOTA_BYTES,
  RECORDING_CALM_MS,
  RECORDING_L0_FILL,
  RECORDING_L0_LAG_MS,
  RECORDING_L1_FILL,
  RECORDING_L1_LAG_MS,
  RECORDING_SUSTAIN_MS,
} from "./limits.ts";

export type RecordingLevel = "L0" | "L1" | "L2";
export type RecordingTrigger = "queue_fill" | "export_lag" | "calm";

/** Left by each move; becomes `recording_level_changed`. */
export interface RecordingMarker {
  readonly policyId: string;
  readonly from: RecordingLevel;
  readonly to: RecordingLevel;
  readonly trigger: RecordingTrigger;
  readonly at: MonoNs;
}

export interface RecordingState {
  policyId: string;
  ceiling: RecordingLevel;
  level: RecordingLevel;
  /** Since when the queue has been at least 80 % and at least 90 % full without a break; null when it is not. */
  fillL1SinceNs: MonoNs | null;
  fillL0SinceNs: MonoNs | null;
  /** Since when reports have asked for no lower level; null until one has, and while one does. */
  calmSinceNs: MonoNs | null;
  quotaBytes: number;
  /** Bytes reserved by turns not yet released, or used and not yet exported. */
  takenBytes: number;
}

/** Starts at the ceiling; the production default is L0. `evidenceQuotaBytes` defaults to EVIDENCE_QUOTA_BYTES. */
export function recordingCreate(config: {
  readonly policyId: string;
  readonly ceiling?: RecordingLevel;
  readonly evidenceQuotaBytes?: number;
}): RecordingState {
  const ceiling = config.ceiling ?? "L0";
  return {
    policyId: config.policyId,
    ceiling,
    level: ceiling,
    fillL1SinceNs: null,
    fillL0SinceNs: null,
    calmSinceNs: null,
    quotaBytes: config.evidenceQuotaBytes ?? EVIDENCE_QUOTA_BYTES,
    takenBytes: 0,
  };
}

/**
 * Takes in a report of the spool: `fill` is 0 … 1 of its queue, `lagMs` how far export is behind. Returns the marker of
 * the one step down it caused, or null. The shell repeats the report while pressure lasts, at least every
 * RECORDING_SUSTAIN_MS.
 */
export function recordingPressure(
  r: RecordingState,
  fill: number,
  lagMs: number,
  nowNs: MonoNs,
): RecordingMarker | null {
  r.fillL1SinceNs = fill >= RECORDING_L1_FILL ? (r.fillL1SinceNs ?? nowNs) : null;
  r.fillL0SinceNs = fill >= RECORDING_L0_FILL ? (r.fillL0SinceNs ?? nowNs) : null;
  const pressed = fill >= RECORDING_L1_FILL || lagMs >= RECORDING_L1_LAG_MS;
  r.calmSinceNs = pressed ? null : (r.calmSinceNs ?? nowNs);
  if (r.level === "L2") {
    if (lagMs >= RECORDING_L1_LAG_MS) return change(r, "L1", "export_lag", nowNs);
    if (sustained(r.fillL1SinceNs, nowNs)) return change(r, "L1", "queue_fill", nowNs);
  } else if (r.level === "L1") {
    if (lagMs >= RECORDING_L0_LAG_MS) return change(r, "L0", "export_lag", nowNs);
    if (sustained(r.fillL0SinceNs, nowNs)) return change(r, "L0", "queue_fill", nowNs);
  }
  return null;
}

/** One step up after RECORDING_CALM_MS of calm, to be asked between turns only; null when the level stays. */
export function recordingAtTurnBoundary(r: RecordingState, nowNs: MonoNs): RecordingMarker | null {
  if (r.level === r.ceiling || r.calmSinceNs === null) return null;
  if (nowNs - r.calmSinceNs < RECORDING_CALM_MS * NS_PER_MS) return null;
  const up: RecordingLevel = r.level === "L0" ? "L1" : "L2";
  // A ceiling below the level can only come from a policy change; the level then stands, it does not rise.
  if (rank(up) > rank(r.ceiling)) return null;
  return change(r, up, "calm", nowNs);
}

/** Sets `bytes` aside for a turn's evidence. False, and nothing changed, when the quota does not hold them: `defer`. */
export function reserveEvidence(r: RecordingState, bytes: number): boolean {
  if (r.takenBytes + bytes > r.quotaBytes) return false;
  r.takenBytes += bytes;
  return true;
}

/** Gives back what a turn reserved and did not use; `usedBytes` stay taken until they are exported. */
export function releaseEvidence(r: RecordingState, reservedBytes: number, usedBytes = 0): void {
  r.takenBytes = Math.max(0, r.takenBytes - Math.max(0, reservedBytes - usedBytes));
}

/** The shell has set aside another amount; what is taken stays taken, even above a smaller quota. */
export function setEvidenceQuota(r: RecordingState, quotaBytes: number): void {
  r.quotaBytes = quotaBytes;
}

function rank(level: RecordingLevel): number {
  return level === "L0" ? 0 : level === "L1" ? 1 : 2;
}

function sustained(sinceNs: MonoNs | null, nowNs: MonoNs): boolean {
  return sinceNs !== null && nowNs - sinceNs >= RECORDING_SUSTAIN_MS * NS_PER_MS;
}

function change(r: RecordingState, to: RecordingLevel, trigger: RecordingTrigger, at: MonoNs): RecordingMarker {
  const from = r.level;
  r.level = to;
  return { policyId: r.policyId, from, to, trigger, at };
}
