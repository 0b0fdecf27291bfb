/**
 * The cancel of a turn (`kernel.md` §6): fence first, then the work under it. One typed reason; siblings live on.
 */
import { stopBudgets } from "./budget-meter.ts";
import { cancelTurnNodes, closeTurnNodes } from "./custom-stop.ts";
import { edgeClear } from "./edge-buffer.ts";
import { fenceRaise } from "./fence.ts";
import { cancelInvocation } from "./invocations.ts";
import { lanesForgetTurn } from "./lanes.ts";
import { DELIVERY_SETTLE_MS } from "./limits.ts";
import type { TurnState } from "./state.ts";
import { clearTimer, type StepContext, setTimerIn } from "./step-context.ts";
import { detachWork } from "./tool-late.ts";

/** Raises the fence over what the turn has put out so far and stops everything under its scope. */
export function cutTurn(cx: StepContext, turn: TurnState, reason: string): void {
  const s = cx.s;
  fenceRaise(s.fence, turn.number, turn.generation + 1);
  cx.effects.push({
    type: "egress_fence",
    epoch: s.authority.epoch,
    turn: turn.number,
    generation: turn.generation + 1,
    all: false,
    reason,
  });
  turn.cancelReason = reason;
  stopWork(cx, turn, reason);
  turn.output.heldSinceNs = -1;
  if (s.prelude.heldTurn === turn.number) s.prelude.heldTurn = 0;
  // Without the adapter's acknowledgement the turn is settled as lost.
  setTimerIn(cx, `settle:${turn.number}`, DELIVERY_SETTLE_MS);
}

/** Cancels invocations, empties queues, resets nodes (F-038) and clears the turn's timers. */
export function stopWork(cx: StepContext, turn: TurnState, reason: string): void {
  for (const id of [...turn.openInvocations]) {
    const inv = cx.s.invocations[id];
    if (inv !== undefined && !detachWork(cx, inv)) cancelInvocation(cx, inv, reason);
  }
  turn.openInvocations = [];
  cancelTurnNodes(cx, turn, reason);
  for (const edge of turn.run.edges) if (edge !== null) edgeClear(edge);
  for (const node of turn.run.nodes) {
    if (node === null) continue;
    node.invocation = 0;
    node.ended = true;
    if (node.segmenter !== null) node.segmenter = { spans: [], chars: 0, nextSegment: node.segmenter.nextSegment };
    delete node.text;
  }
  lanesForgetTurn(cx.s.lanes, turn.number);
  turn.generating = false;
  clearTurnTimers(cx, turn);
}

/** All timers of a turn but that of its settlement. */
export function clearTurnTimers(cx: StepContext, turn: TurnState): void {
  for (const kind of ["output", "first_output", "first_output_warning", "hold", "soft"])
    clearTimer(cx, `${kind}:${turn.number}`);
  stopBudgets(cx, turn);
  for (let e = 0; e < turn.run.edges.length; e++) clearTimer(cx, `edge:${turn.number}:${e}`);
  turn.run.nodes.forEach((node, n) => {
    if (node?.watched === true) clearTimer(cx, `node:${turn.number}:${n}`);
    if (node?.kind === "merge") clearTimer(cx, `merge:${turn.number}:${n}`);
    if (node?.tools !== undefined) clearTimer(cx, `filler:${turn.number}:${n}`);
  });
}

/** At commit nothing may still work for the turn; what it has put out plays on. */
export function endWork(cx: StepContext, turn: TurnState): void {
  for (const id of [...turn.openInvocations]) {
    const inv = cx.s.invocations[id];
    if (inv !== undefined && !detachWork(cx, inv)) cancelInvocation(cx, inv, "turn_committed");
  }
  turn.openInvocations = [];
  for (const node of turn.run.nodes) {
    if (node === null || node.kind === "output" || node.kind === "custom") continue;
    node.invocation = 0;
    node.ended = true;
  }
  closeTurnNodes(cx, turn);
  clearTimer(cx, `first_output:${turn.number}`);
  clearTimer(cx, `first_output_warning:${turn.number}`);
  stopBudgets(cx, turn);
}
