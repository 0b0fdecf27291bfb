/** The typed body of a kernel record, for readers of the contract that do not parse canonical JSON. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { sha256 } from "@rspp/base/sha256";
import {
  DeliveryAddendumSchema,
  EvidenceManifestSchema,
  type InstantPair,
  InstantPairSchema,
} from "@rspp/gen/rspp/replay/v1/evidence_pb";
import type { TimelineRecord as RecordMessage, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { TimelineRecord } from "@rspp/kernel/effect";
import type { DeliveryAddendum, EvidenceInstant, EvidenceManifest, SealedEvidence } from "@rspp/kernel/evidence";
import {
  cancelScopeNames,
  deliveryStateNames,
  heardByNames,
  laneNames,
  levelNames,
  outcomeNames,
  signalNames,
  triggerNames,
} from "./names.ts";
import { reasonToWire } from "./reason.ts";
import type { RecordPlace } from "./timeline.ts";
import { validate } from "./validate.ts";
import { turnIdOf } from "./wire-event.ts";

type Body = NonNullable<MessageInitShape<typeof TimelineRecordSchema>["body"]>;

export function recordBody(record: TimelineRecord, place: RecordPlace): Body {
  switch (record.kind) {
    case "evidence":
      return evidenceBody(record, place);
    case "delivery_addendum":
      return { case: "addendum", value: addendum(record.addendum as DeliveryAddendum, place) };
    case "dead_letter":
      return canonicalRecord("dead_letter", String(record.number), record.turn, record.hash);
    case "late_outcome": {
      const { invocationId } = record.outcome as { invocationId: string };
      return canonicalRecord("late_outcome", invocationId, record.turn, record.hash);
    }
    case "refusal":
      return {
        case: "refusal",
        value: {
          proposalEventId: `p-${record.proposal}`,
          outcome: signalNames.number(record.outcome) ?? 0,
          ...refusalReason(record.reason),
        },
      };
    case "plan":
      return canonicalRecord("plan", record.planId, record.turn, record.hash);
    case "session_plan":
      return canonicalRecord("session_plan", record.planId, 0, record.hash);
    case "state_snapshot": {
      const body = new TextEncoder().encode(record.state);
      const value = { schema: "kernel-state/1", batchSequence: BigInt(place.batch), digest: sha256(body), body };
      return { case: "snapshot", value };
    }
    case "recording_level":
      return {
        case: "levelChange",
        value: {
          policyId: record.policyId,
          oldLevel: levelNames.number(record.from) ?? 0,
          newLevel: levelNames.number(record.to) ?? 0,
          trigger: triggerNames.number(record.trigger) ?? 0,
        },
      };
  }
}

function refusalReason(word: string): { reason: number; detail: string } {
  const { reason, reasonDetail } = reasonToWire(word === "" ? "internal" : word);
  return { reason, detail: reasonDetail };
}

function canonicalRecord(kind: string, id: string, turnNumber: number, hash: string): Body {
  return { case: "canonicalRecord", value: { kind, id, turnNumber, hash: fromHex(hash) } };
}

/** Incomplete evidence has no legal manifest: it is named, and its content is in the canonical form. */
function evidenceBody(record: Extract<TimelineRecord, { kind: "evidence" }>, place: RecordPlace): Body {
  const sealed = record.manifest as SealedEvidence;
  const manifest = create(EvidenceManifestSchema, manifestInit(sealed, place));
  const legal = sealed.missing.length === 0 && validate(EvidenceManifestSchema, manifest).ok;
  return legal ? { case: "evidence", value: manifest } : canonicalRecord("evidence", "", record.turn, record.hash);
}

function manifestInit(sealed: SealedEvidence, place: RecordPlace): MessageInitShape<typeof EvidenceManifestSchema> {
  const m = sealed.manifest;
  const init: MessageInitShape<typeof EvidenceManifestSchema> = {
    schema: sealed.schema,
    session: { tenantId: m.tenantId ?? "", sessionId: m.sessionId ?? "" },
    turnId: turnIdOf(m.turn ?? 0),
    turnNumber: m.turn ?? 0,
    pipeline: pipelineRef(m.pipelineVersion ?? ""),
    planId: m.planId ?? "",
    planHash: fromHex(m.planHash ?? ""),
    profileVersion: m.profileVersion ?? "",
    epochAtOpen: BigInt(m.epochAtOpen ?? 0),
    epochAtTerminal: BigInt(m.epochAtTerminal ?? 0),
    admissionOutcome: m.admissionOutcome ?? "",
    snapshots: snapshotRefs(m),
    seed: seedBytes(m.seed ?? ""),
    mergeRules: [{ id: m.mergeRuleId ?? "", version: Number(m.mergeRuleVersion ?? 0) }],
    orderingMarkers: m.orderingMarkers.map((marker) => ({
      lane: laneNames.number(marker.lane) ?? 0,
      range: { first: BigInt(marker.first), last: BigInt(marker.last) },
    })),
    nondeterministicInputs: (m.nondeterministicInputs ?? []).map(({ kind, ref, sequence }) => ({
      kind,
      ref,
      sequence: BigInt(sequence),
    })),
    terminal: m.terminal === null ? 0 : m.terminal.kind === "commit" ? 1 : 2,
    lastDataSequence: BigInt(m.terminal?.lastDataSequence ?? 0),
    cancels: cancelsOf(m),
    invocations: invocationsOf(m),
    heardPending: true,
    level: levelNames.number(m.recordingLevel ?? place.level) ?? 0,
    behaviourFlags: (m.behaviours ?? "").split(",").filter(Boolean).map(Number),
    incarnation: m.incarnation ?? "",
    missing: sealed.missing,
    truncated: sealed.truncated,
    digest: fromHex(sealed.hash),
  };
  if (m.opened !== null) init.opened = instant(m.opened);
  if (m.terminal !== null) init.terminated = instant(m.terminal);
  if (m.closed !== null) init.closed = instant(m.closed);
  if (m.terminal?.reason !== null && m.terminal?.reason !== undefined) {
    init.terminalReason = reasonToWire(m.terminal.reason).reason;
  }
  return init;
}

function cancelsOf({
  cancel,
}: EvidenceManifest): NonNullable<MessageInitShape<typeof EvidenceManifestSchema>["cancels"]> {
  if (cancel === null) return [];
  const at = (ns: number | null): InstantPair => create(InstantPairSchema, { monotonicNs: BigInt(ns ?? 0) });
  return [
    {
      scope: cancelScopeNames.number(cancel.scope) ?? 0,
      reason: reasonToWire(cancel.reason).reason,
      accepted: at(cancel.acceptedNs),
      ...(cancel.fencedNs === null ? {} : { fenceApplied: at(cancel.fencedNs) }),
      rejectedOutputs: cancel.rejectedOutputs,
    },
  ];
}

function invocationsOf(
  m: EvidenceManifest,
): NonNullable<MessageInitShape<typeof EvidenceManifestSchema>["invocations"]> {
  return m.invocations.map((inv) => ({
    invocationId: inv.invocationId,
    nodeId: inv.node,
    provider: inv.provider,
    attempt: inv.attempt,
    outcome: outcomeNames.number(inv.outcome ?? "") ?? 0,
    tool: inv.tool ?? "",
    durationUs: BigInt(Math.max(0, Math.floor(((inv.endedNs ?? inv.openedNs) - inv.openedNs) / 1000))),
  }));
}

function addendum(
  a: DeliveryAddendum,
  place: RecordPlace,
): NonNullable<Extract<RecordMessage["body"], { case: "addendum" }>["value"]> {
  return create(DeliveryAddendumSchema, {
    session: { tenantId: place.tenant, sessionId: place.session },
    turnId: turnIdOf(a.turn),
    manifestDigest: fromHex(a.manifestHash),
    state: deliveryStateNames.number(a.outcome) ?? 0,
    settled: { monotonicNs: BigInt(a.settledNs) },
    playedUs: BigInt(a.playedUs),
    heardCharacters: a.heardChars,
    replyCharacters: a.replyChars,
    heardBy: heardByNames.number(a.heardBy) ?? 0,
    ...(a.cancelAcceptedNs === null
      ? {}
      : {
          cancel: {
            scope: cancelScopeNames.number("turn") ?? 0,
            reason: reasonToWire(a.cancelReason ?? "cancelled").reason,
            accepted: { monotonicNs: BigInt(a.cancelAcceptedNs) },
            ...(a.cancelFenceAppliedNs === null
              ? {}
              : { fenceApplied: { monotonicNs: BigInt(a.cancelFenceAppliedNs) } }),
            rejectedOutputs: a.rejectedOutputs,
          },
        }),
    lateAfterCancel: a.lateAfterCancel,
    epochAtSettlement: BigInt(a.epochAtSettlement),
    digest: fromHex(a.hash),
    refusedAfterFence: a.rejectedOutputs,
  });
}

function instant(at: EvidenceInstant): InstantPair {
  return create(InstantPairSchema, {
    monotonicNs: BigInt(at.monoNs),
    wallMs: BigInt(at.wallMs),
    runtimeSequence: BigInt(at.sequence),
  });
}

const snapshotKinds = {
  pipeline: "pipeline",
  profile: "profile",
  policy: "policy",
  routing: "routing",
  rollout: "rollout",
  admission: "admission",
  providerHealth: "provider_health",
} as const;

/** One that was acted on as last good ends in `!stale`. */
function snapshotRefs(m: EvidenceManifest): { kind: string; version: string; stale: boolean }[] {
  const { snapshots } = m;
  if (snapshots === null) return [];
  return Object.entries(snapshotKinds)
    .map(([field, kind]) => ({ kind, version: snapshots[field as keyof typeof snapshotKinds] }))
    .filter((ref) => ref.version !== "")
    .map(({ kind, version }) => ({ kind, version: version.replace(/!stale$/, ""), stale: version.endsWith("!stale") }));
}

/** `name@version`; a version that is no whole number is 0 here and stands in the canonical form. */
function pipelineRef(pipelineVersion: string): { name: string; version: number } {
  const at = pipelineVersion.lastIndexOf("@");
  if (at < 0) return { name: pipelineVersion, version: 0 };
  const version = Number(pipelineVersion.slice(at + 1));
  return { name: pipelineVersion.slice(0, at), version: Number.isInteger(version) && version > 0 ? version : 0 };
}

/** A seed of up to 32 bytes as it is, a longer one by its SHA-256. */
function seedBytes(seed: string): Uint8Array {
  const bytes = new TextEncoder().encode(seed);
  return bytes.length <= 32 ? bytes : sha256(bytes);
}

/** Empty for what is no hexadecimal of whole bytes. */
export function fromHex(hex: string): Uint8Array {
  if (hex.length % 2 !== 0 || !/^[0-9a-f]*$/.test(hex)) return new Uint8Array(0);
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
