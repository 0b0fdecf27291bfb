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
  /** An instance silent for longer takes no new sessions. */
  readonly instanceFreshMs: number;
}

export type RouteOutcome =
  | { readonly kind: "routed" | "repeated"; readonly row: SessionRow }
  | { readonly kind: "key_reused" | "session_exists" }
  | { readonly kind: "no_instance"; readonly reason: "none_ready" | "all_full" };

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
  /** Chooses the least loaded instance and keeps its place until the route runs out; exact over replicas. */
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
  reportInstance(instance: Instance): Promise<void>;
  /** Takes an instance out of the routes until it tells again; nothing when it told after `reportedWallMs`. */
  loseInstance(instanceId: string, reportedWallMs: number): Promise<void>;
  instances(limit: number): Promise<readonly Instance[]>;
  /** @returns how many fell silent before `beforeWallMs` and are gone from the view. */
  forgetInstances(beforeWallMs: number): Promise<number>;
}
