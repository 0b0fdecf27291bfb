/** Moves of live sessions and drains of instances (F-096, F-106). */
import { createHash } from "node:crypto";
import { canonicalJson } from "@rspp/base/canonical-json";
import type { DrainAsk, MoveReasonName, ReassignAsk, ReassignOutcome, SessionStore } from "@rspp/store/session-store";
import type { SessionKey } from "@rspp/store/state-store";
import type { WallClock } from "./ports.ts";

export interface MoveRequest {
  readonly session: SessionKey;
  readonly fromInstanceId: string;
  readonly reason: MoveReasonName;
  readonly requestKey: string;
  readonly actor: string;
  readonly avoidInstanceIds: readonly string[];
  readonly region: string;
  /** As last seen at the asker; for the audit. */
  readonly authorityEpoch: number;
  readonly openTurnNumber: number;
  readonly lastTurnNumber: number;
}

export interface Fleet {
  reassign(request: MoveRequest): Promise<ReassignOutcome>;
  migrate(session: SessionKey, actor: string, reason: string): Promise<string | undefined>;
  /** @param ask.deadlineMs 0: no bound. */
  drain(
    ask: Pick<DrainAsk, "instanceId" | "mode" | "reason" | "actor"> & { readonly deadlineMs: number },
  ): ReturnType<SessionStore["drain"]>;
  undrain(instanceId: string, actor: string): Promise<boolean>;
  orders: SessionStore["orders"];
}

export interface FleetPorts {
  readonly sessions: SessionStore;
  readonly clock: WallClock;
  /** Where a tenant's sessions may run; empty: anywhere. */
  regionsOf(tenantId: string): Promise<readonly string[]>;
}

export interface FleetConfig {
  /** Default 15000. */
  readonly instanceFreshMs?: number;
  /** A runtime that was lost is chosen last for this long; default 10000. */
  readonly suspectMs?: number;
}

export function createFleet({ sessions, clock, regionsOf }: FleetPorts, config: FleetConfig = {}): Fleet {
  const { instanceFreshMs = 15_000, suspectMs = 10_000 } = config;
  return {
    reassign: async (request) => {
      const { session, fromInstanceId, reason, requestKey, actor, avoidInstanceIds, region } = request;
      const { authorityEpoch, openTurnNumber, lastTurnNumber } = request;
      const ask: ReassignAsk = {
        session,
        fromInstanceId,
        reason,
        requestKey,
        actor,
        avoidInstanceIds,
        region,
        regions: await regionsOf(session.tenantId),
        requestDigest: digestOf(request),
        nowWallMs: clock.wallMs(),
        instanceFreshMs,
        suspectMs,
        detail: { epoch: authorityEpoch, open_turn: openTurnNumber, last_turn: lastTurnNumber },
      };
      return sessions.reassign(ask);
    },
    migrate: (session, actor, reason) => sessions.askMigration(session, { actor, atWallMs: clock.wallMs(), reason }),
    drain: ({ deadlineMs, ...ask }) => {
      const atWallMs = clock.wallMs();
      return sessions.drain({ ...ask, atWallMs, deadlineWallMs: deadlineMs === 0 ? 0 : atWallMs + deadlineMs });
    },
    undrain: (instanceId, actor) => sessions.undrain(instanceId, { actor, atWallMs: clock.wallMs() }),
    orders: (instanceId) => sessions.orders(instanceId),
  };
}

/** What makes two requests the same under one key; what was seen meanwhile does not. */
function digestOf({ session, fromInstanceId, reason }: MoveRequest): string {
  return createHash("sha256")
    .update(canonicalJson({ ...session, fromInstanceId, reason }))
    .digest("hex");
}
