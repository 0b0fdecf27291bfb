/** Caps of an invocation as the budget it is opened with (F-058); 0 is no bound. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Budget, BudgetOutcome, type BudgetSchema, BudgetScope } from "@rspp/gen/rspp/pipeline/v1/budget_pb";
import type { InvocationCaps } from "@rspp/ports/provider";

export function capsToWire(caps: InvocationCaps): MessageInitShape<typeof BudgetSchema> {
  const { tokens = 0, audioMs = 0, ttsCharacters = 0, costMicros = 0, onExceeded } = caps;
  return {
    scope: BudgetScope.PROVIDER_INVOCATION,
    tokens: BigInt(Math.ceil(tokens)),
    audioMs: BigInt(Math.ceil(audioMs)),
    characters: BigInt(Math.ceil(ttsCharacters)),
    costMicros: BigInt(Math.ceil(costMicros)),
    onExhausted: onExceeded === "refuse" ? BudgetOutcome.TERMINATE : BudgetOutcome.DEGRADE,
  };
}

export function capsFromWire(budget: Budget | undefined): { caps?: InvocationCaps } {
  if (budget === undefined || budget.scope !== BudgetScope.PROVIDER_INVOCATION) return {};
  const { tokens, audioMs, characters, costMicros, onExhausted } = budget;
  return {
    caps: {
      onExceeded: onExhausted === BudgetOutcome.TERMINATE ? "refuse" : "truncate",
      ...(tokens === 0n ? {} : { tokens: Number(tokens) }),
      ...(audioMs === 0n ? {} : { audioMs: Number(audioMs) }),
      ...(characters === 0n ? {} : { ttsCharacters: Number(characters) }),
      ...(costMicros === 0n ? {} : { costMicros: Number(costMicros) }),
    },
  };
}
