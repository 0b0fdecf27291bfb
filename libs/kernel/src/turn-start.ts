/** Starts a turn's graph: from the caller's words, from given text, or from an adopted speculation. */

import { appendPart } from "./conversation.ts";
import type { KernelEvent, TextSpan } from "./event.ts";
import { LANE_DATA } from "./event.ts";
import { emit, noteOrder, offer } from "./flow.ts";
import { adoptSpeculation } from "./invocations.ts";
import type { Proposal, TurnState } from "./state.ts";
import { cause, nextSeq, type StepContext } from "./step-context.ts";

export function startTurnGraph(cx: StepContext, turn: TurnState, proposal: Proposal, speculation: number): void {
  const { topology, config } = cx.s;
  const inv = cx.s.invocations[speculation];
  if (proposal.say !== null || inv !== undefined)
    endAbove(
      turn,
      topology.llm,
      config.graph.nodes.map((n) => n.kind),
    );
  if (proposal.say !== null) {
    speak(cx, turn, proposal.say.spans, proposal.say.chars);
    return;
  }
  if (inv !== undefined) {
    const node = turn.run.nodes[topology.llm];
    if (node !== null && node !== undefined) node.invocation = inv.id;
    // Adopted first: what then leaves the history may still have to be told to another candidate.
    adoptSpeculation(cx, inv, turn.number);
    remember(cx, turn, proposal);
    return;
  }
  for (const e of topology.entryEdges) {
    enter(cx, turn, e, entryEvent(cx, turn, proposal));
    enter(cx, turn, e, { ...entryEvent(cx, turn, proposal), body: { type: "end" } });
  }
  remember(cx, turn, proposal);
  if (topology.entryEdges.length === 0) cause(cx, "failure", turn.number, "no_entry_edge");
}

function enter(cx: StepContext, turn: TurnState, e: number, event: KernelEvent): void {
  noteOrder(turn, event);
  offer(cx, turn.run, e, event);
}

/** The caller's words enter the conversation when their turn opens; where the agent speaks first there are none. */
function remember(cx: StepContext, turn: TurnState, proposal: Proposal): void {
  if (proposal.spans.length === 0) return;
  appendPart(cx, { role: "user", turn: turn.number, spans: proposal.spans, chars: proposal.chars });
}

function entryEvent(cx: StepContext, turn: TurnState, proposal: Proposal): KernelEvent {
  return {
    seq: nextSeq(cx),
    lane: LANE_DATA,
    turn: turn.number,
    generation: turn.generation,
    utterance: proposal.utterance,
    monoNs: cx.atNs,
    cause: proposal.cause,
    body: {
      type: "text",
      spans: proposal.spans,
      chars: proposal.chars,
      segment: 0,
      revision: 1,
      final: true,
      confidence: 1,
      language: "",
    },
  };
}

/** Given text is put where the language model's would come out. */
function speak(cx: StepContext, turn: TurnState, spans: readonly TextSpan[], chars: number): void {
  const llm = cx.s.topology.llm;
  if (llm === -1) {
    cause(cx, "failure", turn.number, "no_speech_path");
    return;
  }
  emit(
    cx,
    turn.run,
    llm,
    "text",
    { type: "text", spans, chars, segment: 0, revision: 1, final: true, confidence: 1, language: "" },
    cx.inputSeq,
  );
  emit(cx, turn.run, llm, "text", { type: "end" }, cx.inputSeq);
}

/** Nodes up to the language model have nothing to do in this turn. */
function endAbove(turn: TurnState, llm: number, kinds: readonly string[]): void {
  turn.run.nodes.forEach((node, i) => {
    if (node !== null && (i === llm || kinds[i] === "context")) node.ended = true;
  });
}
