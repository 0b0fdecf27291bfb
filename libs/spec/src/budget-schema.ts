/** Budgets on scopes in a spec (`kernel.md` §9). */
import { BUDGET_OUTCOMES, BUDGET_SCOPES } from "@rspp/kernel/budget-state";
import * as limits from "./limits.ts";
import { map, may, must, type NumberSchema, oneOf, text, whole } from "./schema.ts";

const micros: NumberSchema = { type: "number", min: 0, max: 1_000_000_000, integer: false };

export const limitSchema = map("a budget", {
  id: may(text(limits.ID_CHARS_MAX)),
  scope: must(oneOf(...BUDGET_SCOPES)),
  target: may(text(4 * limits.ID_CHARS_MAX)),
  soft_ms: may(whole(1, 600_000)),
  hard_ms: may(whole(1, 600_000)),
  tokens: may(whole(1, 10_000_000)),
  audio_ms: may(whole(1, 3_600_000)),
  characters: may(whole(1, 10_000_000)),
  cost_micros: may(whole(1, 1_000_000_000)),
  on_exhausted: must(oneOf(...BUDGET_OUTCOMES)),
});

export const priceSchema = map("the price of a provider", {
  provider: must(text(limits.NAME_CHARS_MAX)),
  input_token_micros: may(micros),
  output_token_micros: may(micros),
  character_micros: may(micros),
  audio_second_micros: may(micros),
});
