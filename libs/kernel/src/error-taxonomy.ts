/**
 * The one taxonomy of errors (F-131): which classes there are, what is done about each by default, in this order, and what is
 * left as evidence. Whatever fails is told by one of them; a pipeline may say more per class (`errors`, `retries`,
 * `fallback`, `degrade`).
 */
import type { OutcomeKind } from "./input.ts";

export const ERROR_ACTIONS = ["reject", "retry", "switch", "degrade", "fallback", "isolate", "abort"] as const;
export type ErrorAction = (typeof ERROR_ACTIONS)[number];

export interface ErrorClassDefinition {
  /** Default actions in order; each is passed over where the pipeline has no such way. */
  actions: readonly ErrorAction[];
  /** What tells of it. */
  evidence: string;
}

const by = (actions: readonly ErrorAction[], evidence: string): ErrorClassDefinition => ({ actions, evidence });

const table = {
  schema_validation_error: by(["reject"], "error effect, dead letter"),
  authority_epoch_mismatch: by(["reject"], "stale_epoch_reject"),
  provider_timeout: by(["retry", "switch", "fallback", "abort"], "provider_error, invocation outcome timeout"),
  provider_overload: by(
    ["retry", "switch", "degrade", "fallback", "abort"],
    "provider_error, invocation outcome overload",
  ),
  provider_failure: by(["retry", "switch", "fallback", "abort"], "provider_error, invocation outcome"),
  budget_exhausted: by(["fallback", "abort"], "budget_warning, budget_exhausted"),
  node_timeout_or_failure: by(["isolate", "fallback", "abort"], "node_error"),
  transport_disconnect_or_stall: by(["abort"], "lifecycle signals of the adapter"),
  recording_evidence_unavailable: by(["abort"], "abort, T9 record"),
  runtime_internal_error: by(["isolate", "abort"], "journaled fault, session end kernel_fault"),
} satisfies Record<string, ErrorClassDefinition>;

export type ErrorClass = keyof typeof table;
export const ERROR_TAXONOMY: Readonly<Record<ErrorClass, ErrorClassDefinition>> = table;
export const ERROR_CLASSES = Object.keys(table) as readonly ErrorClass[];

/** The class of an invocation that did not succeed. */
export function classOfOutcome(outcome: OutcomeKind): ErrorClass {
  if (outcome === "timeout" || outcome === "disconnect") return "provider_timeout";
  return outcome === "overload" ? "provider_overload" : "provider_failure";
}

/** The class of a turn's terminal reason; what nobody named is a defect of the platform. */
export function classOfAbort(reason: string): ErrorClass {
  const found = ERROR_CLASSES.find((name) => name === reason);
  return found ?? "runtime_internal_error";
}
