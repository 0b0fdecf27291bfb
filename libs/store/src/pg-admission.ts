/** Quotas and rates of a tenant's session starts (F-050, F-098), exact over replicas. */
import { and, eq, sql } from "drizzle-orm";
import type { Tx } from "./database.ts";
import { rateBuckets as b, sessions as t } from "./schema.ts";
import { holdsPlace } from "./session-rows.ts";
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
  /** Takes the start from its bucket, once there is a place for it: a start that finds none costs nothing. */
  take(tx: Tx): Promise<void>;
}

/** A cheap look without any lock: an empty bucket only fills with time, so that a refusal by it is right. */
export async function refusedAtOnce(tx: Tx, ask: RouteAsk): Promise<Refused | undefined> {
  const { starts } = ask.limits;
  if (starts === null || starts.over === "degrade") return undefined;
  const tokens = await tokensOf(tx, ask, starts);
  return tokens < oneToken ? overStarts(starts, tokens) : undefined;
}

/** To be called under the lock on places, which makes starts of a tenant take turns. */
export async function admit(tx: Tx, ask: RouteAsk): Promise<Admitted | Refused> {
  const { concurrent, starts } = ask.limits;
  let degraded = false;
  if (concurrent !== null) {
    const live = await liveSessions(tx, ask);
    const { max, hardMax, over } = concurrent;
    if (live >= max) {
      if (over !== "degrade" || live >= hardMax) return overConcurrent(concurrent);
      degraded = true;
    }
  }
  if (starts === null) return { kind: "admitted", degraded, take: () => Promise.resolve() };
  const tokens = await tokensOf(tx, ask, starts);
  if (tokens < oneToken) {
    if (starts.over !== "degrade") return overStarts(starts, tokens);
    return { kind: "admitted", degraded: true, take: () => Promise.resolve() };
  }
  return { kind: "admitted", degraded, take: (within) => keep(within, ask, tokens - oneToken) };
}

async function liveSessions(tx: Tx, { session, nowWallMs, instanceFreshMs }: RouteAsk): Promise<number> {
  const mine = and(eq(t.tenantId, session.tenantId), holdsPlace(nowWallMs, instanceFreshMs));
  const [row] = await tx.select({ live: sql<number>`count(*)::integer` }).from(t).where(mine);
  return row?.live ?? 0;
}

/** In thousandths, filled up to now. Replicas' clocks differ: what one of them filled another does not fill again. */
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

async function keep(tx: Tx, { session, nowWallMs }: RouteAsk, tokensMilli: number): Promise<void> {
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
  return {
    kind: "over_limit",
    limit: "starts",
    max: perMinute,
    over: over === "throttle" ? over : "reject",
    retryAfterMs,
  };
}

function overConcurrent({ hardMax, over }: NonNullable<RouteLimits["concurrent"]>): Refused {
  const refused = over === "throttle" ? over : "reject";
  return { kind: "over_limit", limit: "concurrent", max: hardMax, over: refused, retryAfterMs: concurrentRetryMs };
}
