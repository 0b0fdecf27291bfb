/** `${name}` in a module stands for a parameter: replaced in the tree before it is checked, once for each use (F-019). */
import { isScalar, Scalar } from "yaml";
import { suggest } from "./nearest.ts";
import type { Place, Position } from "./problem.ts";
import { positionOf, type Walk } from "./walk-state.ts";

export interface ParameterValue {
  value: string | number | boolean;
  /** Where the use gives it; null for the module's own default. */
  place: Place | null;
}

/** `unset`: required, and the module is looked at by itself; what needs the value is not checked. */
export type Parameters = ReadonlyMap<string, ParameterValue | "unset">;

const reference = /\$(\$?)\{([^{}]*)\}/g;
const whole = /^\$\{([^{}]*)\}$/;

/** Whether the text refers to a parameter; `$${` is the text `${`. */
export function hasParameter(text: string): boolean {
  return [...text.matchAll(reference)].some(([, escaped]) => escaped === "");
}

/**
 * The scalar with its parameters filled in, and where the value stands; null for anything without a reference. A text that
 * is one reference keeps the type of its parameter, so that numbers stay numbers. `wrong` where it has no value; what is
 * unknown has been reported.
 */
export function substitute(
  walk: Walk,
  written: unknown,
  parameters: Parameters,
  path: string,
  at: Position,
): { node: Scalar; place: Place } | "wrong" | null {
  if (!isScalar(written) || typeof written.value !== "string" || !written.value.includes("${")) return null;
  const here = positionOf(walk, written, at);
  const text = written.value;
  const [, only] = whole.exec(text) ?? [];
  if (only !== undefined) {
    const found = lookUp(walk, only, parameters, path, here);
    return found === "wrong" ? found : { node: scalar(written, found.value), place: found.place ?? here };
  }
  let wrong = false;
  const filled = text.replace(reference, (all: string, escaped: string, name: string) => {
    if (escaped !== "") return all.slice(1);
    const found = lookUp(walk, name, parameters, path, here);
    if (found === "wrong") wrong = true;
    return found === "wrong" ? "" : String(found.value);
  });
  return wrong ? "wrong" : { node: scalar(written, filled), place: here };
}

function scalar(written: Scalar, value: unknown): Scalar {
  const node = new Scalar(value);
  node.range = written.range ?? null;
  return node;
}

function lookUp(walk: Walk, given: string, parameters: Parameters, path: string, at: Place): ParameterValue | "wrong" {
  const name = given.trim();
  const found = parameters.get(name);
  if (found !== undefined) return found === "unset" ? "wrong" : found;
  walk.problems.add(at, {
    path,
    code: "unknown_parameter",
    message: `\${${name.slice(0, 64)}} names no parameter of this module`,
    remedy: `${suggest(name, [...parameters.keys()], "parameters")} Write $\${ for the characters themselves`,
  });
  return "wrong";
}
