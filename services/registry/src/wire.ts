/** Between the logic's rows and the contracts' messages. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { FieldViolationSchema } from "@rspp/gen/rspp/common/v1/error_pb";
import { RecordingLevel } from "@rspp/gen/rspp/common/v1/lane_pb";
import type { SessionKey as WireSessionKey } from "@rspp/gen/rspp/common/v1/reference_pb";
import {
  ArtifactKind,
  type ArtifactRefSchema,
  InstanceStatusSchema,
  type PublishedVersionSchema,
  type RoutingViewSchema,
  type SessionRouteSchema,
  type SessionStatusSchema,
  SessionTokenClaimsSchema,
  type VersionDecisionSchema,
  VersionSource,
  type InstanceStatus as WireInstance,
  type SessionStatus as WireStatus,
} from "@rspp/gen/rspp/registry/v1/registry_pb";
import { type FindingSchema, FindingSeverity } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { SessionState } from "@rspp/gen/rspp/runtime/v1/session_pb";
import type { ArtifactKind as ArtifactKindName, VersionInfo } from "@rspp/store/pipeline-store";
import type {
  ArtifactPointer,
  Instance,
  SessionDecision,
  SessionRow,
  SessionStateName,
  StatusReport,
} from "@rspp/store/session-store";
import type { SessionKey } from "@rspp/store/state-store";
import type { SpecFinding, TokenClaims } from "./ports.ts";
import type { SessionRoute } from "./routes.ts";
import type { RoutingView, SessionStatus } from "./statuses.ts";

export function sessionKeyOf(key: WireSessionKey | undefined): SessionKey {
  return { tenantId: key?.tenantId ?? "", sessionId: key?.sessionId ?? "" };
}

const kindNumbers: Readonly<Record<ArtifactKindName, ArtifactKind>> = {
  pipeline: ArtifactKind.PIPELINE,
  profile: ArtifactKind.PROFILE,
  policy: ArtifactKind.POLICY,
  module: ArtifactKind.MODULE,
  rollout: ArtifactKind.ROLLOUT,
  node_package: ArtifactKind.NODE_PACKAGE,
  provider_config: ArtifactKind.PROVIDER_CONFIG,
  tenant_config: ArtifactKind.TENANT_CONFIG,
};

/** Undefined for a kind that this build does not know. */
export function kindOfWire(kind: ArtifactKind): ArtifactKindName | undefined {
  return Object.entries(kindNumbers).find(([, number]) => number === kind)?.[0] as ArtifactKindName | undefined;
}

export function pointerToWire({
  kind,
  tenantId,
  name,
  version,
}: ArtifactPointer): MessageInitShape<typeof ArtifactRefSchema> {
  return { kind: kindNumbers[kind as ArtifactKindName] ?? ArtifactKind.UNSPECIFIED, tenantId, name, version };
}

const sources: Readonly<Record<NonNullable<SessionDecision["source"]>, VersionSource>> = {
  requested: VersionSource.REQUESTED,
  tenant_list: VersionSource.TENANT_LIST,
  canary: VersionSource.CANARY,
  stable: VersionSource.STABLE,
  active: VersionSource.ACTIVE,
  newest: VersionSource.NEWEST,
};

/** Undefined for a session of before decisions were kept. */
function decisionToWire(of: SessionDecision): MessageInitShape<typeof VersionDecisionSchema> | undefined {
  if (of.source === undefined) return undefined;
  return {
    source: sources[of.source],
    ownerTenantId: of.ownerTenantId ?? "",
    ...(of.rollout === undefined ? {} : { rollout: pointerToWire(of.rollout) }),
    bucket: of.bucket ?? 0,
    inForce: (of.inForce ?? []).map(pointerToWire),
  };
}

function decisionOf(row: SessionRow) {
  const decision = decisionToWire(row.decision);
  return decision === undefined ? {} : { decision };
}

export function versionToWire(info: VersionInfo, active = false): MessageInitShape<typeof PublishedVersionSchema> {
  const { name, version, digest, author, publishedWallMs, note, deprecated } = info;
  return {
    kind: kindNumbers[info.kind],
    active,
    name,
    version,
    digest: bytesOf(digest),
    author,
    publishedWallMs: BigInt(publishedWallMs),
    note,
    deprecated,
  };
}

export function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

export function findingToWire(finding: SpecFinding): MessageInitShape<typeof FindingSchema> {
  const severity = finding.severity === "error" ? FindingSeverity.ERROR : FindingSeverity.WARNING;
  return { severity, violation: violationOf(finding), remedy: finding.remedy.slice(0, 512) };
}

export function violationOf({ path, line, column, message, remedy }: SpecFinding) {
  return create(FieldViolationSchema, {
    field: (path || "source").slice(0, 256),
    rule: "pipeline",
    message: `${message}: ${remedy}`.slice(0, 512),
    line,
    column,
  });
}

export function routeToWire({ row, token }: SessionRoute): MessageInitShape<typeof SessionRouteSchema> {
  const { name, version, digest } = row.pipeline;
  return {
    session: row.session,
    pipeline: { name, version, digest: bytesOf(digest) },
    endpoint: { transport: row.transport, url: row.endpointUrl, region: row.region },
    token,
    expiresWallMs: BigInt(row.routeExpiresWallMs),
    instanceId: row.instanceId,
    degraded: row.admittedDegraded,
    ...decisionOf(row),
  };
}

export function claimsToWire({ issuedWallMs, expiresWallMs, ...claims }: TokenClaims) {
  return create(SessionTokenClaimsSchema, {
    ...claims,
    issuedWallMs: BigInt(issuedWallMs),
    expiresWallMs: BigInt(expiresWallMs),
  });
}

const stateNumbers: Readonly<Record<SessionStateName, SessionState>> = {
  connecting: SessionState.CONNECTING,
  active: SessionState.ACTIVE,
  draining: SessionState.DRAINING,
  ended: SessionState.ENDED,
};

export function stateOfWire(state: SessionState): SessionStateName {
  const found = Object.entries(stateNumbers).find(([, number]) => number === state);
  return found === undefined ? "ended" : (found[0] as SessionStateName);
}

export function statusToWire(status: SessionStatus): MessageInitShape<typeof SessionStatusSchema> {
  const { session, pipeline, state, reconnecting, degraded, instanceId, turns, openTurnNumber } = status;
  return {
    info: {
      session,
      pipeline: { name: pipeline.name, version: pipeline.version, digest: bytesOf(pipeline.digest) },
      state: stateNumbers[state],
      reconnecting,
      degraded,
      authorityEpoch: BigInt(status.authorityEpoch),
      instanceId,
      startedWallMs: BigInt(status.startedWallMs),
      turns,
      openTurnNumber,
      recordingLevel: recordingLevelOf(status),
    },
    asOfWallMs: BigInt(status.asOfWallMs),
    stale: status.stale,
    lostSinceWallMs: BigInt(status.lostSinceWallMs),
    placementNumber: status.placementNumber,
    endReason: status.endReason,
    ...decisionOf(status),
  };
}

function recordingLevelOf({ recordingLevel }: SessionRow): RecordingLevel {
  return recordingLevel in RecordingLevel ? recordingLevel : RecordingLevel.UNSPECIFIED;
}

export function reportOfWire({ info, asOfWallMs }: WireStatus, instanceId: string): StatusReport {
  return {
    session: sessionKeyOf(info?.session),
    instanceId,
    state: stateOfWire(info?.state ?? SessionState.ENDED),
    reconnecting: info?.reconnecting ?? false,
    degraded: info?.degraded ?? false,
    authorityEpoch: Number(info?.authorityEpoch ?? 0),
    startedWallMs: Number(info?.startedWallMs ?? 0),
    turns: info?.turns ?? 0,
    openTurnNumber: info?.openTurnNumber ?? 0,
    recordingLevel: info?.recordingLevel ?? 0,
    asOfWallMs: Number(asOfWallMs),
  };
}

export function instanceOfWire(status: WireInstance): Omit<Instance, "reportedWallMs"> {
  const { instanceId, role, address, region, build, capacitySessions, sessions, draining, ready } = status;
  const endpoints = Object.fromEntries(status.endpoints.map(({ transport, url }) => [transport, url]));
  return { instanceId, role, address, region, build, capacitySessions, sessions, draining, ready, endpoints };
}

export function viewToWire(view: RoutingView): MessageInitShape<typeof RoutingViewSchema> {
  const { version, takenWallMs, maxStalenessMs } = view;
  return { version, takenWallMs: BigInt(takenWallMs), maxStalenessMs, instances: view.instances.map(instanceToWire) };
}

export function instanceToWire({ reportedWallMs: _at, endpoints, ...rest }: Instance): WireInstance {
  return create(InstanceStatusSchema, {
    ...rest,
    endpoints: Object.entries(endpoints).map(([transport, url]) => ({ transport, url, region: rest.region })),
  });
}
