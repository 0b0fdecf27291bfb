/**
 * Ports whose every edge has a condition (F-018). Where none holds, what comes out goes nowhere, and a turn whose whole reply
 * goes nowhere commits without a word. That is a choice an author may make, e.g. to keep short texts back, so it is advice and
 * no error; conditions that leave no gap are seen and left alone.
 */
import type { Advice } from "./advice.ts";
import type { PipelineSpec } from "./spec.ts";

interface Route {
  readonly index: number;
  readonly condition: string | undefined;
}

export function routeAdvice({ edges, variables }: PipelineSpec): Advice[] {
  const ports = new Map<string, Route[]>();
  for (const [index, edge] of edges.entries()) {
    const from = typeof edge === "string" ? (edge.split("->")[0]?.trim() ?? "") : edge.from;
    const condition = typeof edge === "string" ? undefined : edge.condition;
    ports.set(from, [...(ports.get(from) ?? []), { index, condition }]);
  }
  return [...ports].flatMap(([port, routes]): Advice[] => {
    const conditions = routes.flatMap(({ condition }) => (condition === undefined ? [] : [condition]));
    const [first] = routes;
    if (first === undefined || conditions.length < routes.length) return [];
    if (leavesNoGap(conditions, valuesOf(variables))) return [];
    const message = `every edge from ${port} has a condition: where none holds, what it says goes nowhere, and a turn ends in silence`;
    const remedy = "leave one edge without condition, or use a `select` with `otherwise`";
    return [{ path: `edges[${first.index}].condition`, message, remedy }];
  });
}

/** Values of variables that have a list of them. */
function valuesOf(variables: PipelineSpec["variables"]): ReadonlyMap<string, readonly string[]> {
  return new Map(
    Object.entries(variables ?? {}).flatMap(([name, declared]) => {
      const { values } = declared as { values?: readonly string[] };
      return values === undefined ? [] : [[`vars.${name}`, values.map(String)] as const];
    }),
  );
}

const EQUAL = /^([\w.]+)\s*(==|!=)\s*(?:"([^"]*)"|'([^']*)'|([\w.]+))$/;

interface Comparison {
  readonly left: string;
  readonly negated: boolean;
  readonly right: string;
}

function comparisonOf(condition: string): Comparison | null {
  const [, left, operator, double, single, bare] = EQUAL.exec(condition.trim()) ?? [];
  if (left === undefined) return null;
  return { left, negated: operator === "!=", right: double ?? single ?? bare ?? "" };
}

/** One is the other's contrary, or all values of a list are named. */
function leavesNoGap(conditions: readonly string[], lists: ReadonlyMap<string, readonly string[]>): boolean {
  const plain = conditions.map((condition) => condition.replaceAll(/\s+/g, ""));
  if (plain.some((one) => one === "true" || plain.includes(`!(${one})`) || plain.includes(`!${one}`))) return true;
  const compared = conditions.flatMap((condition) => comparisonOf(condition) ?? []);
  const contrary = compared.some((one) =>
    compared.some((other) => one.left === other.left && one.right === other.right && one.negated !== other.negated),
  );
  if (contrary) return true;
  return [...lists].some(([name, values]) =>
    values.every((value) => compared.some(({ left, right, negated }) => left === name && right === value && !negated)),
  );
}
