/** What an edge says about what it carries: conditions (F-018). Bounds and strategies are looked at in `check-values.ts`. */
import { conditionProblem } from "./cel.ts";
import type { ValueType } from "./cel-check.ts";
import type { Report } from "./check-graph.ts";
import { looseField } from "./graph-view.ts";

export const CONDITION_HELP = 'write e.g. event.language == "de" && event.chars > 3';

export type ConditionTypes = Readonly<Record<string, ValueType>>;

const types: Readonly<Record<string, ValueType>> = { string: "text", enum: "text", number: "number", boolean: "truth" };

/** Types of the declared session variables; undefined where none are declared, and any may be given. */
export function variableTypes(document: unknown): ConditionTypes | undefined {
  const declared = looseField(document, "variables");
  if (typeof declared !== "object" || declared === null) return undefined;
  return Object.fromEntries(
    Object.entries(declared).map(([name, one]) => [name, types[String(looseField(one, "type"))] ?? "any"]),
  );
}

/**
 * @param edge as walked; fields that were wrong are absent.
 * @param declared default: session variables may have any name and type.
 */
export function checkCondition(edge: unknown, path: string, report: Report, declared?: ConditionTypes): void {
  const source = looseField(edge, "condition");
  if (typeof source !== "string") return;
  const problem = conditionProblem(source, declared);
  if (problem === null) return;
  report({
    path: `${path}.condition`,
    code: "condition",
    message: `${JSON.stringify(source)} is no condition: ${problem}`,
    remedy: CONDITION_HELP,
  });
}
