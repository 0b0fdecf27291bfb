/** What a spec says of budgets on scopes and of failure: each part is in the graph only where it was written. */
import type { GraphDefinition } from "@rspp/kernel/graph";
import { compileScopedBudgets } from "./compile-budgets.ts";
import type { Sources } from "./sources.ts";
import type { PipelineSpec } from "./spec.ts";

export function compileResilience(spec: PipelineSpec, sources: Sources): Pick<GraphDefinition, "budgets"> {
  return { ...compileScopedBudgets(spec, sources) };
}

/** Its values by provenance path. */
export function* resilienceValues({ budgets }: GraphDefinition): Generator<[string, unknown]> {
  for (const { id, ...limit } of budgets?.limits ?? []) yield [`budgets.limits.${id}`, limit];
  for (const { provider, ...price } of budgets?.prices ?? []) yield [`budgets.prices.${provider}`, price];
}

/** Its part in what executes. */
export function resilienceExecuted({ budgets }: GraphDefinition): Record<string, unknown> {
  return { scopedBudgets: budgets };
}
