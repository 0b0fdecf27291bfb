/** Starts a turn's graph: from the caller's words, from given text, or from an adopted speculation. */

import { appendPart, cutText } from "./conversation.ts";
import type { KernelEvent, TextSpan } from "./event.ts";
import { LANE_DATA } from "./event.ts";
import { emit, noteOrder, offer } from "./flow.ts";
import { adoptSpeculation } from "./invocations.ts";
import type { Proposal, TurnState } from "./state.ts";
import { cause, nextSeq, type StepContext } from "./step-context.ts";
import { onModelDone } from "./tool-round.ts";
import type { WordsTopology } from "./topology.ts";

export function startTurnGraph(cx: StepContext, turn: TurnState, proposal: Proposal, speculation: number): void {
  const { topology, config } = cx.s;
  const inv = cx.s.invocations[speculation];
  if (topology.words !== undefined && inv === undefined) return startWords(cx, turn, proposal, topology.words);
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
    if (node !== null && node !== undefined) {
      node.invocation = inv.id;
      // Its answer may call tools: then it is asked again.
      if (config.graph.nodes[topology.llm]?.tools !== undefined) node.ended = false;
    }
    // Adopted first: what then leaves the history may still have to be told to another candidate.
    adoptSpeculation(cx, inv, turn.number);
    remember(cx, turn, proposal);
    onModelDone(cx, turn.number, topology.llm);
    return;
  }
  for (const e of topology.entryEdges) {
    enter(cx, turn, e, entryEvent(cx, turn, proposal));
    enter(cx, turn, e, { ...entryEvent(cx, turn, proposal), body: { type: "end" } });
  }
  remember(cx, turn, proposal);
  if (topology.entryEdges.length === 0) cause(cx, "failure", turn.number, "no_entry_edge");
}

/** Graphs with text nodes: each entry has its end, so that a merge or a second branch waits for nothing that never comes. */
function startWords(cx: StepContext, turn: TurnState, proposal: Proposal, words: WordsTopology): void {
  const { topology, config } = cx.s;
  const { say } = proposal;
  if (say !== null) {
    for (const index of words.speech) {
      const node = turn.run.nodes[index];
      if (node !== null && node !== undefined) node.ended = true;
      sayAt(cx, turn, index, say.spans, say.chars);
    }
  }
  const direct = say !== null && words.speech.length === 0;
  const told = direct ? { ...proposal, ...say } : words.plainEntry ? proposal : ownWords(cx, turn, proposal);
  let entered = 0;
  for (const e of topology.entryEdges) {
    const from = topology.edgeFrom[e] ?? -1;
    const mine = proposal.entry === undefined ? from !== words.keypad : from === proposal.entry;
    if (direct ? config.graph.edges[e]?.to.port === "text" : mine && say === null) {
      enter(cx, turn, e, entryEvent(cx, turn, told));
      entered += 1;
    }
    enter(cx, turn, e, { ...entryEvent(cx, turn, told), body: { type: "end" } });
  }
  remember(cx, turn, proposal);
  if (entered === 0 && (say === null || direct))
    cause(cx, "failure", turn.number, say === null ? "no_entry_edge" : "no_speech_path");
}

/** A copy that lives as long as the turn: the conversation may forget its own before they have been spoken. */
function ownWords(cx: StepContext, turn: TurnState, proposal: Proposal): Proposal {
  if (proposal.spans.length === 0) return proposal;
  const copy = cutText(cx, proposal.spans);
  turn.ownRefs.push(copy.ref);
  return { ...proposal, spans: [copy] };
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
      language: proposal.language ?? "",
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
  sayAt(cx, turn, llm, spans, chars);
}

function sayAt(cx: StepContext, turn: TurnState, node: number, spans: readonly TextSpan[], chars: number): void {
  emit(
    cx,
    turn.run,
    node,
    "text",
    { type: "text", spans, chars, segment: 0, revision: 1, final: true, confidence: 1, language: "" },
    cx.inputSeq,
  );
  emit(cx, turn.run, node, "text", { type: "end" }, cx.inputSeq);
}

/** Nodes up to the language model have nothing to do in this turn. */
function endAbove(turn: TurnState, llm: number, kinds: readonly string[]): void {
  turn.run.nodes.forEach((node, i) => {
    if (node !== null && (i === llm || kinds[i] === "context")) node.ended = true;
  });
}
