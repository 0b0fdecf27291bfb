import type { SessionKey } from "./state-store.ts";

/** kernel.md §2. */
export type SessionStateName = "connecting" | "active" | "draining" | "ended";

export interface Instance {
  readonly instanceId: string;
  readonly role: string;
  readonly address: string;
  readonly region: string;
  readonly build: string;
  readonly capacitySessions: number;
  readonly sessions: number;
  readonly draining: boolean;
  readonly ready: boolean;
  /** Transport to address, where clients connect. */
  readonly endpoints: Readonly<Record<string, string>>;
  readonly reportedWallMs: number;
}

/** One published version of one tenant; `*` is the platform's. */
export interface ArtifactPointer {
  readonly kind: string;
  readonly tenantId: string;
  readonly name: string;
  readonly version: number;
}

/** Why a session got its version (F-093) and what was in force at that moment (F-102); empty for rows of before. */
export interface SessionDecision {
  readonly source?: "requested" | "tenant_list" | "canary" | "stable" | "active" | "newest";
  /** Whose pipeline it is. */
  readonly ownerTenantId?: string;
  readonly rollout?: ArtifactPointer;
  /** 0 to 9999. */
  readonly bucket?: number;
  readonly inForce?: readonly ArtifactPointer[];
}

/** Where a session runs. */
export interface Placement {
  readonly instanceId: string;
  readonly address: string;
  readonly region: string;
  /** From 1. */
  readonly placementNumber: number;
  readonly predecessorInstanceId: string;
  readonly placedWallMs: number;
}

export interface SessionRow {
  readonly session: SessionKey;
  readonly pipeline: { readonly name: string; readonly version: number; readonly digest: string };
  readonly transport: string;
  readonly instanceId: string;
  readonly endpointUrl: string;
  readonly region: string;
  readonly tokenId: string;
  readonly routedWallMs: number;
  readonly routeExpiresWallMs: number;
  readonly state: SessionStateName;
  readonly reconnecting: boolean;
  readonly degraded: boolean;
  readonly authorityEpoch: number;
  readonly startedWallMs: number;
  readonly turns: number;
  readonly openTurnNumber: number;
  readonly recordingLevel: number;
  /** 0 until its runtime told for the first time. */
  readonly asOfWallMs: number;
  readonly decision: SessionDecision;
  /** Past a soft quota of its tenant (F-050). */
  readonly admittedDegraded: boolean;
  /** Counts its runtimes from 1. */
  readonly placementNumber: number;
  readonly placedWallMs: number;
  /** Empty: none. */
  readonly predecessorInstanceId: string;
  /** Since when its runtime is gone without a successor; 0 it is not. */
  readonly lostSinceWallMs: number;
  readonly endedWallMs: number;
  /** Empty: its runtime told; `unopened`, `lost`: concluded here, and taken back when its runtime tells otherwise. */
  readonly endReason: string;
}

export type OverLimit = "reject" | "throttle" | "degrade";

/** What a tenant may use; `null`: no limit. */
export interface RouteLimits {
  readonly concurrent: { readonly max: number; readonly hardMax: number; readonly over: OverLimit } | null;
  readonly starts: { readonly perMinute: number; readonly burst: number; readonly over: OverLimit } | null;
  /** Sessions run in these alone; empty: anywhere. */
  readonly regions: readonly string[];
}

export interface RouteAsk {
  readonly session: SessionKey;
  readonly pipeline: SessionRow["pipeline"];
  readonly transport: string;
  /** Empty: any. A wanted region is preferred, not insisted on. */
  readonly region: string;
  readonly tokenId: string;
  /** Repeats of a request under its key get the first answer again; `requestDigest` tells a repeat from another request. */
  readonly requestKey: string;
  readonly requestDigest: string;
  readonly nowWallMs: number;
  readonly routeExpiresWallMs: number;
  /**
   * An instance silent for longer takes no new sessions. A place is kept for as long past the end of its route: what was
   * opened at the last moment has been told by then.
   */
  readonly instanceFreshMs: number;
  readonly decision: SessionDecision;
  readonly limits: RouteLimits;
}

/** `no_region`: there is room, but not where the tenant's sessions may run. */
export type NoInstance = "none_ready" | "all_full" | "no_region";

export type RouteOutcome =
  | { readonly kind: "routed" | "repeated"; readonly row: SessionRow }
  | { readonly kind: "key_reused" | "session_exists" }
  | { readonly kind: "no_instance"; readonly reason: NoInstance }
  | {
      readonly kind: "over_limit";
      readonly limit: "concurrent" | "starts";
      readonly max: number;
      readonly over: "reject" | "throttle";
      /** When a repeat may help. */
      readonly retryAfterMs: number;
    };

export type MoveReasonName = "runtime_lost" | "drain" | "migration" | "region_sick";

export interface ReassignAsk {
  readonly session: SessionKey;
  readonly fromInstanceId: string;
  readonly reason: MoveReasonName;
  readonly requestKey: string;
  readonly requestDigest: string;
  readonly actor: string;
  readonly avoidInstanceIds: readonly string[];
  /** Empty: that of the session. */
  readonly region: string;
  readonly regions: readonly string[];
  readonly nowWallMs: number;
  readonly instanceFreshMs: number;
  /** A runtime that was lost is chosen last for this long, until it is known how it is. */
  readonly suspectMs: number;
  /** Of the asker, for the audit. */
  readonly detail: Readonly<Record<string, unknown>>;
}

export type ReassignOutcome =
  | { readonly kind: "placed" | "unchanged"; readonly row: SessionRow; readonly placement: Placement }
  | { readonly kind: "not_found" | "ended" | "key_reused" }
  /** It never ran on the instance it is said to leave. */
  | { readonly kind: "not_there"; readonly instanceId: string }
  | { readonly kind: "no_instance"; readonly reason: NoInstance };

export interface DrainAsk {
  readonly instanceId: string;
  readonly mode: "finish" | "migrate";
  /** 0: no bound. */
  readonly deadlineWallMs: number;
  readonly reason: string;
  readonly actor: string;
  readonly atWallMs: number;
}

/** What an instance is to do. */
export interface InstanceOrders {
  readonly drain: Pick<DrainAsk, "mode" | "deadlineWallMs" | "reason"> | null;
  /** At most 256. */
  readonly migrate: readonly SessionKey[];
}

export interface SweepAsk {
  readonly nowWallMs: number;
  /** An instance that told of itself since then is there. */
  readonly aliveSinceWallMs: number;
  /** See {@link RouteAsk.instanceFreshMs}. */
  readonly reserveGraceMs: number;
  /** False: nobody is told lost, since this registry has not listened for long enough. */
  readonly markLost: boolean;
  /** A lost session counts as ended after. */
  readonly lostEndMs: number;
  /** Ended ones are removed after. */
  readonly keepEndedMs: number;
  /** Tenants whose configuration says otherwise (F-116); `*` for all that are not named. Default none. */
  readonly kept?: readonly SessionsKept[];
}

export interface SessionsKept {
  readonly tenantId: string;
  readonly keepMs: number;
  /** The document and what it asks for: written into the audit log as it is. */
  readonly reason: Readonly<Record<string, string | number>>;
}

export interface SweepOutcome {
  readonly unopened: number;
  readonly lost: number;
  readonly endedLost: number;
  readonly purged: number;
}

/** What a runtime tells of one of its sessions. */
export interface StatusReport
  extends Pick<
    SessionRow,
    | "session"
    | "instanceId"
    | "state"
    | "reconnecting"
    | "degraded"
    | "authorityEpoch"
    | "startedWallMs"
    | "turns"
    | "openTurnNumber"
    | "recordingLevel"
    | "asOfWallMs"
  > {}

export interface SessionPage {
  readonly sessions: readonly SessionRow[];
  readonly next: string | null;
}

/** Routes, session status and the instances that hold sessions. Every call may reject with a StoreError. */
export interface SessionStore {
  /**
   * Chooses the least loaded instance and keeps a place of it. Places taken are counted from the sessions that live and the
   * routes that may still be opened, never from what an instance last told: no instance is ever given one too many (F-049).
   * Exact over replicas.
   */
  route(ask: RouteAsk): Promise<RouteOutcome>;
  /**
   * 0…1000 reports at once, in their order. For each, false when something newer is known (epoch, then instant), the session
   * ended, or is unknown.
   */
  reportMany(statuses: readonly StatusReport[]): Promise<readonly boolean[]>;
  get(session: SessionKey): Promise<SessionRow | undefined>;
  /** Newest first, of one tenant. `limit` 1…1000. */
  list(ask: {
    readonly tenantId: string;
    readonly states?: readonly SessionStateName[];
    readonly limit: number;
    readonly after?: string | null;
  }): Promise<SessionPage>;
  /** Places a live session on another runtime; a repeat under its key gets the first answer. Exact over replicas. */
  reassign(ask: ReassignAsk): Promise<ReassignOutcome>;
  /** Asks the session's runtime to hand it over. @returns that runtime; undefined: no such live session. */
  askMigration(
    session: SessionKey,
    by: { readonly actor: string; readonly atWallMs: number; readonly reason: string },
  ): Promise<string | undefined>;
  /** Undefined: no such instance. */
  drain(ask: DrainAsk): Promise<{ readonly instance: Instance; readonly sessions: number } | undefined>;
  /** False: it was not drained. */
  undrain(instanceId: string, by: { readonly actor: string; readonly atWallMs: number }): Promise<boolean>;
  orders(instanceId: string): Promise<InstanceOrders>;
  /** Ends what was never opened and what was lost long ago, and removes what ended before that. At most 1000 of each. */
  sweepSessions(ask: SweepAsk): Promise<SweepOutcome>;
  /** By tenant, live ones; at most 4096. */
  liveByTenant(nowWallMs: number, reserveGraceMs: number): Promise<ReadonlyMap<string, number>>;
  reportInstance(instance: Instance): Promise<void>;
  /** Takes an instance out of the routes until it tells again; nothing when it told after `reportedWallMs`. */
  loseInstance(instanceId: string, reportedWallMs: number): Promise<void>;
  /** Those that are asked to drain are told as draining. */
  instances(limit: number): Promise<readonly Instance[]>;
  /** @returns how many fell silent before `beforeWallMs` and are gone from the view. */
  forgetInstances(beforeWallMs: number): Promise<number>;
}
