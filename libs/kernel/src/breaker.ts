/**
 * A session's circuit breaker (F-136, F-047): a provider that failed so many times in a row is passed over while another can
 * be asked, and tried again after its pause. Told by provider, code and thresholds alone. Only of pipelines that declare it.
 */
import { NS_PER_MS } from "@rspp/base/brand";
import type { ProviderCandidate } from "./graph.ts";
import type { OutcomeKind } from "./input.ts";
import type { InvocationState } from "./state.ts";
import { type StepContext, signal } from "./step-context.ts";

export interface BreakerDefinition {
  /** Failures in a row that open a circuit. */
  failures: number;
  /** Milliseconds until it is tried again. */
  coolMs: number;
}

export interface CircuitState {
  failures: number;
  /** Instant from which it may be tried; 0 while it is closed. */
  openUntilNs: number;
  /** Being tried. */
  probing: boolean;
}

/** Content that was refused and work that was cut off are not the provider's fault. */
const BLAMELESS: readonly OutcomeKind[] = ["success", "cancelled", "safety_block"];

/** The first candidate from `from` on whose circuit is not open; `from` itself where all are. -1 for none left. */
export function usableFrom(cx: StepContext, candidates: readonly ProviderCandidate[], from: number): number {
  if (from >= candidates.length) return -1;
  if (cx.s.config.graph.breaker === undefined) return from;
  for (let i = from; i < candidates.length; i++) {
    const circuit = cx.s.circuits?.[candidates[i]?.provider ?? ""];
    if (circuit === undefined || circuit.openUntilNs <= cx.nowNs) return i;
  }
  return from;
}

/** An attempt begins at a provider whose pause is over: it is being tried. */
export function circuitTried(cx: StepContext, inv: InvocationState, provider: string): void {
  const circuit = cx.s.circuits?.[provider];
  if (circuit === undefined || circuit.openUntilNs === 0 || circuit.probing) return;
  circuit.probing = true;
  tell(cx, inv, provider, "circuit_half_open", { failures: circuit.failures });
}

export function circuitNoted(cx: StepContext, inv: InvocationState, provider: string, outcome: OutcomeKind): void {
  const { breaker } = cx.s.config.graph;
  if (breaker === undefined || provider === "" || outcome === "cancelled") return;
  cx.s.circuits ??= {};
  const circuit = cx.s.circuits[provider] ?? { failures: 0, openUntilNs: 0, probing: false };
  cx.s.circuits[provider] = circuit;
  if (BLAMELESS.includes(outcome)) {
    const opened = circuit.openUntilNs !== 0;
    cx.s.circuits[provider] = { failures: 0, openUntilNs: 0, probing: false };
    if (opened) tell(cx, inv, provider, "circuit_closed", {});
    return;
  }
  circuit.failures += 1;
  if (circuit.failures < breaker.failures) return;
  circuit.openUntilNs = cx.nowNs + breaker.coolMs * NS_PER_MS;
  circuit.probing = false;
  const { failures } = circuit;
  tell(cx, inv, provider, "circuit_open", {
    code: outcome,
    failures,
    threshold: breaker.failures,
    coolMs: breaker.coolMs,
  });
}

function tell(
  cx: StepContext,
  inv: InvocationState,
  provider: string,
  reason: string,
  more: Record<string, string | number>,
): void {
  signal(cx, "circuit_event", "invocation", inv.turn, reason, { provider, invocation: inv.name, ...more }, false);
}
