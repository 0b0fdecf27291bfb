/**
 * Turns a minute of one session (F-050), enforced where a turn is proposed: from the rate that the shell has from its snapshot,
 * by the clock of the steps, so that a replay decides alike. What only says a given sentence costs no model and is not counted.
 */
import { type MonoNs, NS_PER_MS } from "@rspp/base/brand";
import { ringPush } from "@rspp/base/ring";
import { stepDown } from "./postures.ts";
import type { Proposal } from "./state.ts";
import { clearTimer, type StepContext, setTimer } from "./step-context.ts";

export interface TurnRate {
  perMinute: number;
  /** At once after a pause, at least 1. */
  burst: number;
  onExceeded: "reject" | "throttle" | "degrade";
  /** Longest wait of a throttled turn, milliseconds. */
  throttleMaxMs: number;
}

export interface TurnRateState {
  rate: TurnRate;
  /** Turns that may open now; a fraction of one is not yet one. */
  tokens: number;
  atNs: MonoNs;
  /** Until then queued proposals wait; 0: none does. */
  waitNs: number;
}

export const RATE_TIMER = "rate";
export const RATE_LIMITED = "rate_limited";
/** The proposal waits in the queue. */
export const RATE_WAITS = "rate_waits";

const NS_PER_MINUTE = 60_000 * NS_PER_MS;

/** The rate in force from now on; a change keeps what was saved up. */
export function setTurnRate(cx: StepContext, rate: TurnRate | null): void {
  const known = cx.s.turnRate;
  if (rate === null) {
    delete cx.s.turnRate;
    clearTimer(cx, RATE_TIMER);
  } else if (known === undefined) {
    cx.s.turnRate = { rate, tokens: rate.burst, atNs: cx.nowNs, waitNs: 0 };
  } else {
    fill(known, cx.nowNs);
    known.rate = rate;
    known.tokens = Math.min(known.tokens, rate.burst);
  }
}

/** Empty: it may open. RATE_LIMITED: it may not. RATE_WAITS: it was put into the queue, and comes again. */
export function overTurnRate(cx: StepContext, proposal: Proposal): "" | typeof RATE_LIMITED | typeof RATE_WAITS {
  const state = cx.s.turnRate;
  if (state === undefined || proposal.say !== null) return "";
  fill(state, cx.nowNs);
  if (state.tokens >= 1) {
    state.tokens -= 1;
    return "";
  }
  const { onExceeded } = state.rate;
  if (onExceeded === "degrade" && (stepDown(cx, 0, RATE_LIMITED) || (cx.s.posture?.level ?? 0) > 0)) return "";
  if (onExceeded === "reject") return RATE_LIMITED;
  return queue(cx, state, proposal) ? RATE_WAITS : RATE_LIMITED;
}

/** Whether what is queued has to wait for its share. */
export function rateWaits(cx: StepContext): boolean {
  return (cx.s.turnRate?.waitNs ?? 0) > cx.nowNs;
}

function queue(cx: StepContext, state: TurnRateState, proposal: Proposal): boolean {
  const needed = 1 - state.tokens + cx.s.proposals.size;
  const waitNs = Math.ceil((needed * NS_PER_MINUTE) / state.rate.perMinute);
  if (waitNs > state.rate.throttleMaxMs * NS_PER_MS || !ringPush(cx.s.proposals, proposal)) return false;
  const firstNs = Math.ceil(((1 - state.tokens) * NS_PER_MINUTE) / state.rate.perMinute);
  state.waitNs = cx.nowNs + firstNs;
  setTimer(cx, RATE_TIMER, state.waitNs as MonoNs);
  cx.effects.push({ type: "telemetry", name: "turn_throttled_ms", value: waitNs / NS_PER_MS, turn: 0, node: "" });
  return true;
}

function fill(state: TurnRateState, nowNs: MonoNs): void {
  const earned = ((nowNs - state.atNs) * state.rate.perMinute) / NS_PER_MINUTE;
  state.tokens = Math.min(state.rate.burst, state.tokens + earned);
  // What rounding leaves out must not keep a turn from its very instant.
  if (state.tokens > 1 - 1e-9 && state.tokens < 1) state.tokens = 1;
  state.atNs = nowNs;
}
