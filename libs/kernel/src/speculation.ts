/**
 * Work begun before its turn (`kernel.md` §2): a language-model invocation on a stable partial, session-scoped, without
 * egress, adopted by id at turn_open or cancelled.
 */
import { joinText, messagesFor } from "./conversation.ts";
import { cancelInvocation, forget, openInvocation, pushMessages } from "./invocations.ts";
import { sameCandidates } from "./policy-binding.ts";
import type { Proposal, TurnState } from "./state.ts";
import { ask, type StepContext } from "./step-context.ts";

export function maybeSpeculate(cx: StepContext): void {
  const { prelude, topology, config } = cx.s;
  const heard = prelude.hearing;
  if (!config.policy.speculation || prelude.speculation !== null || topology.llm === -1 || heard === null) return;
  // Text nodes stand between the caller's words and the model: what it would be asked is not known yet.
  if (topology.words?.plainEntry === false) return;
  const spans = [...heard.finals, ...heard.partial];
  if (spans.length === 0 || ask(cx, { fn: "is_blank", spans }) === true) return;
  const inv = openInvocation(cx, topology.llm, 0, true);
  // Its own copy: the partial's payload goes when the recogniser revises it.
  const copy = joinText(cx, spans);
  const { messages, owned } = messagesFor(cx, [copy]);
  prelude.speculation = {
    invocation: inv.id,
    spans: [copy],
    ownRefs: [copy.ref, ...owned],
    stateVersion: cx.s.stateVersion,
  };
  pushMessages(cx, inv, messages);
}

export function cancelSpeculation(cx: StepContext, reason: string): void {
  const speculation = cx.s.prelude.speculation;
  if (speculation === null) return;
  cx.s.prelude.speculation = null;
  const inv = cx.s.invocations[speculation.invocation];
  if (inv !== undefined) {
    const refs = (inv.buffered ?? []).map((chunk) => chunk.payload.ref);
    inv.buffered = null;
    // One that has answered in full acknowledges no cancel.
    if (inv.bufferedOutcome === null) cancelInvocation(cx, inv, reason);
    else forget(cx, inv);
    if (refs.length > 0) cx.effects.push({ type: "release", refs });
  }
  cx.effects.push({ type: "release", refs: speculation.ownRefs });
}

/** The invocation to adopt for this proposal, or 0: only for the very words, and the conversation, that it was asked with. */
export function claimSpeculation(cx: StepContext, turn: TurnState, proposal: Proposal): number {
  const speculation = cx.s.prelude.speculation;
  if (speculation === null || proposal.origin !== "endpoint") return 0;
  const inv = cx.s.invocations[speculation.invocation];
  const failed = inv?.bufferedOutcome !== null && inv?.bufferedOutcome.outcome !== "success";
  if (
    inv === undefined ||
    inv.status !== "open" ||
    failed ||
    speculation.stateVersion !== cx.s.stateVersion ||
    !sameCandidates(cx, inv, turn) ||
    ask(cx, { fn: "same_text", a: speculation.spans, b: proposal.spans }) !== true
  ) {
    cancelSpeculation(cx, "not_adopted");
    return 0;
  }
  cx.s.prelude.speculation = null;
  // Kept with the turn: another candidate may have to be asked the same.
  turn.ownRefs.push(...speculation.ownRefs);
  return inv.id;
}
