/** What a resolved plan freezes of budgets and failure (`kernel.md` §3, §9): present only where the graph has some. */
import type { GraphDefinition } from "./graph.ts";

export type ResiliencePlan = Pick<GraphDefinition, "budgets">;

export function adaptiveActions({ nodes }: GraphDefinition): readonly string[] {
  return nodes.some(({ fallback }) => fallback !== undefined) ? ["switch", "fallback"] : ["switch"];
}

export function resilienceOf(graph: GraphDefinition): { resilience?: ResiliencePlan } {
  const { budgets } = graph;
  const parts = { ...(budgets === undefined ? {} : { budgets }) };
  return Object.keys(parts).length === 0 ? {} : { resilience: parts };
}
