/** Whether a change of a rollout sends more sessions to newer versions (NF-030): what a rollout freeze holds back. */
import { BUCKETS } from "./decide.ts";
import type { Rollout } from "./rollout.ts";

export type RolloutShares = Pick<Rollout, "stable" | "canary" | "tenants">;

export interface GivesMore {
  /** Empty: everybody who is not listed. */
  readonly tenantId: string;
  readonly version: number;
  /** Of 10,000 sessions so many get this version or a newer one: before, and after. */
  readonly before: number;
  readonly after: number;
}

/**
 * The first to whom `next` gives more of what is new; null when nobody gets a newer version than under `before`. Another
 * salt draws other sessions, not more.
 */
export function givesMore(before: RolloutShares, next: RolloutShares): GivesMore | null {
  const listed = [...Object.keys(before.tenants), ...Object.keys(next.tenants)].sort();
  for (const tenantId of ["", ...new Set(listed)]) {
    const [was, will] = [sharesOf(before, tenantId), sharesOf(next, tenantId)];
    for (const [version] of will) {
      const [from, to] = [atLeast(was, version), atLeast(will, version)];
      if (to > from) return { tenantId, version, before: from, after: to };
    }
  }
  return null;
}

type Shares = readonly (readonly [version: number, share: number])[];

function sharesOf({ stable, canary, tenants }: RolloutShares, tenantId: string): Shares {
  const listed = Object.hasOwn(tenants, tenantId) ? tenants[tenantId] : undefined;
  if (listed !== undefined) return [[listed, BUCKETS]];
  if (canary === null || canary.perTenThousand === 0) return [[stable, BUCKETS]];
  const { version, perTenThousand } = canary;
  return [
    [version, perTenThousand],
    [stable, BUCKETS - perTenThousand],
  ];
}

function atLeast(shares: Shares, version: number): number {
  return shares.reduce((sum, [of, share]) => (of >= version ? sum + share : sum), 0);
}
