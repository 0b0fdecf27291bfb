/** What a resolved plan freezes of budgets and failure (`kernel.md` §3, §9): present only where the graph has some. */
import type { GraphDefinition } from "./graph.ts";

export interface ResiliencePlan
  extends Pick<GraphDefinition, "budgets" | "errors" | "degrade" | "deadLetters" | "admission" | "breaker"> {
  /** The posture in force as the turn opened. */
  posture?: string;
}

export function adaptiveActions({ nodes, degrade }: GraphDefinition): readonly string[] {
  return [
    ...(nodes.some(({ retries = 0 }) => retries > 0) ? ["retry"] : []),
    "switch",
    ...(nodes.some(({ fallback }) => fallback !== undefined) ? ["fallback"] : []),
    ...(degrade === undefined ? [] : ["degrade"]),
  ];
}

export function resilienceOf(graph: GraphDefinition, posture?: string): { resilience?: ResiliencePlan } {
  const { budgets, errors, degrade, deadLetters, admission, breaker } = graph;
  const parts = {
    ...(budgets === undefined ? {} : { budgets }),
    ...(errors === undefined ? {} : { errors }),
    ...(degrade === undefined ? {} : { degrade }),
    ...(deadLetters === undefined ? {} : { deadLetters }),
    ...(admission === undefined ? {} : { admission }),
    ...(breaker === undefined ? {} : { breaker }),
    ...(posture === undefined ? {} : { posture }),
  };
  return Object.keys(parts).length === 0 ? {} : { resilience: parts };
}
