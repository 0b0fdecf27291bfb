/** What a spec says of budgets on scopes and of failure: each part is in the graph only where it was written. */
import type { GraphDefinition } from "@rspp/kernel/graph";
import type { DegradeDefinition } from "@rspp/kernel/resilience-definition";
import { compileScopedBudgets } from "./compile-budgets.ts";
import type { Sources } from "./sources.ts";
import type { PipelineSpec } from "./spec.ts";

type Parts = Pick<GraphDefinition, "budgets" | "errors" | "degrade" | "deadLetters" | "admission" | "breaker">;

/** For how long nothing may have gone wrong before a turn runs undegraded again. */
const CALM_MS_DEFAULT = 10_000;
const SILENCE = "silence";

export function compileResilience(spec: PipelineSpec, sources: Sources): Parts {
  const { errors, degrade, dead_letters: letters, admission, breaker } = spec;
  for (const name of Object.keys(errors ?? {})) sources.take(`errors.${name}`, `errors.${name}`);
  if (degrade !== undefined) sources.take("degrade", "degrade");
  if (letters !== undefined) sources.take("deadLetters", "dead_letters");
  if (admission !== undefined) sources.take("admission", "admission");
  if (breaker !== undefined) sources.take("breaker", "breaker");
  return {
    ...compileScopedBudgets(spec, sources),
    ...(errors === undefined ? {} : { errors: sentences(errors) }),
    ...(degrade === undefined ? {} : { degrade: degradeOf(degrade) }),
    ...(letters === undefined ? {} : { deadLetters: { max: letters.max } }),
    ...(admission === undefined ? {} : { admission: admissionOf(admission) }),
    ...(breaker === undefined ? {} : { breaker: { failures: breaker.failures, coolMs: breaker.cool_ms } }),
  };
}

function sentences(errors: NonNullable<PipelineSpec["errors"]>): NonNullable<Parts["errors"]> {
  return Object.fromEntries(Object.entries(errors).map(([name, text]) => [name, text === SILENCE ? "" : text]));
}

function degradeOf({
  calm_ms = CALM_MS_DEFAULT,
  text_only = false,
  postures = [],
}: NonNullable<PipelineSpec["degrade"]>) {
  const degrade: DegradeDefinition = {
    postures: postures.map(({ id, nodes }) => ({ id, nodes })),
    calmMs: calm_ms,
    textOnly: text_only,
  };
  return degrade;
}

function admissionOf({ queued_max, age_max_ms, dispatch_max }: NonNullable<PipelineSpec["admission"]>) {
  return {
    ...(queued_max === undefined ? {} : { queuedMax: queued_max }),
    ...(age_max_ms === undefined ? {} : { ageMaxMs: age_max_ms }),
    ...(dispatch_max === undefined ? {} : { dispatchMax: dispatch_max }),
  };
}

/** Its values by provenance path. */
export function* resilienceValues(graph: GraphDefinition): Generator<[string, unknown]> {
  const { budgets, errors, degrade, deadLetters, admission, breaker } = graph;
  for (const { id, ...limit } of budgets?.limits ?? []) yield [`budgets.limits.${id}`, limit];
  for (const { provider, ...price } of budgets?.prices ?? []) yield [`budgets.prices.${provider}`, price];
  for (const [name, text] of Object.entries(errors ?? {})) yield [`errors.${name}`, text];
  if (degrade !== undefined) yield ["degrade", degrade];
  if (deadLetters !== undefined) yield ["deadLetters", deadLetters];
  if (admission !== undefined) yield ["admission", admission];
  if (breaker !== undefined) yield ["breaker", breaker];
}

/** Its part in what executes. */
export function resilienceExecuted(graph: GraphDefinition): Record<string, unknown> {
  const { budgets, errors, degrade, deadLetters, admission, breaker } = graph;
  return { scopedBudgets: budgets, errors, degrade, deadLetters, admission, breaker };
}
