/** What an edge says about what it carries: conditions (F-018). Bounds and strategies are looked at in `check-values.ts`. */
import { conditionProblem } from "./cel.ts";
import type { Report } from "./check-graph.ts";
import { looseField } from "./graph-view.ts";

export const CONDITION_HELP = 'write e.g. event.language == "de" && event.chars > 3';

/** @param edge as walked; fields that were wrong are absent. */
export function checkCondition(edge: unknown, path: string, report: Report): void {
  const source = looseField(edge, "condition");
  if (typeof source !== "string") return;
  const problem = conditionProblem(source);
  if (problem === null) return;
  report({
    path: `${path}.condition`,
    code: "condition",
    message: `${JSON.stringify(source)} is no condition: ${problem}`,
    remedy: CONDITION_HELP,
  });
}
