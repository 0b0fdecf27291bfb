/**
 * Attempts at a provider share what is left of the turn's time (F-059, `kernel.md` §9): the first has its whole budget, those
 * that follow an equal part each, and one that is asked again waits a moment first, longer each time, so that callers who
 * failed together do not come back together. The jitter is drawn from the session's seed.
 */
import { NS_PER_MS } from "@rspp/base/brand";
import { createStream, nextFloat } from "@rspp/base/random";
import { isOn, RETRIES_WAIT } from "./behaviours.ts";
import { classOfOutcome, ERROR_TAXONOMY } from "./error-taxonomy.ts";
import type { NodeDefinition } from "./graph.ts";
import type { OutcomeKind } from "./input.ts";
import { ATTEMPT_MIN_MS, RETRY_WAIT_MS } from "./limits.ts";
import { findTurn, type InvocationState } from "./state.ts";
import type { StepContext } from "./step-context.ts";

/** Milliseconds until the same candidate is asked again; undefined: it is not. */
export function retryAfterMs(
  cx: StepContext,
  inv: InvocationState,
  { retries = 0 }: NodeDefinition,
  reason: OutcomeKind,
  detail: string,
): number | undefined {
  const retried = inv.retried ?? 0;
  const turn = findTurn(cx.s, inv.turn);
  if (retried >= retries || turn === undefined) return undefined;
  const waits = isOn(cx.s.config.behaviours, RETRIES_WAIT);
  if (!(waits ? mayBeOtherwise(reason, detail) : classOfOutcome(reason) === "provider_timeout")) return undefined;
  const waitMs = waits ? Math.max(backoffMs(cx, inv, retried), asked(detail)) : 0;
  if (turn.anchors.firstOutputNs !== 0) return waitMs;
  const { turnFirstOutputMs, providerAttemptMs } = cx.s.config.budgets;
  const needMs = waitMs + (waits ? Math.min(ATTEMPT_MIN_MS, providerAttemptMs) : providerAttemptMs);
  return (cx.nowNs - turn.anchors.openNs) / NS_PER_MS + needMs <= turnFirstOutputMs ? waitMs : undefined;
}

/**
 * Milliseconds that an attempt has until its first chunk.
 * @param others attempts that may still follow it
 */
export function attemptMs(cx: StepContext, inv: InvocationState, others: number, waitMs: number): number {
  const { turnFirstOutputMs, providerAttemptMs } = cx.s.config.budgets;
  const turn = findTurn(cx.s, inv.turn);
  const whole = inv.attempt === 1 || turn === undefined || turn.anchors.firstOutputNs !== 0;
  if (whole || !isOn(cx.s.config.behaviours, RETRIES_WAIT)) return providerAttemptMs;
  const leftMs = turnFirstOutputMs - (cx.nowNs - turn.anchors.openNs) / NS_PER_MS - waitMs;
  return Math.floor(Math.min(providerAttemptMs, Math.max(ATTEMPT_MIN_MS, leftMs / (1 + others))));
}

/** Whether asking the same again may come to something: not with a key that is refused, nor content. */
function mayBeOtherwise(reason: OutcomeKind, detail: string): boolean {
  if (!ERROR_TAXONOMY[classOfOutcome(reason)].actions.includes("retry")) return false;
  if (reason === "overload") return !/^(quota|circuit_open):/.test(detail);
  if (reason === "error") return /^(HTTP 5\d\d|malformed)/.test(detail);
  return reason !== "unauthorized" && reason !== "safety_block";
}

/** Twice as long each time, of which up to half is left to chance. */
function backoffMs(cx: StepContext, inv: InvocationState, retried: number): number {
  const { seed } = cx.s.config;
  const draw = nextFloat(createStream(seed, cx.s.authority.epoch, `retry/${inv.name}`));
  return Math.round(RETRY_WAIT_MS * 2 ** retried * (0.5 + draw / 2));
}

/** What the provider itself asked for. */
function asked(detail: string): number {
  return Number(/retry after (\d{1,9}) ms/.exec(detail)?.[1] ?? 0);
}
