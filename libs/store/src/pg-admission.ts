/** Quotas and rates of a tenant's session starts (F-050, F-098), exact over replicas. */
import { and, eq, sql } from "drizzle-orm";
import type { Tx } from "./database.ts";
import { rateBuckets as b } from "./schema.ts";
import type { RouteAsk, RouteLimits, RouteOutcome } from "./session-store.ts";

type Refused = Extract<RouteOutcome, { kind: "over_limit" }>;
type Starts = NonNullable<RouteLimits["starts"]>;

/** A place of the tenant's may come free at any moment; nobody knows when. */
const concurrentRetryMs = 1_000;
const startsBucket = "session_starts";
const oneToken = 1_000;

export interface Admitted {
  readonly kind: "admitted";
  readonly degraded: boolean;
  /** What is left in the bucket after this start, in thousandths; null: nothing is counted. */
  readonly tokensLeft: number | null;
}

/** In thousandths, filled up to now; the number is without meaning where starts have no limit. */
export async function tokensNow(tx: Tx, ask: RouteAsk): Promise<number> {
  const { starts } = ask.limits;
  return starts === null ? 0 : tokensOf(tx, ask, starts);
}

/** A cheap look without any lock: an empty bucket only fills with time, so that a refusal by it is right. */
export function refusedAtOnce({ limits: { starts } }: RouteAsk, tokens: number): Refused | undefined {
  if (starts === null || starts.over === "degrade" || tokens >= oneToken) return undefined;
  return overStarts(starts, tokens);
}

/** To be decided by what was read under the lock on places, which makes starts of a tenant take turns. */
export function admit({ limits }: RouteAsk, found: { tenantHolds: number; tokens: number }): Admitted | Refused {
  const { concurrent, starts } = limits;
  let degraded = false;
  if (concurrent !== null && found.tenantHolds >= concurrent.max) {
    if (concurrent.over !== "degrade" || found.tenantHolds >= concurrent.hardMax) return overConcurrent(concurrent);
    degraded = true;
  }
  if (starts === null) return { kind: "admitted", degraded, tokensLeft: null };
  if (found.tokens >= oneToken) return { kind: "admitted", degraded, tokensLeft: found.tokens - oneToken };
  if (starts.over !== "degrade") return overStarts(starts, found.tokens);
  return { kind: "admitted", degraded: true, tokensLeft: null };
}

/** Replicas' clocks differ: what one of them filled another does not fill again. */
async function tokensOf(tx: Tx, { session, nowWallMs }: RouteAsk, { perMinute, burst }: Starts): Promise<number> {
  const [row] = await tx
    .select()
    .from(b)
    .where(and(eq(b.tenantId, session.tenantId), eq(b.bucket, startsBucket)));
  const full = burst * oneToken;
  if (row === undefined) return full;
  const filled = (Math.max(0, nowWallMs - row.filledWallMs) * perMinute) / 60;
  return Math.min(full, Math.floor(row.tokensMilli + filled));
}

/** Takes the start from its bucket, once there is a place for it: a start that finds none costs nothing. */
export async function take(tx: Tx, { session, nowWallMs }: RouteAsk, tokensMilli: number): Promise<void> {
  const values = { tenantId: session.tenantId, bucket: startsBucket, tokensMilli, filledWallMs: nowWallMs };
  await tx
    .insert(b)
    .values(values)
    .onConflictDoUpdate({
      target: [b.tenantId, b.bucket],
      set: { tokensMilli, filledWallMs: sql`greatest(${b.filledWallMs}, excluded.filled_wall_ms)` },
    });
}

function overStarts({ perMinute, over }: Starts, tokens: number): Refused {
  const retryAfterMs = Math.ceil(((oneToken - tokens) * 60) / perMinute);
  const refused = over === "throttle" ? over : "reject";
  return { kind: "over_limit", limit: "starts", max: perMinute, over: refused, retryAfterMs };
}

function overConcurrent({ hardMax, over }: NonNullable<RouteLimits["concurrent"]>): Refused {
  const refused = over === "throttle" ? over : "reject";
  return { kind: "over_limit", limit: "concurrent", max: hardMax, over: refused, retryAfterMs: concurrentRetryMs };
}
