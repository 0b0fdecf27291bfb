/** Where a field stands: its own place, else that of what it would stand in. */
import type { Report } from "./check-graph.ts";
import type { Place, ProblemList } from "./problem.ts";

export type Places = ReadonlyMap<string, Place>;

/** `path` is the field's path in the text the place is in. */
export function placeOf(places: Places, path: string): Place {
  let known = path;
  let at = places.get(known);
  while (at === undefined && known !== "") {
    known = known.slice(0, Math.max(0, known.lastIndexOf("."), known.lastIndexOf("[")));
    at = places.get(known);
  }
  if (at === undefined) return { line: 1, column: 1 };
  return at.path === undefined ? at : { ...at, path: at.path + path.slice(known.length) };
}

/** Reports each problem where its field stands. */
export function reporter(problems: ProblemList, places: Places): Report {
  return (problem) => problems.add(placeOf(places, problem.path), problem);
}
