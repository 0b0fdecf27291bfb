/** A route: version, place and quota, in one transaction. */
import { and, eq, sql } from "drizzle-orm";
import type { Tx } from "./database.ts";
import { type Admitted, admit, refusedAtOnce, take, tokensNow } from "./pg-admission.ts";
import { type Chosen, choose, lockPlaces } from "./pg-placement.ts";
import { sessions as t } from "./schema.ts";
import { rowOf, stateNumbers } from "./session-rows.ts";
import type { RouteAsk, RouteOutcome } from "./session-store.ts";

export async function route(tx: Tx, ask: RouteAsk): Promise<RouteOutcome> {
  const { tenantId } = ask.session;
  await tx.execute(
    sql`SELECT pg_advisory_xact_lock(hashtextextended(${JSON.stringify([tenantId, ask.requestKey])}, 92))`,
  );
  const [before] = await tx
    .select()
    .from(t)
    .where(and(eq(t.tenantId, tenantId), eq(t.requestKey, ask.requestKey)));
  if (before !== undefined) {
    return before.requestDigest === ask.requestDigest
      ? { kind: "repeated", row: rowOf(before) }
      : { kind: "key_reused" };
  }
  // A tenant far over its rate does not make the others wait for the lock.
  const refused = refusedAtOnce(ask, await tokensNow(tx, ask));
  if (refused !== undefined) return refused;
  await lockPlaces(tx);
  // From here to the commit everybody else waits: few and short statements.
  const { limits, nowWallMs, instanceFreshMs, transport, region } = ask;
  const place = { tenantId, nowWallMs, instanceFreshMs, transport, region, regions: limits.regions };
  const { chosen, tenantHolds } = await choose(tx, { ...place, avoid: [], endpoint: true });
  const admitted = admit(ask, { tenantHolds, tokens: await tokensNow(tx, ask) });
  if (admitted.kind !== "admitted") return admitted;
  if ("reason" in chosen) return { kind: "no_instance", reason: chosen.reason };
  return reserve(tx, ask, chosen, admitted);
}

async function reserve(tx: Tx, ask: RouteAsk, chosen: Chosen, admitted: Admitted): Promise<RouteOutcome> {
  const { session, pipeline } = ask;
  const [row] = await tx
    .insert(t)
    .values({
      ...session,
      requestKey: ask.requestKey,
      requestDigest: ask.requestDigest,
      pipelineName: pipeline.name,
      pipelineVersion: pipeline.version,
      pipelineDigest: Buffer.from(pipeline.digest, "hex"),
      transport: ask.transport,
      instanceId: chosen.instanceId,
      endpointUrl: chosen.url,
      region: chosen.region,
      tokenId: ask.tokenId,
      routedWallMs: ask.nowWallMs,
      placedWallMs: ask.nowWallMs,
      routeExpiresWallMs: ask.routeExpiresWallMs,
      state: stateNumbers.connecting,
      decision: ask.decision,
      admittedDegraded: admitted.degraded,
    })
    .onConflictDoNothing({ target: [t.tenantId, t.sessionId] })
    .returning();
  if (row === undefined) return { kind: "session_exists" };
  if (admitted.tokensLeft !== null) await take(tx, ask, admitted.tokensLeft);
  return { kind: "routed", row: rowOf(row) };
}
