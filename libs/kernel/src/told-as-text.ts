/** Clauses from here on were given as text alone (F-137): what was shown counts as told. */
import type { TurnState } from "./state.ts";

export function toldAsText(turn: TurnState, segment: number): boolean {
  return turn.textFrom !== undefined && segment >= turn.textFrom;
}
