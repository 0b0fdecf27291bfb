/**
 * While the error budget is spent, no rollout gives anybody more of what is new (NF-005, NF-030). What lowers or rolls back
 * always passes, and so does everything while nobody knows: Prometheus is no dependency of the registry.
 */
import { type GivesMore, givesMore, type RolloutShares } from "@rspp/spec/rollout/gives-more";
import type { Rollout } from "@rspp/spec/rollout/rollout";
import { PLATFORM_TENANT } from "@rspp/store/active-versions";
import type { ArtifactStore, InForce } from "@rspp/store/artifact-store";
import type { ErrorBudget } from "./error-budget.ts";
import type { SpecFinding } from "./ports.ts";

export interface FrozenRefusal {
  readonly kind: "rollout_frozen";
  readonly pipeline: string;
  readonly ratio: number;
  readonly more: GivesMore;
}

export interface FreezeVerdict {
  readonly refusal?: FrozenRefusal;
  readonly warnings: readonly SpecFinding[];
  /** For the audit entry of what passed in spite of the freeze. */
  readonly audit?: Readonly<Record<string, string | number>>;
}

export interface FreezeAsk {
  readonly tenantId: string;
  readonly next: Rollout;
  /** Why it is to pass all the same; empty: it is not. */
  readonly override: string;
}

export type RolloutFreeze = (ask: FreezeAsk) => Promise<FreezeVerdict>;

export function createRolloutFreeze(
  artifacts: Pick<ArtifactStore, "inForce">,
  budget: ErrorBudget | null,
): RolloutFreeze {
  return async ({ tenantId, next, override }) => {
    if (budget === null) return { warnings: [] };
    const before = sharesInForce(await artifacts.inForce(tenantId, next.name), tenantId, next);
    const more = givesMore(before ?? { stable: next.stable, canary: null, tenants: {} }, next);
    if (more === null) return { warnings: [] };
    const reading = await budget.read();
    if (reading.kind === "unknown") return { warnings: [warning(`the error budget is not known: ${reading.why}`)] };
    const { ratio } = reading;
    if (ratio < 1) return { warnings: [] };
    if (override === "") return { refusal: { kind: "rollout_frozen", pipeline: next.name, ratio, more }, warnings: [] };
    return {
      warnings: [warning(`rollouts are frozen, ${percent(ratio)} of the error budget is spent: overridden`)],
      audit: { freeze_override: override, error_budget_spent: ratio },
    };
  };
}

/** As in {@link givesMore}, in words for people. */
export function moreWords({ tenantId, version, before, after }: GivesMore): string {
  const who = tenantId === "" ? "sessions" : `sessions of ${tenantId}`;
  return `version ${version} or newer for ${after / 100} % of ${who} instead of ${before / 100} %`;
}

export const percent = (ratio: number): string => `${Math.round(ratio * 1_000) / 10} %`;

/** What decides now, as routes have it: the tenant's own rollout or version, else the platform's. */
function sharesInForce(found: readonly InForce[], tenantId: string, { name }: Rollout): RolloutShares | null {
  for (const owner of [tenantId, PLATFORM_TENANT]) {
    const of = (kind: string) => found.find((one) => one.kind === kind && one.tenantId === owner && one.name === name);
    const rollout = of("rollout");
    if (rollout !== undefined)
      return (JSON.parse(new TextDecoder().decode(rollout.content)) as { rollout: Rollout }).rollout;
    const pipeline = of("pipeline");
    if (pipeline !== undefined) return { stable: pipeline.version, canary: null, tenants: {} };
  }
  return null;
}

function warning(message: string): SpecFinding {
  const remedy = "see the registry's slo_url and docs/runbooks.md#error-budget-spent";
  return { severity: "warning", path: "rollout", line: 1, column: 1, message, remedy };
}
