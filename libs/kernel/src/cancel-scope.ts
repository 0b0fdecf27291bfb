/**
 * Which work a cancel that was asked for reaches (`kernel.md` §6; F-034): session > turn > node > provider invocation.
 * A cancelled node's stream ends there, so that its turn goes on with what it has; siblings and other turns live on.
 */
import { cancelNamed } from "./custom-stop.ts";
import { emit } from "./flow.ts";
import { recogniserGone } from "./hearing.ts";
import { giveUpSummary, isSummary } from "./history.ts";
import { cancelInvocation, nodeOf } from "./invocations.ts";
import { type CancelMode, cancelTurn } from "./soft-cancel.ts";
import { cancelSpeculation } from "./speculation.ts";
import { findTurn, type InvocationState, runOf } from "./state.ts";
import type { StepContext } from "./step-context.ts";
import { detachWork } from "./tool-late.ts";
import { cancelCall } from "./tool-round.ts";

export interface CancelRequest {
  scope: string;
  /** 0: whatever turn is in flight. */
  turn: number;
  /** Node id (scope `node`) or invocation name (scope `provider_invocation`). */
  target: string;
  /** Absent: as the session's policy says. */
  mode?: CancelMode;
}

export function cancelAsked(cx: StepContext, request: CancelRequest, reason: string): void {
  if (request.scope === "node" || request.scope === "provider_invocation") return cancelBranch(cx, request, reason);
  if (request.turn === 0) {
    const scope = request.scope === "session" ? "session" : "turn";
    for (const turn of cx.s.turns) cancelTurn(cx, turn, reason, { scope, mode: request.mode });
    return;
  }
  const turn = findTurn(cx.s, request.turn);
  if (turn === undefined) cx.s.counters.lateDropped += 1;
  else cancelTurn(cx, turn, reason, { mode: request.mode });
}

function cancelBranch(cx: StepContext, request: CancelRequest, reason: string): void {
  let found = request.scope === "node" ? cancelNamed(cx, request.turn, request.target, reason) : 0;
  for (const inv of Object.values(cx.s.invocations)) {
    if (inv.status !== "open" || (request.turn !== 0 && inv.turn !== request.turn)) continue;
    const name = request.scope === "node" ? nodeOf(cx, inv).id : inv.name;
    if (name !== request.target) continue;
    found += 1;
    if (inv.tool !== undefined && request.scope === "provider_invocation") cancelCall(cx, inv, reason);
    else if (!detachWork(cx, inv)) cancelOne(cx, inv, reason);
  }
  if (found === 0) cx.s.counters.lateDropped += 1;
}

function cancelOne(cx: StepContext, inv: InvocationState, reason: string): void {
  if (cx.s.prelude.speculation?.invocation === inv.id) return cancelSpeculation(cx, reason);
  if (isSummary(cx.s.dialogue, inv.id)) return giveUpSummary(cx, reason);
  cancelInvocation(cx, inv, reason);
  if (inv.modality === "stt") return recogniserGone(cx, inv);
  const run = runOf(cx.s, inv.turn);
  const node = run?.nodes[inv.node];
  if (run === undefined || node === null || node === undefined || node.ended) return;
  node.invocation = 0;
  node.ended = true;
  emit(cx, run, inv.node, inv.modality === "tts" ? "audio" : "text", { type: "end" }, cx.inputSeq);
}
