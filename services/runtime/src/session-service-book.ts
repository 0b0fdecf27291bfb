/** The sessions of this instance as others are told of them, those that ended lately included. */
import { create } from "@bufbuild/protobuf";
import { sessionKey } from "@rspp/base/session-key";
import { RecordingLevel } from "@rspp/gen/rspp/common/v1/lane_pb";
import { type SessionInfo, SessionInfoSchema, SessionState } from "@rspp/gen/rspp/runtime/v1/session_pb";
import { limits } from "./limits.ts";
import type { Runtime, RuntimeSession } from "./runtime.ts";

/** Null for the last two where the session is over. */
export interface KnownSession {
  readonly info: SessionInfo;
  readonly live: RuntimeSession | null;
}

export interface SessionBook {
  /** To be told of every session once it is open. */
  opened(session: RuntimeSession): void;
  /** Null also for another tenant's session: they are not told apart. */
  find(tenantId: string, sessionId: string): KnownSession | null;
  /** Live ones of a tenant, newest first. */
  list(tenantId: string): readonly SessionInfo[];
  /** All live ones, and those that ended since they were last asked for here. */
  report(): readonly SessionInfo[];
}

const states: Readonly<Record<string, SessionState>> = {
  connecting: SessionState.CONNECTING,
  active: SessionState.ACTIVE,
  draining: SessionState.DRAINING,
  ended: SessionState.ENDED,
};

const levels = { L0: RecordingLevel.L0, L1: RecordingLevel.L1, L2: RecordingLevel.L2 } as const;

export function sessionInfo(session: RuntimeSession, instanceId: string): SessionInfo {
  const { tenantId, sessionId, graph } = session.config;
  const view = session.view();
  const at = graph.pipelineVersion.lastIndexOf("@");
  const version = Number(graph.pipelineVersion.slice(at + 1));
  return create(SessionInfoSchema, {
    session: { tenantId, sessionId },
    pipeline: { name: graph.pipelineVersion.slice(0, at), version: Number.isInteger(version) ? version : 0 },
    state: states[view.phase] ?? SessionState.ACTIVE,
    reconnecting: view.reconnecting,
    degraded: view.degraded,
    authorityEpoch: BigInt(view.epoch),
    instanceId,
    startedWallMs: BigInt(view.startedWallMs),
    turns: view.turns,
    openTurnNumber: view.openTurn,
    recordingLevel: levels[view.level],
  });
}

export function createSessionBook(runtime: Pick<Runtime, "session" | "sessions">, instanceId: string): SessionBook {
  const ended = new Map<string, SessionInfo>();
  let untold: SessionInfo[] = [];
  const keep = (session: RuntimeSession): void => {
    const info = sessionInfo(session, instanceId);
    const name = sessionKey(session.config);
    ended.delete(name);
    ended.set(name, info);
    untold.push(info);
    if (untold.length > limits.ENDED_SESSIONS_KEPT_MAX) untold.shift();
    const [oldest] = ended.keys();
    if (ended.size > limits.ENDED_SESSIONS_KEPT_MAX && oldest !== undefined) ended.delete(oldest);
  };
  return {
    // What goes on elsewhere has not ended.
    opened: (session) => void session.ended.then(({ reason }) => (reason === "migrated" ? undefined : keep(session))),
    find(tenantId, sessionId) {
      const live = runtime.session({ tenantId, sessionId });
      if (live !== null) return { info: sessionInfo(live, instanceId), live };
      const info = ended.get(sessionKey({ tenantId, sessionId }));
      return info === undefined ? null : { info, live: null };
    },
    list: (tenantId) =>
      runtime
        .sessions()
        .filter(({ config }) => config.tenantId === tenantId)
        .map((session) => sessionInfo(session, instanceId))
        .sort(newestFirst),
    report() {
      const told = [...untold, ...runtime.sessions().map((session) => sessionInfo(session, instanceId))];
      untold = [];
      return told;
    },
  };
}

/** A place in the order of sessions. */
export type SessionPlace = Pick<SessionInfo, "startedWallMs"> & { session?: { sessionId: string } | undefined };

/** By start, then by id, so that the order is one and the same at every look. */
export function newestFirst(a: SessionPlace, b: SessionPlace): number {
  const later = Number(b.startedWallMs - a.startedWallMs);
  if (later !== 0) return later;
  const [left, right] = [a.session?.sessionId ?? "", b.session?.sessionId ?? ""];
  return left < right ? -1 : Number(left > right);
}
