/**
 * Arbitration (`kernel.md` §2): proposals become turns or refusals, terminal causes that meet in one batch are put in
 * order, and each turn gets exactly one terminal and a close. Every move goes through the table of `turn-lifecycle.ts`.
 */
import type { MonoNs } from "@rspp/base/brand";
import { nextId } from "@rspp/base/random";
import { ringForEach, ringPush, ringShift } from "@rspp/base/ring";
import { authorityHeldAt } from "./authority.ts";
import { COMMITS_AT_ADMISSION, isOn } from "./behaviours.ts";
import { startBudgets } from "./budget-meter.ts";
import { cutTurn, endWork, stopWork } from "./cancellation.ts";
import { openTurnNodes } from "./custom-nodes.ts";
import { deliveryTransition, settled } from "./delivery.ts";
import { proposeErrorResponse } from "./error-response.ts";
import { evidenceBytesMax } from "./evidence.ts";
import { toldDuplicate } from "./guard.ts";
import { farewellOpened, farewellRefused, refusedByHangUp } from "./hang-up.ts";
import { releaseText } from "./hearing.ts";
import { dedupeForget, dedupeKey } from "./identity.ts";
import { OPEN_TURNS_MAX } from "./limits.ts";
import { resolveTurnPlan } from "./plan-resolver.ts";
import { openingLevel, openingPosture } from "./postures.ts";
import { recordedAt, releaseEvidence, reserveEvidence } from "./recording.ts";
import { armSettle, trySettle } from "./settlement.ts";
import { cancelSpeculation, claimSpeculation } from "./speculation.ts";
import { findTurn, type Proposal, runCreate, type TurnState } from "./state.ts";
import { cause, nextSeq, type StepContext, setTimerIn, signal, type TerminalCause } from "./step-context.ts";
import { TIMEBASE_ERROR_BUCKETS_MS, timebaseErrorQuantileMs } from "./timebase.ts";
import { turnCreate } from "./turn-create.ts";
import { refusalRecord, sealTurn } from "./turn-evidence.ts";
import { orderCauses, TERMINAL_RANK, type TurnMove, type TurnTrigger, turnTransition } from "./turn-lifecycle.ts";
import { overTurnRate, RATE_WAITS, rateWaits } from "./turn-rate.ts";
import { startTurnGraph } from "./turn-start.ts";

/** Decides what was proposed in this step, oldest first; then what is queued, when nothing is in the way any more. */
export function arbitrate(cx: StepContext): void {
  for (let p = cx.proposals.shift(); p !== undefined; p = cx.proposals.shift()) propose(cx, p);
  while (cx.s.proposals.size > 0 && inTheWay(cx).length === 0 && !callerSpeaking(cx) && !rateWaits(cx)) {
    const queued = ringShift(cx.s.proposals);
    if (queued !== undefined) openTurn(cx, queued, []);
  }
}

/** Speech that is confirmed, or whose words are still awaited: nobody but the caller's own turn talks into it. */
function callerSpeaking(cx: StepContext): boolean {
  const { utterance, closing } = cx.s.prelude;
  return utterance.phase === "confirmed" || closing.length > 0;
}

/** Turns a new one would overlap: open, or committed and still to be heard. A cut one only awaits its acknowledgement. */
function inTheWay(cx: StepContext): TurnState[] {
  return cx.s.turns.filter((t) => t.phase === "active" || (t.cancelReason === "" && !settled(t.delivery)));
}

function propose(cx: StepContext, proposal: Proposal): void {
  const s = cx.s;
  proposal.id = s.nextProposal;
  s.nextProposal += 1;
  const first = proposal.key === "" ? null : dedupeKey(s.dedupe, `proposal:${proposal.key}`, proposal.id);
  if (first !== null) {
    s.counters.duplicates += 1;
    toldDuplicate(cx, first);
    releaseText(cx, proposal.say?.spans ?? []);
    return;
  }
  const hangingUp = refusedByHangUp(cx, proposal);
  if (hangingUp !== "") return refuse(cx, proposal, "reject", hangingUp);
  const blocking = inTheWay(cx);
  const spokenOver = proposal.origin !== "endpoint" && callerSpeaking(cx);
  const uncut = blocking.some((turn) => turn.uninterruptible === true);
  const wanted = proposal.second ?? s.config.policy.secondProposal;
  const secondProposal = wanted === "preempt" && uncut ? "queue" : wanted;
  const overlaps = blocking.length > 0 || spokenOver;
  if (!overlaps || (secondProposal === "preempt" && !spokenOver)) return openTurn(cx, proposal, blocking);
  if (secondProposal === "drop") return refuse(cx, proposal, "reject", spokenOver ? "caller_speaking" : "overlap");
  if (!ringPush(s.proposals, proposal)) refuse(cx, proposal, "reject", "proposal_queue_full");
}

function preempt(cx: StepContext, turn: TurnState): void {
  signal(cx, "cancel", "cancellation", turn.number, "preempted", { scope: "turn" });
  const { atNs, inputSeq } = cx;
  const reason = "preempted";
  applyCause(cx, { kind: "cancel", seq: nextSeq(cx), turn: turn.number, reason, atNs, inputSeq, scope: "turn" });
}

interface Refusal {
  trigger: TurnTrigger;
  reason: string;
}

/** Opens a turn, or refuses it; the turns it preempts are cut only once nothing stands against it. */
function openTurn(cx: StepContext, proposal: Proposal, preempted: readonly TurnState[]): void {
  const s = cx.s;
  const barred = refusedByHangUp(cx, proposal) || overTurnRate(cx, proposal);
  if (barred !== "") return barred === RATE_WAITS ? undefined : refuse(cx, proposal, "reject", barred);
  const refusal = checkOpening(cx);
  if (refusal !== null) return refuseBy(cx, proposal, refusal);
  const number = s.lastTurn + 1;
  const resolved = resolveTurnPlan({
    config: s.config,
    graphHash: s.graphHash,
    turn: number,
    epoch: s.authority.epoch,
    snapshots: s.snapshots,
    ...recordedAt(s.recording),
    admissionOutcome: "admit",
    origin: proposal.origin,
    say: proposal.say !== null,
    ...openingPosture(cx),
    policy: s.policy,
  });
  if (!resolved.ok) {
    releaseEvidence(s.recording, evidenceBytesMax);
    refuseBy(cx, proposal, { trigger: "plan_failed_reject", reason: resolved.error });
    return;
  }
  const { bytes: planBytes } = resolved.value;
  if (!reserveEvidence(s.recording, planBytes)) {
    releaseEvidence(s.recording, evidenceBytesMax);
    refuseBy(cx, proposal, { trigger: "admission_defer", reason: "recording" });
    return;
  }
  for (const turn of preempted) preempt(cx, turn);
  s.lastTurn = number;
  const turn = turnCreate(
    number,
    nextId(s.ids, "turn"),
    proposal,
    runCreate(s.config.graph, s.topology, number),
    s,
    cx,
  );
  turn.planId = nextId(s.ids, "plan");
  turn.planHash = resolved.value.hash;
  turn.reservedBytes = evidenceBytesMax + planBytes;
  turn.phase = "active";
  s.turns.push(turn);
  cx.effects.push({
    type: "record",
    record: { kind: "plan", turn: number, planId: turn.planId, hash: turn.planHash, plan: resolved.value.plan },
  });
  signal(cx, "turn_open", "arbiter", number, "", {
    origin: proposal.origin,
    turnId: turn.id,
    planHash: turn.planHash,
    ...resilienceFields(cx, turn, proposal),
  });
  turn.openSeq = s.seq;
  if (proposal.hangUp === true) farewellOpened(cx, proposal, number);
  const { turnFirstOutputMs } = s.config.budgets;
  setTimerIn(cx, `first_output_warning:${number}`, turnFirstOutputMs * WARNING_SHARE);
  setTimerIn(cx, `first_output:${number}`, turnFirstOutputMs);
  startBudgets(cx, turn, proposal.invocations);
  openTurnNodes(cx, turn);
  startTurnGraph(cx, turn, proposal, claimSpeculation(cx, turn, proposal));
  // The caller already goes on speaking: his words are kept, the answer to all of them comes with his next turn.
  if (s.config.policy.bargeIn && s.prelude.utterance.phase === "confirmed" && turn.uninterruptible !== true) {
    signal(cx, "barge_in", "prelude", number, "barge_in", { scope: "turn" });
    cause(cx, "cancel", number, "barge_in");
  }
}

/** F-048: the posture it opens with stands for the turn. F-135: one that tells a failed turn's caller is marked, so that it is never answered so itself. */
function resilienceFields(cx: StepContext, turn: TurnState, { errorOf }: Proposal): Record<string, string | number> {
  const level = openingLevel(cx);
  if (level > 0) turn.posture = level;
  if (errorOf === undefined) return {};
  turn.errorOf = errorOf;
  return { errorOf: errorOf.turn, errorClass: errorOf.class };
}

/** `budget_warning` comes at three quarters of the budget. */
const WARNING_SHARE = 0.75;

/** T2 to T4, in the order authority, session, snapshots, capacity, evidence. Reserves the evidence when all holds. */
function checkOpening(cx: StepContext): Refusal | null {
  const s = cx.s;
  if (s.authority.held === "revoked") return { trigger: "authority_revoked", reason: "revoked" };
  if (!authorityHeldAt(s.authority, cx.nowNs)) return { trigger: "epoch_stale", reason: s.authority.held };
  if (s.lifecycle.phase !== "active") return { trigger: "admission_reject", reason: `session_${s.lifecycle.phase}` };
  if (!s.snapshotsUsable) return { trigger: "admission_defer", reason: `snapshot: ${s.snapshotReason}` };
  if (!s.capacity.admit) {
    return {
      trigger: s.capacity.outcome === "defer" ? "admission_defer" : "admission_reject",
      reason: s.capacity.reason,
    };
  }
  if (s.turns.length >= OPEN_TURNS_MAX) return { trigger: "admission_defer", reason: "open_turns" };
  if (!reserveEvidence(s.recording, evidenceBytesMax)) return { trigger: "admission_defer", reason: "recording" };
  return null;
}

function refuseBy(cx: StepContext, proposal: Proposal, refusal: Refusal): void {
  const move = turnTransition("opening", refusal.trigger, false);
  if (!move.ok) return;
  for (const name of move.signals) refuse(cx, proposal, name, refusal.reason);
}

function refuse(cx: StepContext, proposal: Proposal, name: string, reason: string): void {
  const s = cx.s;
  if (name === "stale_epoch_reject")
    signal(cx, name, "guard", 0, reason, {
      scope: "pre_turn",
      epochOld: s.authority.epoch,
      epochNew: s.authority.knownEpoch,
    });
  else if (name === "deauthorized_drain") signal(cx, name, "guard", 0, reason, { scope: "pre_turn" });
  else signal(cx, name, "local_admission", 0, reason, { proposal: proposal.id });
  cx.effects.push({ type: "record", record: refusalRecord(cx, proposal, name, reason) });
  releaseText(cx, [...proposal.spans, ...(proposal.say?.spans ?? [])]);
  if (proposal.origin === "endpoint") cancelSpeculation(cx, "refused");
  if (proposal.hangUp === true) farewellRefused(cx);
  if (name === "defer" && proposal.key !== "") dedupeForget(s.dedupe, `proposal:${proposal.key}`);
}

/** All terminal causes found so far, by the tie order; those that come second find their turn closed. */
export function resolveCauses(cx: StepContext): void {
  while (cx.causes.length > 0) {
    const ordered = orderCauses(cx.causes);
    cx.causes.length = 0;
    for (const found of ordered) applyCause(cx, found);
  }
}

/**
 * Authority loss and cancels act before the batch is dispatched. The lesser causes wait: dispatch may find a barge-in in
 * the same batch, and that comes before them (`kernel.md` §2). True when nothing is left waiting.
 */
export function resolveUrgentCauses(cx: StepContext): boolean {
  if (cx.causes.length === 0) return true;
  const urgent = cx.causes.filter((found) => TERMINAL_RANK[found.kind] <= TERMINAL_RANK.cancel);
  const rest = cx.causes.filter((found) => TERMINAL_RANK[found.kind] > TERMINAL_RANK.cancel);
  for (const found of orderCauses(urgent)) applyCause(cx, found);
  cx.causes.length = 0;
  cx.causes.push(...rest);
  return rest.length === 0;
}

const TRIGGERS: Readonly<Record<TerminalCause["kind"], TurnTrigger>> = {
  authority_lost: "authority_lost",
  cancel: "cancel_accepted",
  budget_terminate: "failure",
  failure: "failure",
  disconnect: "failure",
  generation_complete: "generation_complete",
};

export function applyCause(cx: StepContext, found: TerminalCause): void {
  const turn = findTurn(cx.s, found.turn);
  if (turn === undefined) return;
  const noEvidence = found.reason === EVIDENCE_REASON;
  const trigger = noEvidence && found.kind === "failure" ? "evidence_exhausted" : TRIGGERS[found.kind];
  if (trigger === "cancel_accepted" && turn.cancelReason !== "") return;
  const move = turnTransition(turn.phase, trigger, settled(turn.delivery));
  if (!move.ok) {
    cx.s.counters.ignoredInputs += 1;
    return;
  }
  if (trigger === "cancel_accepted") {
    turn.cancelScope = found.scope;
    turn.cancelInput = found.inputSeq;
  }
  // A cut for want of evidence is nobody's cancel: it has no latency that anybody waits for.
  if (found.kind === "cancel" && !noEvidence) turn.anchors.cancelAcceptedNs = found.atNs;
  if (move.case === "T13") cutCommitted(cx, turn, found.reason);
  else terminate(cx, turn, move, found);
}

export const EVIDENCE_REASON = "recording_evidence_unavailable";

/** T13: committed stays committed; what is still to be heard is cut. */
function cutCommitted(cx: StepContext, turn: TurnState, reason: string): void {
  cutTurn(cx, turn, reason);
  signal(cx, "playback_cancelled", "egress", turn.number, reason, { mediaUs: turn.delivery.playedUs });
}

function abortReason(found: TerminalCause): string {
  if (found.kind === "cancel") return "cancelled";
  if (found.kind === "authority_lost") return "authority_loss";
  return found.reason;
}

/** T6 to T10: fence and work first, then the terminal and close; the evidence is appended before they are told. */
function terminate(cx: StepContext, turn: TurnState, move: TurnMove, found: TerminalCause): void {
  const commit = move.case === "T6";
  turn.phase = move.next;
  turn.terminal = commit ? "commit" : "abort";
  turn.terminalReason = commit ? "" : abortReason(found);
  turn.anchors.terminalNs = cx.nowNs;
  turn.epochAtTerminal = cx.s.authority.epoch;
  if (commit && isOn(cx.s.config.behaviours, COMMITS_AT_ADMISSION)) turn.lastDataSequence = lastData(cx, turn);
  if (commit) endWork(cx, turn);
  else cutTurn(cx, turn, found.kind === "cancel" ? found.reason : turn.terminalReason);
  const at = cx.effects.length;
  let terminalSeq = 0;
  let closeSeq = 0;
  for (const name of move.signals) {
    if (name === "deauthorized_drain") signal(cx, name, "guard", turn.number, found.reason, { scope: "turn" });
    else if (name === "abort") signal(cx, name, "arbiter", turn.number, turn.terminalReason, { cause: found.reason });
    else if (name === "commit")
      signal(cx, name, "arbiter", turn.number, "", { lastDataSequence: turn.lastDataSequence });
    else signal(cx, name, "arbiter", turn.number);
    if (name === "close") closeSeq = cx.s.seq;
    else terminalSeq = cx.s.seq;
  }
  cx.effects.splice(at, 0, { type: "record", record: sealTurn(cx, turn, terminalSeq, closeSeq) });
  tellMappingError(cx, turn);
  tellSpent(cx, turn);
  proposeErrorResponse(cx, turn, found);
  if (!commit) return trySettle(cx, turn);
  if (turn.lastDataSequence <= 1 && turn.output.sentUs === 0 && queuedAudio(turn) === 0) {
    // A control-only turn has nothing to deliver.
    stopWork(cx, turn, "complete");
    deliveryTransition(turn.delivery, { state: "empty", playedUs: 0 });
    trySettle(cx, turn);
    return;
  }
  armSettle(cx, turn);
  trySettle(cx, turn);
}

/** NF-018 at each turn boundary: how well media time is mapped, the 99th percentile of the session so far. */
function tellMappingError(cx: StepContext, turn: TurnState): void {
  const { timebase } = cx.s;
  if (!timebase.mapped) return;
  const value = Math.min(timebaseErrorQuantileMs(timebase, 0.99), TIMEBASE_ERROR_BUCKETS_MS.at(-1) ?? 0);
  cx.effects.push({ type: "telemetry", name: "media_runtime_mapping_error_ms", value, turn: turn.number, node: "" });
}

/** NF-017: what the turn has cost by the prices of its graph, as far as its providers have told or it was estimated. */
function tellSpent(cx: StepContext, turn: TurnState): void {
  if (turn.budgets === undefined || cx.s.config.graph.budgets?.prices.length === 0) return;
  const value = Math.round(turn.budgets.spentMicros);
  cx.effects.push({ type: "telemetry", name: "turn_cost_micros", value, turn: turn.number, node: "" });
}

/** What was sent, what is queued at the outputs, and the end mark behind it. */
function lastData(cx: StepContext, turn: TurnState): number {
  const { outputs, into } = cx.s.topology;
  let last = turn.output.sequence + 1;
  for (const node of outputs)
    for (const e of into[node] ?? []) {
      const edge = turn.run.edges[e];
      if (edge !== null && edge !== undefined)
        ringForEach(edge.queue, ({ body }) => {
          if (body.type === "audio") last += 1;
        });
    }
  return last;
}

function queuedAudio(turn: TurnState): number {
  let us = 0;
  for (const edge of turn.run.edges) us += edge?.queuedUs ?? 0;
  return us;
}

/** Every turn of the session, e.g. on authority loss or the session's end. */
export function causeForAll(cx: StepContext, kind: TerminalCause["kind"], reason: string, atNs: MonoNs): void {
  for (const turn of cx.s.turns) cause(cx, kind, turn.number, reason, { atNs });
}

/** Refuses what still waits, e.g. when the session ends. */
export function refuseQueued(cx: StepContext, reason: string): void {
  for (let p = ringShift(cx.s.proposals); p !== undefined; p = ringShift(cx.s.proposals))
    refuse(cx, p, "reject", reason);
}
