/**
 * Recording level under pressure and the reservation of evidence bytes (kernel.md §11, F-153, F-176). Levels fall one step
 * per report and rise one step per turn boundary; none is ever skipped and the policy's ceiling is never passed, but by an operator's capture (F-076).
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
export type RecordingTrigger = "queue_fill" | "export_lag" | "calm" | "operator" | "policy";

/** What an operator has one session recorded at for a while (F-076): a policy of its own, above the session's. */
export interface RecordingCapture {
  readonly policyId: string;
  readonly level: RecordingLevel;
}

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
  /** `rising`: on the way to its level without waiting for calm; pressure ends that. Absent: none was asked for. */
  capture?: RecordingCapture & { rising: boolean };
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
  if (pressed && r.capture !== undefined) r.capture.rising = false;
  if (r.level === "L2") {
    if (lagMs >= RECORDING_L1_LAG_MS) return change(r, "L1", "export_lag", nowNs);
    if (sustained(r.fillL1SinceNs, nowNs)) return change(r, "L1", "queue_fill", nowNs);
  } else if (r.level === "L1") {
    if (lagMs >= RECORDING_L0_LAG_MS) return change(r, "L0", "export_lag", nowNs);
    if (sustained(r.fillL0SinceNs, nowNs)) return change(r, "L0", "queue_fill", nowNs);
  }
  return null;
}

/**
 * One step up after RECORDING_CALM_MS of calm, or on the way to a capture's level; to be asked between turns only, for a
 * capture again until it answers null: the level stays.
 */
export function recordingAtTurnBoundary(r: RecordingState, nowNs: MonoNs): RecordingMarker | null {
  const { capture, calmSinceNs } = r;
  const top = recordingCeiling(r);
  // A ceiling below the level can only come from a policy change; the level then stands, it does not rise.
  if (rank(r.level) >= rank(top) || calmSinceNs === null) return null;
  if (capture?.rising !== true) {
    return nowNs - calmSinceNs < RECORDING_CALM_MS * NS_PER_MS ? null : change(r, stepUp(r.level), "calm", nowNs);
  }
  const marker = change(r, stepUp(r.level), "operator", nowNs);
  capture.rising = r.level !== capture.level;
  return marker;
}

/**
 * A capture begins, is replaced, or, with null, is over: what is above the ceiling then comes down at once, in single
 * steps, the markers of which it returns. It rises at a turn boundary. The shell reports the pressure before it.
 */
export function recordingCapture(
  r: RecordingState,
  capture: RecordingCapture | null,
  trigger: "operator" | "policy",
  nowNs: MonoNs,
): RecordingMarker[] {
  // What pressure has lowered waits for its calm as ever.
  const lowered = rank(r.level) < rank(recordingCeiling(r));
  if (capture === null) delete r.capture;
  else {
    const { policyId, level } = capture;
    const rising = !lowered && r.calmSinceNs !== null && rank(level) > rank(r.level);
    r.capture = { policyId, level, rising };
  }
  const markers: RecordingMarker[] = [];
  while (rank(r.level) > rank(recordingCeiling(r))) markers.push(change(r, stepDown(r.level), trigger, nowNs));
  return markers;
}

/** The policy's, or a capture's above it. */
export function recordingCeiling({ ceiling, capture }: RecordingState): RecordingLevel {
  return capture !== undefined && rank(capture.level) > rank(ceiling) ? capture.level : ceiling;
}

/** For a turn's plan: the level, and the capture where its ceiling comes from one. */
export function recordedAt(r: RecordingState): {
  recordingLevel: RecordingLevel;
  recordingCapture?: RecordingCapture | undefined;
} {
  const above = recordingCeiling(r) !== r.ceiling;
  return { recordingLevel: r.level, recordingCapture: above ? r.capture : undefined };
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

function stepUp(level: RecordingLevel): RecordingLevel {
  return level === "L0" ? "L1" : "L2";
}

function stepDown(level: RecordingLevel): RecordingLevel {
  return level === "L2" ? "L1" : "L0";
}

function sustained(sinceNs: MonoNs | null, nowNs: MonoNs): boolean {
  return sinceNs !== null && nowNs - sinceNs >= RECORDING_SUSTAIN_MS * NS_PER_MS;
}

function change(r: RecordingState, to: RecordingLevel, trigger: RecordingTrigger, at: MonoNs): RecordingMarker {
  const from = r.level;
  r.level = to;
  // Whose leave the higher of the two levels has.
  const above = rank(from) > rank(r.ceiling) || rank(to) > rank(r.ceiling);
  const policyId = above && r.capture !== undefined ? r.capture.policyId : r.policyId;
  return { policyId, from, to, trigger, at };
}
