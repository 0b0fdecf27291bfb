/** Fills and seals the evidence of a turn, and of a refused proposal (`kernel.md` §11; F-149, F-150, F-153). */

import type { MonoNs } from "@rspp/base/brand";
import { canonicalJson } from "@rspp/base/canonical-json";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import type { TimelineRecord } from "./effect.ts";
import { LANE_CONTROL, LANE_DATA, LANE_NAMES } from "./event.ts";
import { type EvidenceInstant, type EvidenceManifest, evidenceCreate, sealEvidence } from "./evidence.ts";
import { MERGE_RULE } from "./plan-resolver.ts";
import type { Proposal, TurnState } from "./state.ts";
import type { StepContext } from "./step-context.ts";

export function instant(cx: StepContext, sequence: number): EvidenceInstant {
  return { sequence, monoNs: cx.nowNs, wallMs: cx.wallMs };
}

export function sealTurn(cx: StepContext, turn: TurnState, terminalSeq: number, closeSeq: number): TimelineRecord {
  const s = cx.s;
  const m: EvidenceManifest = evidenceCreate();
  m.tenantId = s.config.tenantId;
  m.sessionId = s.config.sessionId;
  m.turn = turn.number;
  m.pipelineVersion = s.config.graph.pipelineVersion;
  m.planId = turn.planId;
  m.planHash = turn.planHash;
  m.profileVersion = s.config.profile;
  m.incarnation = s.authority.incarnation;
  m.epochAtOpen = turn.epochAtOpen;
  m.epochAtTerminal = turn.epochAtTerminal;
  m.admissionOutcome = "admit";
  m.snapshots = turn.snapshots;
  m.seed = s.config.seed;
  m.mergeRuleId = MERGE_RULE.id;
  m.mergeRuleVersion = MERGE_RULE.version;
  m.orderingMarkers = [{ lane: LANE_NAMES[LANE_CONTROL], first: turn.openSeq, last: closeSeq }];
  if (turn.dataFirst !== 0)
    m.orderingMarkers.push({ lane: LANE_NAMES[LANE_DATA], first: turn.dataFirst, last: turn.dataLast });
  m.nondeterministicInputs = nondeterministicInputs(turn);
  m.opened = { sequence: turn.openSeq, monoNs: turn.anchors.openNs, wallMs: turn.openWallMs };
  const commit = turn.terminal === "commit";
  m.terminal = {
    ...instant(cx, terminalSeq),
    kind: commit ? "commit" : "abort",
    reason: commit ? null : turn.terminalReason,
    lastDataSequence: commit ? turn.lastDataSequence : null,
  };
  m.closed = instant(cx, closeSeq);
  if (turn.cancelReason !== "" && turn.anchors.cancelAcceptedNs !== 0) {
    m.cancel = {
      scope: turn.cancelScope,
      reason: turn.cancelReason,
      acceptedNs: turn.anchors.cancelAcceptedNs as MonoNs,
      fencedNs: cx.nowNs,
      rejectedOutputs: turn.rejectedOutputs,
    };
  }
  m.invocations = turn.invocations.map((inv) => ({
    invocationId: inv.name,
    modality: inv.modality,
    node: inv.node,
    provider: inv.provider,
    attempt: inv.attempt,
    outcome: inv.outcome,
    detail: inv.detail,
    openedNs: inv.openedNs as MonoNs,
    endedNs: inv.endedNs as MonoNs,
    ...(inv.tool === undefined ? {} : { tool: inv.tool }),
  }));
  const outliving = Object.values(s.invocations).filter((inv) => inv.turn === turn.number && inv.tool?.detached);
  if (outliving.length > 0) m.outliving = outliving.map(({ name }) => name).join(",");
  m.recordingLevel = s.recording.level;
  // An empty text would count as absent.
  m.behaviours = s.config.behaviours.length === 0 ? "none" : s.config.behaviours.join(",");
  const sealed = sealEvidence(m);
  turn.evidenceHash = sealed.hash;
  return { kind: "evidence", turn: turn.number, hash: sealed.hash, manifest: sealed };
}

/** What a re-simulation cannot recompute, by the sequences of the inputs that brought it. */
function nondeterministicInputs(turn: TurnState): NonNullable<EvidenceManifest["nondeterministicInputs"]> {
  const { causeInput, cancelInput } = turn;
  const inputs = [{ kind: "proposal", ref: turn.origin as string, sequence: causeInput, last: causeInput }];
  for (const inv of turn.invocations) {
    if (inv.firstInput === 0) continue;
    inputs.push({ kind: inv.modality, ref: inv.name, sequence: inv.firstInput, last: inv.lastInput });
  }
  if (cancelInput !== 0)
    inputs.push({ kind: "cancel", ref: turn.cancelReason, sequence: cancelInput, last: cancelInput });
  return inputs;
}

/** Refused proposals leave evidence all the same (`kernel.md` §2). */
export function refusalRecord(cx: StepContext, proposal: Proposal, outcome: string, reason: string): TimelineRecord {
  const s = cx.s;
  const manifest = {
    schema: "or02/v1/refusal",
    tenantId: s.config.tenantId,
    sessionId: s.config.sessionId,
    proposal: proposal.id,
    origin: proposal.origin,
    utterance: proposal.utterance,
    outcome,
    reason,
    epoch: s.authority.epoch,
    incarnation: s.authority.incarnation,
    snapshots: s.snapshots,
    proposedNs: proposal.proposedNs,
    refusedNs: cx.nowNs,
    wallMs: cx.wallMs,
  };
  return {
    kind: "refusal",
    proposal: proposal.id,
    outcome,
    reason,
    manifest: { ...manifest, hash: sha256Utf8Hex(canonicalJson(manifest)) },
  };
}
