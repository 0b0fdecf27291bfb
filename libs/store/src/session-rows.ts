/** Rows of sessions as the ports have them. */
import { and, eq, type SQL, sql } from "drizzle-orm";
import { sessions as t } from "./schema.ts";
import type { SessionRow, SessionStateName } from "./session-store.ts";
import type { SessionKey } from "./state-store.ts";

export const stateNumbers: Readonly<Record<SessionStateName, number>> = {
  connecting: 1,
  active: 2,
  draining: 3,
  ended: 4,
};
const stateNames: readonly SessionStateName[] = ["connecting", "active", "draining", "ended"];

export const ofSession = ({ tenantId, sessionId }: SessionKey) =>
  and(eq(t.tenantId, tenantId), eq(t.sessionId, sessionId));

export function rowOf(row: typeof t.$inferSelect): SessionRow {
  const {
    tenantId,
    sessionId,
    pipelineName,
    pipelineVersion,
    pipelineDigest,
    requestKey: _k,
    requestDigest: _d,
    lostInstances: _l,
    migrateWantedWallMs: _m,
    ...rest
  } = row;
  return {
    ...rest,
    session: { tenantId, sessionId },
    pipeline: { name: pipelineName, version: pipelineVersion, digest: Buffer.from(pipelineDigest).toString("hex") },
    state: stateNames[row.state - 1] ?? "ended",
  };
}

/** Sessions that hold a place: those that live, and routes that may still be opened or have been without our knowing. */
export function holdsPlace(nowWallMs: number, graceMs: number): SQL {
  return sql`${t.state} <> ${stateNumbers.ended} AND NOT (${t.state} = ${stateNumbers.connecting}
    AND ${t.asOfWallMs} = 0 AND ${t.routeExpiresWallMs} <= ${nowWallMs - graceMs})`;
}
