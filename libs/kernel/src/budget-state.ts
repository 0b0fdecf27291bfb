/** Budgets on scopes (`kernel.md` §9): what a graph declares, and how far one turn has come with them. Plain data. */

export const BUDGET_SCOPES = ["event", "node", "edge", "path", "turn", "provider_invocation"] as const;
export type BudgetScope = (typeof BUDGET_SCOPES)[number];

export const BUDGET_OUTCOMES = ["continue", "degrade", "fallback", "terminate"] as const;
export type BudgetOutcome = (typeof BUDGET_OUTCOMES)[number];

/** What is counted beside time. */
export const BUDGET_AMOUNTS = ["tokens", "audioMs", "characters", "costMicros"] as const;
export type BudgetAmount = (typeof BUDGET_AMOUNTS)[number];

export interface ScopedBudget extends Readonly<Partial<Record<BudgetAmount, number>>> {
  id: string;
  scope: BudgetScope;
  /** Node id (event, node, provider_invocation), edge id, `from..to` (path); "" for the turn. */
  target: string;
  /** Milliseconds until the warning; three quarters of `hardMs` where it is left out. */
  softMs?: number;
  /** Milliseconds until it is exhausted. */
  hardMs?: number;
  onExhausted: BudgetOutcome;
}

/** Millionths of the account's currency for one unit; what is left out costs nothing. */
export interface ProviderPrice {
  provider: string;
  inputTokenMicros?: number;
  outputTokenMicros?: number;
  characterMicros?: number;
  audioSecondMicros?: number;
}

export interface BudgetsDefinition {
  limits: readonly ScopedBudget[];
  prices: readonly ProviderPrice[];
}

export interface BudgetUse {
  inputTokens: number;
  outputTokens: number;
  audioUs: number;
  characters: number;
  costMicros: number;
}

export interface BudgetRun {
  /** Instant its time began to count; -1 while it does not. */
  sinceNs: number;
  warned: boolean;
  exhausted: boolean;
  use: BudgetUse;
}

export interface TurnBudgets {
  /** By the index of the limit; of invocations `index.invocation`. */
  runs: Record<string, BudgetRun>;
  /** What each open invocation was counted with so far: an estimate until its usage is known. */
  counted: Record<string, BudgetUse>;
  spentMicros: number;
}

/** A bound that was passed in this step; acted upon once what was taken in has been looked at. */
export interface Overrun {
  turn: number;
  /** Key of the run. */
  key: string;
  unit: "time" | BudgetAmount;
}

export function useCreate(): BudgetUse {
  return { inputTokens: 0, outputTokens: 0, audioUs: 0, characters: 0, costMicros: 0 };
}

export function usedOf(use: BudgetUse, unit: BudgetAmount): number {
  if (unit === "tokens") return use.inputTokens + use.outputTokens;
  if (unit === "audioMs") return use.audioUs / 1_000;
  return unit === "characters" ? use.characters : use.costMicros;
}
