import { createHash } from "node:crypto";
import { canonicalJson } from "@rspp/base/canonical-json";
import type {
  Instance,
  SessionRow,
  SessionStateName,
  SessionStore,
  SessionsKept,
  StatusReport,
  SweepOutcome,
} from "@rspp/store/session-store";
import type { SessionKey } from "@rspp/store/state-store";
import type { WallClock } from "./ports.ts";

export interface SessionStatus extends SessionRow {
  /** Its runtime did not tell for too long, or never did while its route was open. */
  readonly stale: boolean;
}

/** The instances at one moment (F-159). */
export interface RoutingView {
  /** Hash of what routing depends on: equal views have equal versions. */
  readonly version: string;
  readonly takenWallMs: number;
  /** Past it a reader refreshes before acting. */
  readonly maxStalenessMs: number;
  readonly instances: readonly Instance[];
}

/** Session status, of one tenant at a time, and the routing view. StoreErrors go through. */
export interface Statuses {
  /** See {@link SessionStore.reportMany}. */
  reportMany(statuses: readonly StatusReport[]): Promise<readonly boolean[]>;
  /** Undefined also for another tenant's session: they are not told apart. */
  get(session: SessionKey): Promise<SessionStatus | undefined>;
  list(ask: {
    readonly tenantId: string;
    readonly states?: readonly SessionStateName[];
    readonly limit: number;
    readonly after?: string | null;
  }): Promise<{ readonly sessions: readonly SessionStatus[]; readonly next: string | null }>;
  /** @returns the instant of the report, for {@link loseInstance}. */
  reportInstance(instance: Omit<Instance, "reportedWallMs">): Promise<number>;
  /** Its connection broke after the report of that instant: no routes to it until it tells again. */
  loseInstance(instanceId: string, reportedWallMs: number): Promise<void>;
  view(): Promise<RoutingView>;
  /** Takes silent instances out of the view, and ends and forgets sessions nobody tells of. To be called now and then. */
  sweep(): Promise<SweepOutcome>;
  /** Live sessions by tenant. */
  liveByTenant(): Promise<ReadonlyMap<string, number>>;
}

export interface StatusesConfig {
  /** Default 15000. */
  readonly statusFreshMs?: number;
  /** Default 15000. */
  readonly viewFreshMs?: number;
  /** A silent instance is forgotten after; default 60000. */
  readonly forgetAfterMs?: number;
  /** As for routes; default 15000. */
  readonly instanceFreshMs?: number;
  /** A session whose runtime is gone counts as ended after; default 300000. */
  readonly lostEndMs?: number;
  /** Ended sessions are forgotten after; default 7 days. */
  readonly keepEndedMs?: number;
  /** What configurations of tenants say of it (F-116); default nothing. */
  readonly kept?: () => Promise<readonly SessionsKept[]>;
}

const instancesMax = 4_096;
const keepEndedMsDefault = 604_800_000;

export function createStatuses(store: SessionStore, clock: WallClock, config: StatusesConfig = {}): Statuses {
  const { statusFreshMs = 15_000, viewFreshMs = 15_000, forgetAfterMs = 60_000 } = config;
  const { instanceFreshMs: reserveGraceMs = 15_000, lostEndMs = 300_000, keepEndedMs = keepEndedMsDefault } = config;
  // Nobody is silent to one who has only begun to listen, e.g. after an outage of the registry itself.
  const listensSinceWallMs = clock.wallMs();
  const statusOf = (row: SessionRow): SessionStatus => {
    const now = clock.wallMs();
    const lastHeard = Math.max(row.asOfWallMs, row.asOfWallMs === 0 ? row.routeExpiresWallMs : 0);
    return { ...row, stale: row.state !== "ended" && now - lastHeard > statusFreshMs };
  };
  return {
    reportMany: (statuses) => store.reportMany(statuses),
    get: async (session) => {
      const row = await store.get(session);
      return row && statusOf(row);
    },
    list: async (ask) => {
      const { sessions, next } = await store.list(ask);
      return { sessions: sessions.map(statusOf), next };
    },
    reportInstance: async (instance) => {
      const reportedWallMs = clock.wallMs();
      await store.reportInstance({ ...instance, reportedWallMs });
      return reportedWallMs;
    },
    loseInstance: (instanceId, reportedWallMs) => store.loseInstance(instanceId, reportedWallMs),
    view: async () => {
      const takenWallMs = clock.wallMs();
      const fresh = (await store.instances(instancesMax)).filter(
        ({ reportedWallMs }) => takenWallMs - reportedWallMs <= forgetAfterMs,
      );
      return { version: versionOf(fresh), takenWallMs, maxStalenessMs: viewFreshMs, instances: fresh };
    },
    sweep: async () => {
      const nowWallMs = clock.wallMs();
      const aliveSinceWallMs = nowWallMs - forgetAfterMs;
      await store.forgetInstances(aliveSinceWallMs);
      const markLost = listensSinceWallMs <= aliveSinceWallMs;
      const kept = (await config.kept?.()) ?? [];
      return store.sweepSessions({
        nowWallMs,
        aliveSinceWallMs,
        reserveGraceMs,
        markLost,
        lostEndMs,
        keepEndedMs,
        kept,
      });
    },
    liveByTenant: () => store.liveByTenant(clock.wallMs(), reserveGraceMs),
  };
}

/** Heartbeats and session counts move all the time and make no new version. */
function versionOf(instances: readonly Instance[]): string {
  const parts = instances.map(({ reportedWallMs: _at, sessions: _load, ...part }) => part);
  return createHash("sha256").update(canonicalJson(parts)).digest("hex").slice(0, 32);
}
