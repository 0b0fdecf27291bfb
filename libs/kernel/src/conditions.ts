/**
 * Conditional edges (F-018): an event whose condition does not hold does not travel the edge; `end` marks always do, so that
 * nobody waits for a stream that was never going to come. The evaluator is asked as a pure function, its answer is a fact.
 *
 * A choice is a control event: `route_decision` at an edge's first choice of a turn and whenever the choice flips, not at
 * every event, and so often at most; what is beyond that is counted and told with the next turn's first.
 */
import type { EdgeState } from "./edge-buffer.ts";
import type { EventBody, KernelEvent } from "./event.ts";
import type { EdgeCondition, EdgeDefinition, GraphDefinition } from "./graph.ts";
import type { OutcomeKind } from "./input.ts";
import { ROUTE_DECISIONS_PER_TURN_MAX } from "./limits.ts";
import { CONDITION_EVALUATOR, PREDICATE_FAILED, type PredicateAttributes } from "./pure-functions.ts";
import { findTurn, type GraphRun } from "./state.ts";
import { ask, type StepContext, signal } from "./step-context.ts";

/** What an edge with a condition remembers. */
export interface RouteState {
  taken: boolean;
  /** Latest turn of the session, by which the decisions of session-scoped edges are bounded too. */
  turn: number;
  told: number;
  untold: number;
}

/** Whether `event` may travel. Asked for every event but end marks, told where the choice is another than before. */
export function passesCondition(
  cx: StepContext,
  run: GraphRun,
  edge: EdgeState,
  definition: EdgeDefinition,
  condition: EdgeCondition,
  event: KernelEvent,
): boolean {
  const answer = askCondition(cx, condition.source, run.turn, event);
  const taken = answer === true;
  const turn = cx.s.lastTurn;
  const before = edge.route;
  if (before?.taken === taken && before.turn === turn) return taken;
  const state = before ?? { taken: !taken, turn, told: 0, untold: 0 };
  edge.route = state;
  const flipped = state.taken !== taken;
  if (state.turn !== turn) {
    state.turn = turn;
    state.told = 0;
  }
  state.taken = taken;
  if (!flipped) return taken;
  if (state.told >= ROUTE_DECISIONS_PER_TURN_MAX) {
    state.untold += 1;
    return taken;
  }
  state.told += 1;
  const fields = {
    edge: definition.id,
    taken: taken ? 1 : 0,
    event: event.seq,
    ...(state.untold === 0 ? {} : { untold: state.untold }),
  };
  state.untold = 0;
  const reason = answer === PREDICATE_FAILED ? "condition_failed" : "condition";
  signal(cx, "route_decision", "executor", run.turn, reason, fields, false);
  return taken;
}

/** True, false, or PREDICATE_FAILED. */
export function askCondition(
  cx: StepContext,
  source: string,
  turn: number,
  event: KernelEvent,
): boolean | typeof PREDICATE_FAILED {
  const attributes: PredicateAttributes = {
    event: eventAttributes(event.body),
    vars: cx.s.config.variables,
    turn: { number: turn, origin: turn === 0 ? "" : (findTurn(cx.s, turn)?.origin ?? "") },
    session: { language: cx.s.language ?? String(cx.s.config.variables.language ?? "") },
    providers: providersOf(cx),
  };
  const answer = ask(cx, { fn: "predicate", source, evaluator: CONDITION_EVALUATOR, attributes });
  return typeof answer === "boolean" ? answer : PREDICATE_FAILED;
}

function eventAttributes(body: EventBody): PredicateAttributes["event"] {
  const text = body.type === "text" ? body : null;
  const activity = body.type === "activity" ? body : null;
  const timed = body.type === "audio" || body.type === "activity" ? body : null;
  return {
    type: body.type,
    language: text?.language ?? "",
    confidence: text?.confidence ?? 0,
    chars: text?.chars ?? 0,
    final: text?.final ?? false,
    segment: text?.segment ?? (body.type === "audio" ? body.segment : -1),
    speech: activity?.speech ?? false,
    probability: activity?.probability ?? 0,
    duration_ms: (timed?.durationUs ?? 0) / 1_000,
  };
}

/** Every provider of the graph: healthy until its latest invocation failed, and again when one succeeds. */
function providersOf(cx: StepContext): Record<string, boolean> {
  const out: Record<string, boolean> = {};
  const failed = cx.s.providersFailed;
  for (const node of cx.s.config.graph.nodes)
    for (const { provider } of node.candidates) out[provider] = failed?.includes(provider) !== true;
  return out;
}

/** A cancelled invocation says nothing about its provider. */
export function noteProvider(cx: StepContext, provider: string, outcome: OutcomeKind): void {
  if (cx.s.topology.conditions !== true || outcome === "cancelled") return;
  const known = cx.s.providersFailed ?? [];
  const failed = outcome !== "success";
  if (known.includes(provider) === failed) return;
  cx.s.providersFailed = failed ? [...known, provider] : known.filter((name) => name !== provider);
}

/** Whether any answer of the evaluator decides a route: the plan then names its version. */
export function hasConditions(graph: GraphDefinition): boolean {
  return graph.edges.some((edge) => edge.condition !== undefined) || graph.nodes.some(choosesByCondition);
}

function choosesByCondition({ kind, settings }: GraphDefinition["nodes"][number]): boolean {
  const lines = settings.choose;
  return kind === "select" && Array.isArray(lines) && lines.some((line: string) => /^[^:]*:\s*when\s/.test(line));
}
