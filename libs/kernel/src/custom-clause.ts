/**
 * Turn audio through, or by, a custom node: which clause of the reply it speaks, so that heard text stays equal to played audio
 * (`kernel.md` §6; F-039). Audio that goes in and comes out keeps its clause; text given to a node that speaks begins one.
 */
import type { CustomClause, CustomCommand } from "./custom-state.ts";
import type { AudioBody, EventBody } from "./event.ts";
import { type NodeDefinition, portsOf } from "./graph.ts";
import { findTurn, type GraphRun } from "./state.ts";
import type { StepContext } from "./step-context.ts";

export function clauseOf(
  cx: StepContext,
  run: GraphRun,
  definition: NodeDefinition,
  body: EventBody,
): CustomClause | null {
  const turn = findTurn(cx.s, run.turn);
  if (turn === undefined) return null;
  if (body.type === "audio") {
    const { segment, segmentChars: chars, segmentEnd, words, durationUs } = body;
    return { segment, chars, spoken: false, durationUs, segmentEnd, words, emitted: 0 };
  }
  if (body.type !== "text" || !portsOf(definition).outputs.some(({ type }) => type === "audio")) return null;
  const segment = turn.segments.length;
  const { spans, chars } = body;
  turn.segments.push({ spans, chars, startUs: -1, durationUs: 0, shedUs: 0, complete: false, words: null });
  cx.effects.push({
    type: "egress_text",
    epoch: cx.s.authority.epoch,
    turn: turn.number,
    generation: turn.generation,
    role: "assistant",
    spans,
    final: true,
    segment,
    revision: 1,
  });
  return { segment, chars, spoken: true, durationUs: 0, segmentEnd: false, words: null, emitted: 0 };
}

/** An emission with the clause of the event it answers. */
export function withClause(body: AudioBody, command: CustomCommand): AudioBody {
  const { clause } = command;
  if (clause === undefined) return { ...body, segment: -1, segmentEnd: false, segmentChars: 0, words: null };
  const first = clause.emitted === 0;
  clause.emitted += 1;
  const { segment, chars: segmentChars } = clause;
  return {
    ...body,
    mediaUs: -1,
    segment,
    segmentChars,
    segmentEnd: first && clause.segmentEnd,
    words: first ? clause.words : null,
  };
}
