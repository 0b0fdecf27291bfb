/**
 * Work begun before its turn (`kernel.md` §2): a language-model invocation on a stable partial, session-scoped, without
 * egress, adopted by id at turn_open or cancelled.
 */
import { messagesFor } from "./conversation.ts";
import { cancelInvocation, openInvocation, pushMessages } from "./invocations.ts";
import type { Proposal } from "./state.ts";
import { ask, type StepContext } from "./step-context.ts";

export function maybeSpeculate(cx: StepContext): void {
  const { prelude, topology, config } = cx.s;
  const heard = prelude.hearing;
  if (!config.policy.speculation || prelude.speculation !== null || topology.llm === -1 || heard === null) return;
  const spans = [...heard.finals, ...heard.partial];
  if (spans.length === 0 || ask(cx, { fn: "is_blank", spans }) === true) return;
  const inv = openInvocation(cx, topology.llm, 0, true);
  // Its own copy: the partial's payload goes when the recogniser revises it.
  const ref = cx.s.nextDerivedRef;
  cx.s.nextDerivedRef -= 1;
  const chars = spans.reduce((sum, span) => sum + span.to - span.from, 0);
  ask(cx, { fn: "cut", spans, from: 0, to: chars, ref });
  const copy = [{ ref, from: 0, to: chars }];
  prelude.speculation = { invocation: inv.id, spans: copy };
  pushMessages(cx, inv, messagesFor(cx.s, copy));
}

export function cancelSpeculation(cx: StepContext, reason: string): void {
  const speculation = cx.s.prelude.speculation;
  if (speculation === null) return;
  cx.s.prelude.speculation = null;
  const inv = cx.s.invocations[speculation.invocation];
  if (inv !== undefined) {
    const refs = (inv.buffered ?? []).map((chunk) => chunk.payload.ref);
    inv.buffered = null;
    cancelInvocation(cx, inv, reason);
    if (refs.length > 0) cx.effects.push({ type: "release", refs });
  }
  cx.effects.push({ type: "release", refs: speculation.spans.map((span) => span.ref) });
}

/** The invocation to adopt for this proposal, or 0: only for the very words that were speculated on. */
export function claimSpeculation(cx: StepContext, proposal: Proposal): number {
  const speculation = cx.s.prelude.speculation;
  if (speculation === null || proposal.origin !== "endpoint") return 0;
  const inv = cx.s.invocations[speculation.invocation];
  const failed = inv?.bufferedOutcome !== null && inv?.bufferedOutcome.outcome !== "success";
  if (
    inv === undefined ||
    inv.status !== "open" ||
    failed ||
    ask(cx, { fn: "same_text", a: speculation.spans, b: proposal.spans }) !== true
  ) {
    cancelSpeculation(cx, "not_adopted");
    return 0;
  }
  cx.s.prelude.speculation = null;
  cx.effects.push({ type: "release", refs: speculation.spans.map((span) => span.ref) });
  return inv.id;
}
