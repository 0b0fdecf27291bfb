/**
 * Tool calls that outlive their turn (X-03; `kernel.md` §4), and what the conversation keeps of the others. A side-effecting
 * call finishes under a cancel and nothing waits for it: its outcome is evidence, its result enters the conversation, and by
 * policy has the agent speak of it.
 */
import type { MonoNs } from "@rspp/base/brand";
import { canonicalJson } from "@rspp/base/canonical-json";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import { appendPart, conversationChanged, cutText } from "./conversation.ts";
import type { TextSpan } from "./event.ts";
import type { OutcomeKind } from "./input.ts";
import { candidateOf, forget, nodeOf } from "./invocations.ts";
import { TOOL_HISTORY_CHARS_MAX } from "./limits.ts";
import { sliceSpans } from "./rope.ts";
import type { InvocationState, TurnState } from "./state.ts";
import { type StepContext, signal } from "./step-context.ts";
import { literalText } from "./text-out.ts";
import { isUninterruptible, type ToolCall, type ToolExchange, type ToolWork } from "./tool-state.ts";

export const LATE_OUTCOME_SCHEMA = "or02/v1/late_outcome";
const REASON = "late_tool_result";

/** What the model is told: the tool's own words, else how it ended. Details are static words, never payload. */
export function resultOf(cx: StepContext, inv: InvocationState, outcome: OutcomeKind, detail: string): TextSpan[] {
  if (inv.tool !== undefined && inv.tool.result.length > 0) return inv.tool.result;
  const said =
    outcome === "success"
      ? { result: "done" }
      : {
          error: outcome,
          ...(detail === "" ? {} : { detail }),
          // Whether it was done cannot be known: a model that calls again would do it twice.
          ...(isUninterruptible(nodeOf(cx, inv), inv.tool) && outcome !== "unauthorized"
            ? { note: "it may have been done; do not call again" }
            : {}),
        };
  return [literalText(cx, inv.turn, JSON.stringify(said))];
}

/** The turn is over, the work is not: nothing waits for it, and its deadline still holds. */
export function detachWork(cx: StepContext, inv: InvocationState): boolean {
  const { tool: work } = inv;
  if (work === undefined || inv.status !== "open" || !isUninterruptible(nodeOf(cx, inv), work)) return false;
  work.detached = true;
  work.result = work.result.map((span) => ownCopy(cx, span));
  return true;
}

/** A payload that lives until the work is over, whatever becomes of its turn. */
export function ownCopy(cx: StepContext, span: TextSpan): TextSpan {
  return cutText(cx, [span]);
}

/** The end of a call whose turn is over: exactly one, told beside the turn's evidence. */
export function lateOutcome(
  cx: StepContext,
  inv: InvocationState,
  turn: TurnState | undefined,
  outcome: OutcomeKind,
  detail: string,
): void {
  recordLate(cx, inv, turn, outcome, detail);
  forget(cx, inv);
  const call = turn?.run.nodes[inv.node]?.tools?.calls[inv.tool?.call ?? -1];
  if (call !== undefined && turn !== undefined) {
    // Its turn has not settled: the result goes into the conversation with it.
    call.status = "done";
    call.outcome = outcome;
    call.result = resultOf(cx, inv, outcome, detail);
    turn.ownRefs.push(...(inv.tool?.result ?? []).map(({ ref }) => ref));
  } else if (!fillIn(cx, inv, outcome, detail)) return;
  const { config, lifecycle, authority } = cx.s;
  const policy = config.graph.nodes[inv.node]?.toolLimits?.lateResult ?? "note";
  if (policy === "propose" && lifecycle.phase === "active" && authority.held === "held") propose(cx, inv);
}

/** A session that ends waits for nothing: the work goes on, how it ends will not be known here. */
export function abandonWork(cx: StepContext, inv: InvocationState): boolean {
  if (inv.status !== "open" || !isUninterruptible(nodeOf(cx, inv), inv.tool)) return false;
  recordLate(cx, inv, undefined, "disconnect", "session_ended");
  if (inv.tool !== undefined) dropCopies(cx, inv.tool);
  forget(cx, inv);
  return true;
}

/** What came after the turn has payloads of its own, which nobody else lets go of. */
export function dropCopies(cx: StepContext, work: ToolWork): void {
  const refs = (work.detached === true ? work.result : []).map(({ ref }) => ref);
  if (refs.length > 0) cx.effects.push({ type: "release", refs });
}

function recordLate(
  cx: StepContext,
  inv: InvocationState,
  turn: TurnState | undefined,
  outcome: OutcomeKind,
  detail: string,
): void {
  const node = nodeOf(cx, inv);
  const body = {
    schema: LATE_OUTCOME_SCHEMA,
    turn: inv.turn,
    manifestHash: turn?.evidenceHash ?? inv.tool?.manifestHash ?? "",
    invocationId: inv.name,
    node: node.id,
    tool: node.tools?.[inv.tool?.tool ?? -1]?.name ?? "",
    provider: candidateOf(cx, inv)?.provider ?? "",
    outcome,
    detail,
    openedNs: inv.openedNs,
    endedNs: cx.nowNs,
    epoch: cx.s.authority.epoch,
  };
  const hash = sha256Utf8Hex(canonicalJson(body));
  cx.effects.push({
    type: "record",
    record: { kind: "late_outcome", turn: inv.turn, hash, outcome: { ...body, hash } },
  });
}

/** Puts the result where the conversation waits for it; false where it has been forgotten. */
function fillIn(cx: StepContext, inv: InvocationState, outcome: OutcomeKind, detail: string): boolean {
  const part = cx.s.conversation.find(({ turn, exchanges }) =>
    exchanges?.some(({ invocation, result }) => turn === inv.turn && invocation === inv.id && result === null),
  );
  const exchange = part?.exchanges?.find(({ invocation }) => invocation === inv.id);
  const spans = resultOf(cx, inv, outcome, detail);
  const result = exchange === undefined ? null : cutText(cx, sliceSpans(spans, 0, TOOL_HISTORY_CHARS_MAX));
  // Its turn is gone: nobody else lets go of them.
  cx.effects.push({ type: "release", refs: spans.map(({ ref }) => ref) });
  if (part === undefined || exchange === undefined || result === null) return false;
  exchange.result = result;
  part.spans = [...part.spans, result];
  part.chars += result.to;
  conversationChanged(cx);
  return true;
}

/** The agent speaks of it, as the turn's own policy of late text has it speak (`kernel.md` §2). */
function propose(cx: StepContext, inv: InvocationState): void {
  signal(cx, "turn_open_proposed", "api", 0, REASON, { origin: "api", lateOf: inv.turn });
  cx.proposals.push({
    id: 0,
    origin: "api",
    utterance: 0,
    spans: [],
    chars: 0,
    say: null,
    key: "",
    reason: REASON,
    proposedNs: cx.atNs,
    cause: cx.inputSeq,
    firstVoicedNs: 0 as MonoNs,
    lastVoicedNs: 0 as MonoNs,
    speculation: 0,
    invocations: [],
  });
}

/**
 * At settlement: calls of a turn that was heard are kept, and those that have done something whether it was heard or not.
 * Arguments and results have payloads of their own then, cut to a bound.
 */
export function rememberTools(cx: StepContext, turn: TurnState, heardChars: number): void {
  for (const [index, node] of turn.run.nodes.entries()) {
    if (node?.tools === undefined) continue;
    const kept = node.tools.calls.filter((call) => isKept(cx, index, call, heardChars));
    if (kept.length === 0) continue;
    const exchanges = kept.map((call) => exchangeOf(cx, call));
    const spans = exchanges.flatMap((made) =>
      made.result === null ? [made.arguments] : [made.arguments, made.result],
    );
    const chars = spans.reduce((sum, span) => sum + span.to - span.from, 0);
    appendPart(cx, { role: "tools", turn: turn.number, spans, chars, exchanges });
    for (const { invocation } of kept) {
      const work = cx.s.invocations[invocation]?.tool;
      if (work !== undefined) work.manifestHash = turn.evidenceHash;
    }
  }
}

function isKept(cx: StepContext, index: number, call: ToolCall, heardChars: number): boolean {
  if (call.status === "asked" || call.invocation === 0) return false;
  const tool = cx.s.config.graph.nodes[index]?.tools?.[call.tool];
  if (tool?.sideEffect === "side_effecting") return true;
  return heardChars > 0 && call.status === "done";
}

function exchangeOf(cx: StepContext, call: ToolCall): ToolExchange {
  const { callId, name, invocation, status } = call;
  // Cut-off JSON is none: too long arguments are left out.
  const long = call.arguments.to - call.arguments.from > TOOL_HISTORY_CHARS_MAX;
  const args = cutText(cx, long ? [] : [call.arguments]);
  const result = status === "done" ? cutText(cx, sliceSpans(call.result, 0, TOOL_HISTORY_CHARS_MAX)) : null;
  return { callId, name, arguments: args, result, invocation: status === "done" ? 0 : invocation };
}
