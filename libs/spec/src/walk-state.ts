/** What a walk over one YAML text carries along: where lines begin, what is wrong, where the values stand. */
import type { LineCounter } from "yaml";
import type { Parameters } from "./parameters.ts";
import type { Place, PlaceOrigin, Position, ProblemList } from "./problem.ts";

export interface Walk {
  lines: LineCounter;
  problems: ProblemList;
  /** Filled as fields are read. */
  positions: Map<string, Place>;
  /** Where the text is not the checked file itself. */
  origin?: PlaceOrigin;
  /** Of a module: what its `${name}` stand for. */
  parameters?: Parameters;
}

export function positionOf(walk: Pick<Walk, "lines" | "origin">, node: unknown, otherwise: Position): Place {
  const range = (node as { range?: readonly number[] | null } | null | undefined)?.range;
  const offset = range?.[0];
  if (offset === undefined) return otherwise;
  const found = walk.lines.linePos(offset);
  const at = { line: Math.max(1, found.line), column: Math.max(1, found.col) };
  return walk.origin === undefined ? at : { ...at, origin: walk.origin };
}
