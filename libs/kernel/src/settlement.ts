/** Delivery of a closed turn, up to its addendum (`kernel.md` §2, §11). */

import { clearTurnTimers } from "./cancellation.ts";
import { committedUs } from "./commit-point.ts";
import { heardUpTo, rememberReply } from "./conversation.ts";
import { cancelTurnNodes } from "./custom-stop.ts";
import { deliveryTransition, settled } from "./delivery.ts";
import { type DeliveryEvidence, deliveryAddendum } from "./evidence.ts";
import { fenceAllows, fenceForget } from "./fence.ts";
import type { DeliveryReport, FenceAck } from "./input.ts";
import { lanesForgetTurn } from "./lanes.ts";
import { DELIVERY_SETTLE_MS } from "./limits.ts";
import { releaseEvidence } from "./recording.ts";
import { refreshRecording } from "./recording-step.ts";
import { snapshotState } from "./snapshot.ts";
import { findTurn, type TurnState } from "./state.ts";
import { cause, clearTimer, type StepContext, setTimerIn, signal } from "./step-context.ts";
import { rememberTools } from "./tool-late.ts";
import { turnClosed } from "./turn-lifecycle.ts";

export const TRANSPORT_GONE = "transport_disconnect_or_stall";

const SIGNALS = {
  accepted: "output_accepted",
  started: "playback_started",
  progress: "",
  completed: "playback_completed",
  cancelled: "playback_cancelled",
  lost: "playback_lost",
} as const;

export function onDelivery(cx: StepContext, report: DeliveryReport): void {
  const turn = findTurn(cx.s, report.turn);
  if (turn === undefined) {
    // T11 excepts delivery signals; of a settled turn they are late all the same.
    cx.s.counters.lateDropped += 1;
    return;
  }
  const accepting = report.state === "accepted" || report.state === "started";
  const playedUs = within(turn, report.playedUs);
  if (accepting && !fenceAllows(cx.s.fence, report.turn, report.generation)) {
    turn.rejectedOutputs += 1;
    turn.lateAfterCancel += 1;
    turn.delivery.playedUs = Math.max(turn.delivery.playedUs, playedUs);
    return;
  }
  // Nobody can have played a generation that was never sent, nor reached the end before the end mark left.
  const early = report.state === "completed" && !turn.output.endSent;
  if (report.generation > turn.generation || early) {
    cx.s.counters.lateDropped += 1;
    return;
  }
  const move = deliveryTransition(turn.delivery, { state: report.state, playedUs });
  if (!move.ok) {
    cx.s.counters.lateDropped += 1;
    return;
  }
  if (report.state === "started" && turn.anchors.playbackStartedNs === 0) turn.anchors.playbackStartedNs = cx.atNs;
  const name = SIGNALS[report.state];
  // T13 was told when it was decided; the adapter's own word for it is no second one.
  const told = name === "playback_cancelled" && turn.terminal === "commit" && turn.cancelReason !== "";
  if (name !== "" && !told) signal(cx, name, "adapter", turn.number, "", { mediaUs: playedUs }, false);
  // F6: what the adapter has given up is heard no more; a turn that is still under way cannot go on.
  if (turn.phase === "active" && settled(turn.delivery)) cause(cx, "disconnect", turn.number, TRANSPORT_GONE);
  if (turn.phase === "closed_commit" && turn.cancelReason === "" && !settled(turn.delivery)) armSettle(cx, turn);
  trySettle(cx, turn);
}

/** Media time that can have been played: no more than was sent. */
function within(turn: TurnState, playedUs: number): number {
  return Number.isFinite(playedUs) ? Math.min(Math.max(0, playedUs), turn.output.sentUs) : 0;
}

/** The adapter has applied the fence: anchor `cancel_fence_applied`. */
export function onFenceAck(cx: StepContext, ack: FenceAck): void {
  const turn = findTurn(cx.s, ack.turn);
  if (turn === undefined || turn.cancelReason === "" || ack.generation <= turn.generation) {
    cx.s.counters.lateDropped += 1;
    return;
  }
  const first = turn.anchors.cancelAppliedNs === 0;
  if (first) turn.anchors.cancelAppliedNs = cx.atNs;
  turn.delivery.playedUs = Math.max(turn.delivery.playedUs, within(turn, ack.playedUs));
  deliveryTransition(turn.delivery, { state: "cancelled", playedUs: turn.delivery.playedUs });
  const acceptedNs = turn.anchors.cancelAcceptedNs;
  if (first && acceptedNs !== 0) {
    const value = cx.atNs - acceptedNs;
    cx.effects.push({ type: "telemetry", name: "cancel_fence_ns", value, turn: turn.number, node: "" });
  }
  trySettle(cx, turn);
}

/** A committed turn must settle: by its own length and then some. */
export function armSettle(cx: StepContext, turn: TurnState): void {
  let queuedUs = turn.output.sentUs - turn.delivery.playedUs;
  for (const edge of turn.run.edges) queuedUs += edge?.queuedUs ?? 0;
  setTimerIn(cx, `settle:${turn.number}`, Math.max(0, queuedUs) / 1000 + DELIVERY_SETTLE_MS);
}

export function onSettleTimer(cx: StepContext, turn: TurnState): void {
  // While held, playout stands still: look again later.
  if (turn.output.heldSinceNs >= 0) return armSettle(cx, turn);
  settleAsLost(cx, turn);
}

/** Nothing more is waited for: neither reports nor the acknowledgement of the fence. */
export function settleAsLost(cx: StepContext, turn: TurnState): void {
  clearTimer(cx, `settle:${turn.number}`);
  const playedUs = turn.delivery.playedUs;
  if (deliveryTransition(turn.delivery, { state: "lost", playedUs }).ok)
    signal(cx, "playback_lost", "egress", turn.number, "", { mediaUs: playedUs }, false);
  trySettle(cx, turn);
}

/** Writes the delivery addendum once the turn is closed and nothing more can be heard of it. */
export function trySettle(cx: StepContext, turn: TurnState): void {
  const s = cx.s;
  if (!turnClosed(turn.phase) || !settled(turn.delivery)) return;
  // The addendum of a cut turn says when the fence was applied: the acknowledgement is awaited, up to the settle timer.
  const unacknowledged = turn.cancelReason !== "" && turn.anchors.cancelAppliedNs === 0;
  if (unacknowledged && s.timers[`settle:${turn.number}`] !== undefined) return;
  const heard = heardUpTo(cx, turn, turn.delivery.playedUs);
  rememberTools(cx, turn, heard.chars);
  const keptUs = committedUs(cx, turn);
  rememberReply(cx, turn, keptUs === turn.delivery.playedUs ? heard : heardUpTo(cx, turn, keptUs));
  const phase = turn.delivery.phase;
  const outcome: DeliveryEvidence["outcome"] =
    phase === "completed" ? "completed" : phase === "cancelled" ? "cancelled" : "lost";
  const addendum = deliveryAddendum(turn.evidenceHash, {
    turn: turn.number,
    outcome,
    playedUs: turn.delivery.playedUs,
    heardChars: heard.chars,
    replyChars: turn.segments.reduce((sum, segment) => sum + segment.chars, 0),
    heardBy: heard.by,
    cancelFenceAppliedNs: turn.anchors.cancelAppliedNs === 0 ? null : (turn.anchors.cancelAppliedNs as typeof cx.nowNs),
    cancelAcceptedNs: turn.anchors.cancelAcceptedNs === 0 ? null : (turn.anchors.cancelAcceptedNs as typeof cx.nowNs),
    cancelReason: turn.cancelReason === "" ? null : turn.cancelReason,
    cancelScope: turn.cancelReason === "" ? null : turn.cancelScope,
    rejectedOutputs: turn.rejectedOutputs,
    lateAfterCancel: turn.lateAfterCancel,
    settledNs: cx.nowNs,
    epochAtSettlement: s.authority.epoch,
  });
  cx.effects.push({
    type: "record",
    record: { kind: "delivery_addendum", turn: turn.number, hash: addendum.hash, addendum },
  });
  releaseEvidence(s.recording, turn.reservedBytes);
  cancelTurnNodes(cx, turn, "turn_settled");
  clearTurnTimers(cx, turn);
  clearTimer(cx, `settle:${turn.number}`);
  lanesForgetTurn(s.lanes, turn.number);
  cx.effects.push({ type: "release_turn", turn: turn.number, keep: [] });
  if (turn.ownRefs.length > 0) cx.effects.push({ type: "release", refs: [...new Set(turn.ownRefs)] });
  fenceForget(s.fence, turn.number);
  s.turns = s.turns.filter((t) => t !== turn);
  s.turnsSinceSnapshot += 1;
  refreshRecording(cx);
  if (s.config.snapshotEveryTurns > 0 && s.turnsSinceSnapshot >= s.config.snapshotEveryTurns) s.snapshotOwed = true;
}

/**
 * Last in its step, with no turn open: a replay goes on with the next batch. Never at L0, since a state holds what L0 does
 * not keep; a rise of the level asks for one again.
 */
export function emitSnapshot(cx: StepContext): void {
  if (!cx.s.snapshotOwed || cx.s.turns.length > 0 || cx.s.lifecycle.phase === "ended") return;
  cx.s.snapshotOwed = false;
  cx.s.turnsSinceSnapshot = 0;
  if (cx.s.recording.level === "L0") return;
  cx.effects.push({
    type: "record",
    record: { kind: "state_snapshot", turns: cx.s.lastTurn, state: snapshotState(cx.s) },
  });
}
