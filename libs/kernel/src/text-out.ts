/** How text nodes put out: under the stamp of what they were given, so that a later merge by time is not misled. */
import type { EventBody, KernelEvent, TextSpan } from "./event.ts";
import { emit } from "./flow.ts";
import { findTurn, type GraphRun, type NodeRun } from "./state.ts";
import { ask, type StepContext } from "./step-context.ts";
import type { TextNodeRun } from "./text-node-state.ts";

export function emitText(cx: StepContext, run: GraphRun, index: number, body: EventBody, from: KernelEvent): void {
  const at = cx.atNs;
  cx.atNs = from.monoNs;
  emit(cx, run, index, "text", body, from.seq);
  cx.atNs = at;
}

/** The node's own state, made at its first event. */
export function textRun(node: NodeRun): TextNodeRun {
  node.text ??= { dropped: 0 };
  return node.text;
}

/** A payload with this very text. It goes with the turn; with none it is the caller's to release. */
export function literalText(cx: StepContext, turn: number, text: string): TextSpan {
  const ref = cx.s.nextDerivedRef;
  cx.s.nextDerivedRef -= 1;
  ask(cx, { fn: "cut", spans: [], from: 0, to: text.length, ref, literal: text });
  findTurn(cx.s, turn)?.ownRefs.push(ref);
  return { ref, from: 0, to: text.length };
}

/** An event that was not let through, counted by node. */
export function countDropped(cx: StepContext, run: GraphRun, index: number, node: NodeRun, name: string): void {
  textRun(node).dropped += 1;
  const id = cx.s.config.graph.nodes[index]?.id ?? "";
  cx.effects.push({ type: "telemetry", name, value: 1, turn: run.turn, node: id });
}
