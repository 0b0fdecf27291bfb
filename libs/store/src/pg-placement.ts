/** Where a session is placed (F-094, F-049): one statement, under one lock over all replicas. */
import { type SQL, sql } from "drizzle-orm";
import type { Tx } from "./database.ts";
import { instanceDrains as d, instances as i, sessions as t } from "./schema.ts";
import { holdsPlace } from "./session-rows.ts";
import type { NoInstance } from "./session-store.ts";

export interface PlacementAsk {
  /** Whose session it is. */
  readonly tenantId: string;
  readonly nowWallMs: number;
  readonly instanceFreshMs: number;
  readonly transport: string;
  /** Preferred; empty: any. */
  readonly region: string;
  /** Nowhere else; empty: anywhere. */
  readonly regions: readonly string[];
  readonly avoid: readonly string[];
  /** False: clients stay connected where they are; the runtime needs an address alone. */
  readonly endpoint: boolean;
}

export interface Chosen {
  readonly instanceId: string;
  readonly address: string;
  readonly region: string;
  /** Where clients connect. */
  readonly url: string;
}

export interface Places {
  readonly chosen: Chosen | { readonly reason: NoInstance };
  /** Places that the tenant holds, everywhere. */
  readonly tenantHolds: number;
}

type PlacementRow = {
  readonly [F in keyof Chosen]: Chosen[F] | null;
} & {
  readonly full: boolean;
  readonly allowed: boolean;
  readonly tenantHolds: number;
};

const runtimeRole = "runtime";

/** Routers take turns on the places, or two would fill the same last one. Held until the transaction ends. */
export async function lockPlaces(tx: Tx): Promise<void> {
  await tx.execute(sql`SELECT pg_advisory_xact_lock(92, 92)`);
}

/**
 * A runtime with a free place: the wanted region first, then the least loaded. Clients reach it at its own endpoint for the
 * transport, else at that of adapters, which are chosen in the same way, near the runtime; adapters behind one address
 * count as one. To be called under {@link lockPlaces}.
 */
export async function choose(tx: Tx, ask: PlacementAsk): Promise<Places> {
  const { rows } = await tx.execute<PlacementRow>(placementQuery(ask));
  const [row] = rows;
  const tenantHolds = row?.tenantHolds ?? 0;
  if (row === undefined || row.instanceId === null) return { chosen: { reason: "none_ready" }, tenantHolds };
  if (!row.allowed) return { chosen: { reason: "no_region" }, tenantHolds };
  if (row.full) return { chosen: { reason: "all_full" }, tenantHolds };
  const { instanceId, address, region, url } = row;
  return { chosen: { instanceId, address: address ?? "", region: region ?? "", url: url ?? "" }, tenantHolds };
}

function placementQuery(ask: PlacementAsk): SQL {
  const { nowWallMs: now, transport, region, endpoint } = ask;
  const regions = sql.param([...ask.regions]);
  const reachable = endpoint ? sql`coalesce(r.url, a.url) IS NOT NULL` : sql`r.address <> ''`;
  const noAdapter = endpoint ? sql`r.url IS NULL AND a.held >= a.capacity` : sql`false`;
  return sql`
    WITH held AS MATERIALIZED (
      SELECT ${t.instanceId} AS id, ${t.endpointUrl} AS url, count(*) AS places,
        count(*) FILTER (WHERE ${t.asOfWallMs} = 0) AS unseen,
        count(*) FILTER (WHERE ${t.tenantId} = ${ask.tenantId}) AS mine
      FROM ${t} WHERE ${holdsPlace(now, ask.instanceFreshMs)} GROUP BY 1, 2
    ), open AS (
      SELECT ${i.instanceId} AS id, ${i.role} AS role, ${i.region} AS region, ${i.address} AS address,
        ${i.capacitySessions} AS capacity, ${i.sessions} AS told, ${i.endpoints} ->> ${transport} AS url,
        ${i.suspectUntilWallMs} > ${now} AS suspect
      FROM ${i}
      WHERE ${i.ready} AND NOT ${i.draining} AND ${i.reportedWallMs} >= ${now - ask.instanceFreshMs}
        AND ${i.capacitySessions} > 0 AND ${i.instanceId} <> ALL(${sql.param([...ask.avoid])}::text[])
        AND NOT EXISTS (SELECT FROM ${d} WHERE ${d.instanceId} = ${i.instanceId})
    ), runtimes AS (
      SELECT o.*, coalesce(h.places, 0) AS held,
        cardinality(${regions}::text[]) = 0 OR o.region = ANY(${regions}::text[]) AS allowed
      FROM open o LEFT JOIN (SELECT id, sum(places) AS places FROM held GROUP BY id) h USING (id)
      WHERE o.role = ${runtimeRole}
    ), adapters AS (
      -- What an adapter told, and what is on its way to it; or what is placed through it, where that is more.
      SELECT o.url, o.region, o.capacity, greatest(coalesce(h.places, 0), o.told + coalesce(h.unseen, 0)) AS held
      FROM (
        SELECT url, min(region) AS region, sum(capacity) AS capacity, sum(told) AS told
        FROM open WHERE role <> ${runtimeRole} AND url IS NOT NULL GROUP BY url
      ) o LEFT JOIN (
        SELECT url, sum(places) AS places, sum(unseen) AS unseen FROM held GROUP BY url
      ) h USING (url)
    ), best AS (
      SELECT r.id AS "instanceId", r.address, r.region, coalesce(r.url, a.url, '') AS url, r.allowed,
        r.held >= r.capacity OR coalesce(${noAdapter}, false) AS full
      FROM runtimes r LEFT JOIN LATERAL (
        SELECT * FROM adapters
        ORDER BY adapters.held >= adapters.capacity, adapters.region <> r.region,
          adapters.held::float8 / adapters.capacity, adapters.url
        LIMIT 1
      ) a ON r.url IS NULL AND r.address <> ''
      WHERE ${reachable}
      ORDER BY r.allowed DESC, "full", r.suspect, r.region <> ${region},
        greatest(r.held, r.told)::float8 / r.capacity, r.id
      LIMIT 1
    )
    SELECT q."tenantHolds", best.*
    FROM (SELECT coalesce(sum(mine), 0)::integer AS "tenantHolds" FROM held) q LEFT JOIN best ON true`;
}
