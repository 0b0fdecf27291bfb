/** Budgets on scopes: names of the kernel for those of the file, and where each came from. */
import type { BudgetsDefinition, ProviderPrice, ScopedBudget } from "@rspp/kernel/budget-state";
import type { Sources } from "./sources.ts";
import type { LimitDocument, PipelineSpec, PriceDocument } from "./spec.ts";

/** Nothing where the spec has none, so that the graph is what it was. */
export function compileScopedBudgets(spec: PipelineSpec, sources: Sources): { budgets?: BudgetsDefinition } {
  const { limits, prices } = spec.budgets ?? {};
  if (limits === undefined && prices === undefined) return {};
  return {
    budgets: {
      limits: (limits ?? []).map((limit, i) => {
        const id = limit.id ?? `${limit.scope}_${i}`;
        sources.take(`budgets.limits.${id}`, `budgets.limits[${i}]`);
        return limitOf(id, limit);
      }),
      prices: (prices ?? []).map((price, i) => {
        sources.take(`budgets.prices.${price.provider}`, `budgets.prices[${i}]`);
        return priceOf(price);
      }),
    },
  };
}

function limitOf(id: string, limit: LimitDocument): ScopedBudget {
  const { scope, target = "", soft_ms, hard_ms, tokens, audio_ms, characters, cost_micros, on_exhausted } = limit;
  return {
    id,
    scope,
    target,
    ...(soft_ms === undefined ? {} : { softMs: soft_ms }),
    ...(hard_ms === undefined ? {} : { hardMs: hard_ms }),
    ...(tokens === undefined ? {} : { tokens }),
    ...(audio_ms === undefined ? {} : { audioMs: audio_ms }),
    ...(characters === undefined ? {} : { characters }),
    ...(cost_micros === undefined ? {} : { costMicros: cost_micros }),
    onExhausted: on_exhausted,
  };
}

function priceOf(price: PriceDocument): ProviderPrice {
  const { provider, input_token_micros, output_token_micros, character_micros, audio_second_micros } = price;
  return {
    provider,
    ...(input_token_micros === undefined ? {} : { inputTokenMicros: input_token_micros }),
    ...(output_token_micros === undefined ? {} : { outputTokenMicros: output_token_micros }),
    ...(character_micros === undefined ? {} : { characterMicros: character_micros }),
    ...(audio_second_micros === undefined ? {} : { audioSecondMicros: audio_second_micros }),
  };
}
