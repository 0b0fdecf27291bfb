/** Resolved plans of the kernel in the contract's form. */
import type { ResolvedTurnPlan, SessionPlan } from "@rspp/gen/rspp/plan/v1/plan_pb";
import type { RuntimeSession } from "./runtime.ts";

export interface PlanMessages {
  readonly sessionPlan?: SessionPlan;
  readonly turnPlan?: ResolvedTurnPlan;
}

export function planMessages(_session: RuntimeSession): PlanMessages {
  return {};
}
