/**
 * Counts what a turn uses up against its budgets (`kernel.md` §9; F-045, F-046, NF-017). Time has one timer per budget, set
 * when it begins to count and looked at when it fires, so that nothing is set or cleared per frame. Amounts are counted as
 * they come: tokens are estimated by characters until the provider tells its usage. What is passed is noted in `overruns`.
 */
import { type MonoNs, NS_PER_MS } from "@rspp/base/brand";
import {
  BUDGET_AMOUNTS,
  type BudgetRun,
  type BudgetUse,
  type ProviderPrice,
  type ScopedBudget,
  type TurnBudgets,
  useCreate,
  usedOf,
} from "./budget-state.ts";
import type { EventBody, TextSpan } from "./event.ts";
import type { Usage } from "./input.ts";
import { candidatesOf } from "./policy-binding.ts";
import { spansLength } from "./rope.ts";
import { findTurn, type GraphRun, type InvocationEvidence, type InvocationState, type TurnState } from "./state.ts";
import { clearTimer, type StepContext, setTimer } from "./step-context.ts";

/** `budget_warning` comes at three quarters of a bound. */
export const WARNING_SHARE = 0.75;
const CHARS_PER_TOKEN = 4;
const NO_LIMITS: readonly ScopedBudget[] = [];

export function limitsOf(cx: StepContext): readonly ScopedBudget[] {
  return cx.s.config.graph.budgets?.limits ?? NO_LIMITS;
}

/** The limit of a run's key. */
export function limitOf(cx: StepContext, key: string): ScopedBudget | undefined {
  return limitsOf(cx)[Number.parseInt(key, 10)];
}

/** A turn opens: its own budgets begin to count, what its recognisers have cost is counted already. */
export function startBudgets(cx: StepContext, turn: TurnState, heard: readonly InvocationEvidence[]): void {
  if (cx.s.config.graph.budgets === undefined) return;
  const budgets: TurnBudgets = { runs: {}, counted: {}, spentMicros: 0 };
  turn.budgets = budgets;
  limitsOf(cx).forEach((limit, i) => {
    if (limit.scope === "provider_invocation") return;
    budgets.runs[i] = { sinceNs: -1, warned: false, exhausted: false, use: useCreate() };
    if (limit.scope === "turn") begin(cx, turn, String(i), cx.nowNs);
  });
  for (const { provider, usage } of heard) {
    if (usage === null) continue;
    const use = priced(useOf(usage), priceOf(cx, provider));
    add(cx, turn, use, (limit) => limit.scope === "turn");
  }
}

function begin(cx: StepContext, turn: TurnState, key: string, atNs: number): void {
  const run = turn.budgets?.runs[key];
  if (run === undefined || run.sinceNs >= 0 || run.exhausted) return;
  run.sinceNs = atNs;
  arm(cx, turn, key, run);
}

export function softMsOf(limit: ScopedBudget): number {
  return limit.softMs ?? Math.floor((limit.hardMs ?? 0) * WARNING_SHARE);
}

/** One timer per budget: it stands until it fires, whatever happens meanwhile. */
function arm(cx: StepContext, turn: TurnState, key: string, run: BudgetRun): void {
  const limit = limitOf(cx, key);
  const id = `budget:${turn.number}:${key}`;
  if (limit?.hardMs === undefined || cx.s.timers[id] !== undefined) return;
  const ms = run.warned ? limit.hardMs : softMsOf(limit);
  setTimer(cx, id, (run.sinceNs + Math.round(ms * NS_PER_MS)) as MonoNs);
}

export function onBudgetTimer(cx: StepContext, number: number, key: string): void {
  const turn = findTurn(cx.s, number);
  const run = turn?.budgets?.runs[key];
  const limit = limitOf(cx, key);
  if (turn?.phase !== "active" || run === undefined || limit?.hardMs === undefined) return;
  if (run.sinceNs < 0 || run.exhausted) return;
  const elapsedMs = (cx.nowNs - run.sinceNs) / NS_PER_MS;
  const warnMs = softMsOf(limit);
  const due = elapsedMs >= limit.hardMs || (!run.warned && elapsedMs >= warnMs);
  if (due) cx.overruns.push({ turn: number, key, unit: "time" });
  else arm(cx, turn, key, run);
}

/** Looked at again after its warning. */
export function rearm(cx: StepContext, turn: TurnState, key: string): void {
  const run = turn.budgets?.runs[key];
  if (run !== undefined && run.sinceNs >= 0) arm(cx, turn, key, run);
}

/** A node is given an event: its time begins, and that of the paths that start with it. */
export function budgetGiven(cx: StepContext, run: GraphRun, index: number): void {
  const turn = run.turn === 0 ? undefined : findTurn(cx.s, run.turn);
  if (turn?.budgets === undefined) return;
  const id = cx.s.config.graph.nodes[index]?.id ?? "";
  limitsOf(cx).forEach(({ scope, target }, i) => {
    const mine =
      scope === "path" ? target.startsWith(`${id}..`) : (scope === "node" || scope === "event") && target === id;
    if (!mine) return;
    const state = turn.budgets?.runs[i];
    // Each event has its budget anew.
    if (scope === "event" && state !== undefined && state.sinceNs < 0) {
      state.warned = false;
      state.exhausted = false;
    }
    begin(cx, turn, String(i), cx.nowNs);
  });
}

/** A node has put something out: what it was given last is answered; at the end of its stream its own time is over. */
export function budgetEmitted(cx: StepContext, turn: TurnState, index: number, body: EventBody): void {
  const { budgets } = turn;
  if (budgets === undefined) return;
  const id = cx.s.config.graph.nodes[index]?.id ?? "";
  limitsOf(cx).forEach(({ scope, target }, i) => {
    const run = budgets.runs[i];
    if (run === undefined || target !== id) return;
    if (scope === "event" || (scope === "node" && body.type === "end")) run.sinceNs = -1;
  });
}

/** An event goes onto an edge: amounts of the edge, how long it stands still, and paths that end there. */
export function budgetOffered(cx: StepContext, turn: TurnState, e: number, body: EventBody, queued: boolean): void {
  const { budgets } = turn;
  if (budgets === undefined) return;
  const { graph } = cx.s.config;
  const edge = graph.edges[e];
  limitsOf(cx).forEach((limit, i) => {
    const run = budgets.runs[i];
    if (run === undefined || edge === undefined) return;
    if (limit.scope === "path" && limit.target.endsWith(`..${edge.to.node}`)) run.sinceNs = -1;
    if (limit.scope !== "edge" || limit.target !== edge.id) return;
    if (queued) begin(cx, turn, String(i), cx.nowNs);
    if (body.type === "text") run.use.characters += body.chars;
    if (body.type === "audio") run.use.audioUs += body.durationUs;
    measure(cx, turn, String(i), run);
  });
}

/** An event leaves an edge: the time of the next in the queue counts from now; none, and nothing counts. */
export function budgetTaken(cx: StepContext, turn: TurnState, e: number, left: number): void {
  const { budgets } = turn;
  if (budgets === undefined) return;
  const id = cx.s.config.graph.edges[e]?.id;
  limitsOf(cx).forEach(({ scope, target }, i) => {
    const run = budgets.runs[i];
    if (run === undefined || scope !== "edge" || target !== id) return;
    run.sinceNs = left === 0 ? -1 : cx.nowNs;
  });
}

/** An attempt at a provider begins. */
export function budgetOpened(cx: StepContext, inv: InvocationState): void {
  const turn = inv.turn === 0 ? undefined : findTurn(cx.s, inv.turn);
  if (turn?.budgets === undefined) return;
  const id = cx.s.config.graph.nodes[inv.node]?.id;
  turn.budgets.counted[inv.id] = useCreate();
  limitsOf(cx).forEach(({ scope, target }, i) => {
    if (scope !== "provider_invocation" || target !== id || turn.budgets === undefined) return;
    const key = `${i}.${inv.id}`;
    turn.budgets.runs[key] = { sinceNs: -1, warned: false, exhausted: false, use: useCreate() };
    begin(cx, turn, key, inv.openedNs);
  });
}

export function budgetAsked(cx: StepContext, inv: InvocationState, spans: readonly TextSpan[]): void {
  if (findTurn(cx.s, inv.turn)?.budgets === undefined) return;
  const chars = spansLength(spans);
  if (inv.modality === "tts") count(cx, inv, { ...useCreate(), characters: chars });
  else count(cx, inv, { ...useCreate(), inputTokens: Math.ceil(chars / CHARS_PER_TOKEN) });
}

export function budgetAnswered(
  cx: StepContext,
  inv: InvocationState,
  body: { chars?: number; durationUs?: number },
): void {
  if (findTurn(cx.s, inv.turn)?.budgets === undefined) return;
  const { chars = 0, durationUs = 0 } = body;
  const tokens = Math.ceil(chars / CHARS_PER_TOKEN);
  count(cx, inv, { ...useCreate(), outputTokens: tokens, characters: chars, audioUs: durationUs });
}

/** An attempt is over: its usage, where it is told, takes the place of the estimate. */
export function budgetClosed(cx: StepContext, inv: InvocationState, usage: Usage | null): void {
  const turn = inv.turn === 0 ? undefined : findTurn(cx.s, inv.turn);
  const counted = turn?.budgets?.counted[inv.id];
  if (turn?.budgets === undefined || counted === undefined) return;
  if (usage !== null) {
    const told = useOf(usage);
    count(cx, inv, {
      inputTokens: usage.inputTokens === undefined ? 0 : told.inputTokens - counted.inputTokens,
      outputTokens: usage.outputTokens === undefined ? 0 : told.outputTokens - counted.outputTokens,
      audioUs: usage.audioUs === undefined ? 0 : told.audioUs - counted.audioUs,
      characters: usage.characters === undefined ? 0 : told.characters - counted.characters,
      costMicros: 0,
    });
  }
  delete turn.budgets.counted[inv.id];
  limitsOf(cx).forEach((_, i) => {
    const key = `${i}.${inv.id}`;
    if (turn.budgets?.runs[key] === undefined) return;
    clearTimer(cx, `budget:${turn.number}:${key}`);
    if (!cx.overruns.some((o) => o.turn === turn.number && o.key === key)) delete turn.budgets.runs[key];
  });
}

function useOf(usage: Usage): BudgetUse {
  const { inputTokens = 0, outputTokens = 0, audioUs = 0, characters = 0 } = usage;
  return { inputTokens, outputTokens, audioUs, characters, costMicros: 0 };
}

function priceOf(cx: StepContext, provider: string): ProviderPrice | undefined {
  return cx.s.config.graph.budgets?.prices.find((price) => price.provider === provider);
}

function priced(use: BudgetUse, price: ProviderPrice | undefined): BudgetUse {
  if (price === undefined) return use;
  const { inputTokenMicros = 0, outputTokenMicros = 0, characterMicros = 0, audioSecondMicros = 0 } = price;
  const costMicros =
    use.inputTokens * inputTokenMicros +
    use.outputTokens * outputTokenMicros +
    use.characters * characterMicros +
    (use.audioUs / 1_000_000) * audioSecondMicros;
  return { ...use, costMicros };
}

function count(cx: StepContext, inv: InvocationState, more: BudgetUse): void {
  const turn = findTurn(cx.s, inv.turn);
  const counted = turn?.budgets?.counted[inv.id];
  if (turn === undefined || counted === undefined) return;
  const node = cx.s.config.graph.nodes[inv.node];
  const use = priced(more, priceOf(cx, candidatesOf(cx, inv)[inv.candidate]?.provider ?? ""));
  sum(counted, use);
  const own = `.${inv.id}`;
  add(cx, turn, use, ({ scope, target }, key) => {
    if (scope === "turn") return true;
    if (target !== node?.id) return false;
    return scope === "node" || scope === "event" || (scope === "provider_invocation" && key.endsWith(own));
  });
}

function sum(into: BudgetUse, more: BudgetUse): void {
  into.inputTokens += more.inputTokens;
  into.outputTokens += more.outputTokens;
  into.audioUs += more.audioUs;
  into.characters += more.characters;
  into.costMicros += more.costMicros;
}

function add(
  cx: StepContext,
  turn: TurnState,
  use: BudgetUse,
  mine: (limit: ScopedBudget, key: string) => boolean,
): void {
  const { budgets } = turn;
  if (budgets === undefined) return;
  budgets.spentMicros += use.costMicros;
  for (const [key, run] of Object.entries(budgets.runs)) {
    const limit = limitOf(cx, key);
    if (limit === undefined || !mine(limit, key)) continue;
    sum(run.use, use);
    measure(cx, turn, key, run);
  }
}

function measure(cx: StepContext, turn: TurnState, key: string, run: BudgetRun): void {
  const limit = limitOf(cx, key);
  if (limit === undefined || run.exhausted) return;
  for (const unit of BUDGET_AMOUNTS) {
    const bound = limit[unit];
    if (bound === undefined) continue;
    const used = usedOf(run.use, unit);
    const due = used >= bound || (!run.warned && used >= bound * WARNING_SHARE);
    if (due && !cx.overruns.some((o) => o.turn === turn.number && o.key === key))
      cx.overruns.push({ turn: turn.number, key, unit });
  }
}

/** The turn's budgets stop counting; what was spent is told (NF-017). */
export function stopBudgets(cx: StepContext, turn: TurnState): void {
  const { budgets } = turn;
  if (budgets === undefined) return;
  for (const key of Object.keys(budgets.runs).sort()) clearTimer(cx, `budget:${turn.number}:${key}`);
}
