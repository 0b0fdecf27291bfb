/**
 * The evidence manifest `or02/v1` of one accepted turn and its delivery addendum (kernel.md §11, F-149, F-150, F-153). A
 * manifest is filled while the turn lives, null standing for "not known yet", and sealed at close. Sealing never fails:
 * over-long parts are cut and counted, absent mandatory ones are named in the seal, so that a gap is declared and never
 * passes for complete.
 */

import type { MonoNs, WallMs } from "@rspp/base/brand";
import { canonicalJson } from "@rspp/base/canonical-json";
import { invariant } from "@rspp/base/invariant";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import type { Modality } from "./effect.ts";
import { boundManifest, boundText } from "./evidence-bounds.ts";
import type { OutcomeKind } from "./input.ts";
import { EVIDENCE_ADDENDUM_BYTES_MAX, EVIDENCE_MANIFEST_BYTES_MAX, EVIDENCE_TURN_BYTES_MAX } from "./limits.ts";
import type { SnapshotRefs } from "./session-config.ts";

export const EVIDENCE_SCHEMA = "or02/v1";
export const EVIDENCE_ADDENDUM_SCHEMA = "or02/v1/delivery";

/** What a turn's evidence takes at worst: terminal, T9 record and delivery addendum included. Reserved at turn_open. */
export const evidenceBytesMax: number = EVIDENCE_TURN_BYTES_MAX;

export interface EvidenceInstant {
  /** runtime_sequence of the event. */
  sequence: number;
  monoNs: MonoNs;
  wallMs: WallMs;
}

export interface EvidenceTerminal extends EvidenceInstant {
  kind: "commit" | "abort";
  /** Mandatory for an abort, null for a commit. */
  reason: string | null;
  /** Mandatory for a commit (0 for a control-only turn), null for an abort. */
  lastDataSequence: number | null;
}

export interface EvidenceCancel {
  scope: string;
  reason: string;
  acceptedNs: MonoNs | null;
  /** When the fence went up here; the adapter's acknowledgement follows in the addendum. */
  fencedNs: MonoNs | null;
  /** Outputs refused after acceptance, up to close. */
  rejectedOutputs: number;
}

export interface EvidenceInvocation {
  invocationId: string;
  modality: Modality;
  node: string;
  provider: string;
  attempt: number;
  /** Normalised; null while the invocation is open. */
  outcome: OutcomeKind | null;
  detail: string;
  openedNs: MonoNs;
  endedNs: MonoNs | null;
  /** Name of the tool that was called; never its arguments. */
  tool?: string;
}

export interface EvidenceManifest {
  schema: typeof EVIDENCE_SCHEMA;
  tenantId: string | null;
  sessionId: string | null;
  turn: number | null;
  pipelineVersion: string | null;
  planId: string | null;
  planHash: string | null;
  profileVersion: string | null;
  incarnation: string | null;
  epochAtOpen: number | null;
  epochAtTerminal: number | null;
  admissionOutcome: string | null;
  /** Policy and routing are mandatory, the others recorded when known. */
  snapshots: SnapshotRefs | null;
  seed: string | null;
  mergeRuleId: string | null;
  mergeRuleVersion: string | null;
  /** Ordering markers: first and last runtime sequence of the turn per lane. At least one. */
  orderingMarkers: { lane: string; first: number; last: number }[];
  /** First and last input_sequence of what a re-simulation cannot recompute; may be empty, never null. */
  nondeterministicInputs: { kind: string; ref: string; sequence: number; last: number }[] | null;
  opened: EvidenceInstant | null;
  terminal: EvidenceTerminal | null;
  closed: EvidenceInstant | null;
  /** Null when no cancel was accepted before close. */
  cancel: EvidenceCancel | null;
  invocations: EvidenceInvocation[];
  /** Invocations that go on after the turn (`kernel.md` §4), by name: each is followed by a `late_outcome`. */
  outliving?: string;
  recordingLevel: "L0" | "L1" | "L2" | null;
  /** Behaviour flags of the session, as text: "1,2". */
  behaviours: string | null;
}

export interface SealedEvidence {
  schema: typeof EVIDENCE_SCHEMA;
  /** Mandatory parts that were absent at close; empty for complete evidence. */
  missing: string[];
  /** Strings cut and list items left out to stay inside the reservation. */
  truncated: number;
  manifest: EvidenceManifest;
  /** SHA-256 over the canonical JSON of the four fields above. */
  hash: string;
  /** Canonical bytes of the whole, hash included. */
  bytes: number;
}

export interface DeliveryEvidence {
  turn: number;
  outcome: "completed" | "cancelled" | "lost";
  /** Media time of the turn's output that was really played, microseconds. */
  playedUs: number;
  /** Characters of the reply that were heard, of how many; a count is no payload, so L0 may hold it. */
  heardChars: number;
  replyChars: number;
  /** Heard words come from word timings, or from a proportional estimate. */
  heardBy: "word_timings" | "proportional" | "none";
  /** When the adapter acknowledged the fence; null when none went up. */
  cancelFenceAppliedNs: MonoNs | null;
  /** When a cancel was accepted after commit (T13); null otherwise. */
  cancelAcceptedNs: MonoNs | null;
  cancelReason: string | null;
  cancelScope?: "turn" | "session" | null;
  /** Outputs refused after the cancel, since open. */
  rejectedOutputs: number;
  /** Reports that came after acceptance of the cancel, marked `late_after_cancel`. */
  lateAfterCancel: number;
  settledNs: MonoNs;
  epochAtSettlement: number;
}

export interface DeliveryAddendum extends DeliveryEvidence {
  schema: typeof EVIDENCE_ADDENDUM_SCHEMA;
  /** Hash of the sealed manifest this belongs to. */
  manifestHash: string;
  /** SHA-256 over the canonical JSON of all the rest. */
  hash: string;
}

/** A manifest of which nothing is known yet. */
export function evidenceCreate(): EvidenceManifest {
  return {
    schema: EVIDENCE_SCHEMA,
    tenantId: null,
    sessionId: null,
    turn: null,
    pipelineVersion: null,
    planId: null,
    planHash: null,
    profileVersion: null,
    incarnation: null,
    epochAtOpen: null,
    epochAtTerminal: null,
    admissionOutcome: null,
    snapshots: null,
    seed: null,
    mergeRuleId: null,
    mergeRuleVersion: null,
    orderingMarkers: [],
    nondeterministicInputs: null,
    opened: null,
    terminal: null,
    closed: null,
    cancel: null,
    invocations: [],
    recordingLevel: null,
    behaviours: null,
  };
}

const alwaysMandatory = [
  "tenantId",
  "sessionId",
  "turn",
  "pipelineVersion",
  "planId",
  "planHash",
  "profileVersion",
  "incarnation",
  "epochAtOpen",
  "epochAtTerminal",
  "admissionOutcome",
  "snapshots",
  "seed",
  "mergeRuleId",
  "mergeRuleVersion",
  "nondeterministicInputs",
  "opened",
  "terminal",
  "closed",
  "recordingLevel",
  "behaviours",
] as const satisfies readonly (keyof EvidenceManifest)[];

/** The mandatory parts that are absent, by path; empty when the manifest is complete. Empty strings count as absent. */
export function evidenceMissing(m: EvidenceManifest): string[] {
  const missing: string[] = [];
  const need = (path: string, value: unknown): void => {
    if (value === null || value === undefined || value === "") missing.push(path);
  };
  for (const field of alwaysMandatory) need(field, m[field]);
  if (m.orderingMarkers.length === 0) missing.push("orderingMarkers");
  if (m.snapshots !== null) {
    need("snapshots.policy", m.snapshots.policy);
    need("snapshots.routing", m.snapshots.routing);
  }
  if (m.terminal?.kind === "abort") need("terminal.reason", m.terminal.reason);
  if (m.terminal?.kind === "commit") need("terminal.lastDataSequence", m.terminal.lastDataSequence);
  if (m.terminal?.kind === "abort" && m.terminal.reason === "cancelled") need("cancel", m.cancel);
  if (m.cancel !== null) {
    need("cancel.scope", m.cancel.scope);
    need("cancel.reason", m.cancel.reason);
    need("cancel.acceptedNs", m.cancel.acceptedNs);
    need("cancel.fencedNs", m.cancel.fencedNs);
  }
  m.invocations.forEach((invocation, i) => {
    need(`invocations[${i}].invocationId`, invocation.invocationId);
    need(`invocations[${i}].provider`, invocation.provider);
    need(`invocations[${i}].outcome`, invocation.outcome);
  });
  return missing;
}

/** Seals a copy of the manifest; the argument is left as it is and may be dropped. */
export function sealEvidence(m: EvidenceManifest): SealedEvidence {
  const bounded = boundManifest(m);
  const body = {
    schema: EVIDENCE_SCHEMA,
    missing: evidenceMissing(bounded.manifest),
    truncated: bounded.truncated,
    manifest: bounded.manifest,
  } as const;
  const json = canonicalJson(body);
  const hash = sha256Utf8Hex(json);
  const bytes = utf8Bytes(json) + hashFieldsBytes;
  invariant(
    bytes <= EVIDENCE_MANIFEST_BYTES_MAX,
    "a sealed manifest stays inside its reservation (kernel.md §11)",
    bytes,
  );
  return { ...body, hash, bytes };
}

/** Whether a sealed manifest still is what was sealed: hash, size and declared gaps agree with its content. */
export function verifyEvidence(s: SealedEvidence): boolean {
  const json = canonicalJson({ schema: s.schema, missing: s.missing, truncated: s.truncated, manifest: s.manifest });
  return (
    sha256Utf8Hex(json) === s.hash &&
    utf8Bytes(json) + hashFieldsBytes === s.bytes &&
    canonicalJson(evidenceMissing(s.manifest)) === canonicalJson(s.missing)
  );
}

/** What follows the sealed manifest at settlement, linked to it by hash: what was played and heard. */
export function deliveryAddendum(sealedHash: string, delivery: DeliveryEvidence): DeliveryAddendum {
  const body = {
    ...delivery,
    cancelReason: delivery.cancelReason === null ? null : boundText(delivery.cancelReason),
    schema: EVIDENCE_ADDENDUM_SCHEMA,
    manifestHash: sealedHash,
  } as const;
  const json = canonicalJson(body);
  invariant(
    utf8Bytes(json) + hashFieldsBytes <= EVIDENCE_ADDENDUM_BYTES_MAX,
    "a delivery addendum stays inside its reservation (kernel.md §11)",
  );
  return { ...body, hash: sha256Utf8Hex(json) };
}

/** Whether an addendum is untouched and belongs to this sealed manifest. */
export function verifyAddendum(s: SealedEvidence, a: DeliveryAddendum): boolean {
  const { hash, ...body } = a;
  return a.manifestHash === s.hash && a.turn === s.manifest.turn && sha256Utf8Hex(canonicalJson(body)) === hash;
}

/** `"hash":"<64>","bytes":<16 digits at most>,` */
const hashFieldsBytes = 64 + 10 + 26;

function utf8Bytes(s: string): number {
  let bytes = 0;
  for (let i = 0; i < s.length; i++) {
    const unit = s.charCodeAt(i);
    // Each half of a surrogate pair counts two of the pair's four bytes; JSON holds no lone halves.
    bytes += unit < 0x80 ? 1 : unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 2 : 3;
  }
  return bytes;
}
