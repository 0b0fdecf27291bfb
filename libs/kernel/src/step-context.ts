/** What one step carries along: effects so far, causes and proposals found on the way. */

import { type MonoNs, NS_PER_MS, type WallMs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import type { Overrun } from "./budget-state.ts";
import { checkSignal } from "./control-signals.ts";
import type { Effect } from "./effect.ts";
import type { EventBody, KernelEvent } from "./event.ts";
import { laneOf } from "./event.ts";
import type { Shed } from "./local-admission.ts";
import type { Fact, FactAnswer, PureFunctions, TextQuestion } from "./pure-functions.ts";
import { sessionReconnecting } from "./session-lifecycle.ts";
import type { InvocationState, Proposal, SessionState } from "./state.ts";
import type { CauseKind } from "./turn-lifecycle.ts";

export interface TerminalCause {
  kind: CauseKind;
  seq: number;
  turn: number;
  reason: string;
  /** Stamp of the deciding input: anchor `cancel_accepted`. */
  atNs: MonoNs;
  /** Sequence of the deciding input. */
  inputSeq: number;
  scope: "turn" | "session";
}

/** `error`: the original one. False where no fallback may be taken: T10 is left (`fallback.ts`). */
export type Failover = (
  cx: StepContext,
  turn: number,
  node: number,
  inv: InvocationState | null,
  error: string,
) => boolean;

export interface StepContext {
  readonly s: SessionState;
  /** Given by the step, so that what fails need not know what takes over. */
  readonly failover: Failover;
  readonly fns: PureFunctions;
  readonly effects: Effect[];
  readonly facts: Fact[];
  readonly causes: TerminalCause[];
  /** Budgets passed and not yet acted upon. */
  readonly overruns: Overrun[];
  /** Events shed by local admission in this step, and those its nodes were given. */
  readonly sheds: Shed[];
  readonly dispatched: { count: number };
  readonly proposals: Proposal[];
  /** Edges that crossed a watermark with an action beyond themselves (`watermark-actions.ts`). */
  pressured?: { turn: number; edge: number; high: boolean }[];
  /** Instant of the poll. */
  nowNs: MonoNs;
  wallMs: WallMs;
  /** Stamp and sequence of the input being taken in; of the poll during dispatch. */
  atNs: MonoNs;
  inputSeq: number;
}

export function nextSeq(cx: StepContext): number {
  cx.s.seq += 1;
  return cx.s.seq;
}

/** Emits a control event. Emitters, scopes and required fields are checked against the closed set (`kernel.md` §13). */
export function signal(
  cx: StepContext,
  name: string,
  emitter: string,
  turn: number,
  reason = "",
  fields: Readonly<Record<string, string | number>> = NO_FIELDS,
  egress = true,
): void {
  const scope = typeof fields.scope === "string" ? fields.scope : turn === 0 ? "session" : "turn";
  const problem = checkSignal(name, emitter, scope, reason === "" ? fields : { ...fields, reason });
  invariant(problem === null, "a signal obeys the closed set of control signals", { name, emitter, scope, problem });
  const generation = turn === 0 ? 0 : (cx.s.turns.find((t) => t.number === turn)?.generation ?? 0);
  cx.effects.push({
    type: "signal",
    egress,
    event: {
      signal: name,
      emitter,
      seq: nextSeq(cx),
      turn,
      generation,
      epoch: cx.s.authority.epoch,
      monoNs: cx.atNs,
      cause: cx.inputSeq,
      reason,
      fields,
    },
  });
}

const NO_MORE = Object.freeze({});
const NO_FIELDS: Readonly<Record<string, string | number>> = Object.freeze({});

export function makeEvent(
  cx: StepContext,
  turn: number,
  generation: number,
  body: EventBody,
  cause: number,
): KernelEvent {
  return {
    seq: nextSeq(cx),
    lane: laneOf(body.type),
    turn,
    generation,
    utterance: cx.s.prelude.utterance.number,
    monoNs: cx.atNs,
    cause,
    body,
  };
}

/** Where the session stands. */
export function status(cx: StepContext, reason: string): void {
  const { lifecycle, degraded } = cx.s;
  const reconnecting = sessionReconnecting(lifecycle);
  cx.effects.push({ type: "status", phase: lifecycle.phase, reconnecting, degraded, reason });
}

export function ask(cx: StepContext, question: TextQuestion): FactAnswer {
  const answer = cx.fns.answer(question);
  cx.facts.push({ fn: question.fn, answer });
  return answer;
}

export function setTimer(cx: StepContext, id: string, atNs: MonoNs): void {
  if (cx.s.timers[id] === atNs) return;
  cx.s.timers[id] = atNs;
  cx.effects.push({ type: "timer_set", id, atNs });
}

export function setTimerIn(cx: StepContext, id: string, ms: number): void {
  setTimer(cx, id, (cx.nowNs + Math.round(ms * NS_PER_MS)) as MonoNs);
}

export function clearTimer(cx: StepContext, id: string): void {
  if (cx.s.timers[id] === undefined) return;
  delete cx.s.timers[id];
  cx.effects.push({ type: "timer_clear", id });
}

/** `more.atNs`: the deciding stamp, where it is not that of the input being taken in. */
export function cause(
  cx: StepContext,
  kind: CauseKind,
  turn: number,
  reason: string,
  more: { atNs?: MonoNs; scope?: "turn" | "session" } = NO_MORE,
): void {
  const { atNs = cx.atNs, scope = "turn" } = more;
  cx.causes.push({ kind, seq: nextSeq(cx), turn, reason, atNs, inputSeq: cx.inputSeq, scope });
}
