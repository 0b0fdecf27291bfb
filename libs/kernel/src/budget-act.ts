/** What follows a passed budget (`kernel.md` §9): the warning first, then its outcome, each told with the budget left. */
import { NS_PER_MS } from "@rspp/base/brand";
import { limitOf, rearm, softMsOf } from "./budget-meter.ts";
import type { BudgetRun, Overrun, ScopedBudget } from "./budget-state.ts";
import { usedOf } from "./budget-state.ts";
import { cancelInvocation, cutAttempt } from "./invocations.ts";
import { stepDown } from "./postures.ts";
import { findTurn, type InvocationState, type TurnState } from "./state.ts";
import { cause, type StepContext, signal } from "./step-context.ts";

/** The reason of what follows from a budget, also that a canned reply may have a sentence for. */
const EXHAUSTED = "budget_exhausted";

/** Called once the inputs of a step are taken in, and again after dispatch. */
export function actOnBudgets(cx: StepContext): void {
  for (let overrun = cx.overruns.shift(); overrun !== undefined; overrun = cx.overruns.shift()) act(cx, overrun);
}

function act(cx: StepContext, overrun: Overrun): void {
  const turn = findTurn(cx.s, overrun.turn);
  const run = turn?.budgets?.runs[overrun.key];
  const limit = limitOf(cx, overrun.key);
  if (turn?.phase !== "active" || run === undefined || limit === undefined || run.exhausted) return;
  if (isOver(cx, turn, limit)) return;
  const { used, bound, warnAt } = measured(cx, limit, run, overrun);
  if (!run.warned && used >= warnAt) tell(cx, "budget_warning", turn, limit, overrun, Math.max(0, bound - used));
  run.warned = true;
  if (used < bound) return rearm(cx, turn, overrun.key);
  run.exhausted = true;
  run.sinceNs = -1;
  tell(cx, "budget_exhausted", turn, limit, overrun, 0);
  follow(cx, turn, limit, overrun.key);
}

/** A node that has ended, or was replaced, has no budget any more. */
function isOver(cx: StepContext, turn: TurnState, { scope, target }: ScopedBudget): boolean {
  if (scope !== "node" && scope !== "event") return false;
  return turn.run.nodes[cx.s.config.graph.nodes.findIndex(({ id }) => id === target)]?.ended === true;
}

function measured(
  cx: StepContext,
  limit: ScopedBudget,
  run: BudgetRun,
  { unit }: Overrun,
): { used: number; bound: number; warnAt: number } {
  if (unit !== "time") {
    const bound = limit[unit] ?? 0;
    return { used: usedOf(run.use, unit), bound, warnAt: 0 };
  }
  const used = run.sinceNs < 0 ? 0 : (cx.nowNs - run.sinceNs) / NS_PER_MS;
  return { used, bound: limit.hardMs ?? 0, warnAt: softMsOf(limit) };
}

const LEFT = {
  tokens: "budgetTokens",
  audioMs: "budgetAudioMs",
  characters: "budgetCharacters",
  costMicros: "budgetCostMicros",
} as const;

function tell(
  cx: StepContext,
  name: "budget_warning" | "budget_exhausted",
  turn: TurnState,
  limit: ScopedBudget,
  { unit }: Overrun,
  left: number,
): void {
  const whole = Math.round(left);
  const { scope, target } = limit;
  const place = scope === "edge" ? { edge: target } : scope === "turn" || scope === "path" ? {} : { node: target };
  signal(cx, name, "budget", turn.number, name === "budget_warning" ? "budget_low" : EXHAUSTED, {
    budget: limit.id,
    budgetScope: scope,
    unit,
    action: limit.onExhausted,
    ...place,
    budgetLeft: unit === "time" ? whole : 0,
    ...(unit === "time" ? {} : { [LEFT[unit]]: whole }),
  });
}

function follow(cx: StepContext, turn: TurnState, limit: ScopedBudget, key: string): void {
  switch (limit.onExhausted) {
    case "continue":
      return;
    case "degrade":
      return void stepDown(cx, turn.number, EXHAUSTED);
    case "terminate":
      return cause(cx, "budget_terminate", turn.number, EXHAUSTED);
    case "fallback":
      if (!fallBack(cx, turn, limit, key)) cause(cx, "budget_terminate", turn.number, EXHAUSTED);
  }
}

/** F-046: an attempt is cut off at its bound and the next way on tried; whatever else ran out, its node is replaced. */
function fallBack(cx: StepContext, turn: TurnState, limit: ScopedBudget, key: string): boolean {
  const { scope, target } = limit;
  if (scope === "provider_invocation") {
    const inv = cx.s.invocations[key.slice(key.indexOf(".") + 1)];
    if (inv !== undefined && inv.status === "open") cutAttempt(cx, inv, EXHAUSTED);
    return true;
  }
  const { graph } = cx.s.config;
  if (scope === "node" || scope === "event")
    return replace(
      cx,
      turn,
      graph.nodes.findIndex(({ id }) => id === target),
    );
  if (scope !== "edge") return replaceWorking(cx, turn);
  const edge = graph.edges.find(({ id }) => id === target);
  return replace(
    cx,
    turn,
    graph.nodes.findIndex(({ id }) => id === edge?.from.node),
  );
}

/** F-047: the first node that works in the turn and has a fallback makes room for it. */
export function replaceWorking(cx: StepContext, turn: TurnState): boolean {
  for (const index of Object.keys(cx.s.topology.fallbacks ?? {}).map(Number)) {
    const node = turn.run.nodes[index];
    if (node !== null && node !== undefined && node.invocation !== 0 && replace(cx, turn, index)) return true;
  }
  return false;
}

function replace(cx: StepContext, turn: TurnState, index: number): boolean {
  const inv: InvocationState | undefined = cx.s.invocations[turn.run.nodes[index]?.invocation ?? 0];
  if (!cx.failover(cx, turn.number, index, inv ?? null, EXHAUSTED)) return false;
  if (inv !== undefined) cancelInvocation(cx, inv, EXHAUSTED);
  return true;
}
