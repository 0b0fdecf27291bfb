/**
 * Commit point of an output (F-039): what of a reply that was cut the conversation keeps. `played`: what was heard, by the
 * adapter's reports. `handed_out`: what was sent to the transport, for lines that cannot tell what they have played.
 */
import type { NodeDefinition } from "./graph.ts";
import type { TurnState } from "./state.ts";
import type { StepContext } from "./step-context.ts";

export type CommitPoint = "played" | "handed_out";

export function commitPointOf({ settings }: NodeDefinition): CommitPoint {
  return settings.commit_point === "handed_out" ? "handed_out" : "played";
}

/** Media time of the turn's output that counts as said, microseconds. */
export function committedUs(cx: StepContext, turn: TurnState): number {
  const { nodes } = cx.s.config.graph;
  const output = nodes.find(({ kind, scope }) => kind === "output" && scope === "turn");
  const handedOut = output !== undefined && commitPointOf(output) === "handed_out";
  return handedOut ? Math.max(turn.output.sentUs, turn.delivery.playedUs) : turn.delivery.playedUs;
}
