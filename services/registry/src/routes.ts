import { createHash } from "node:crypto";
import { canonicalJson } from "@rspp/base/canonical-json";
import { err, ok, type Result } from "@rspp/base/result";
import { PLATFORM_TENANT } from "@rspp/store/active-versions";
import type { NoInstance, RouteOutcome, SessionRow, SessionStore } from "@rspp/store/session-store";
import type { NewId, TokenSigner, WallClock } from "./ports.ts";
import type { DecideVersion } from "./version-decision.ts";

export interface RouteRequest {
  readonly tenantId: string;
  readonly pipelineName: string;
  /** 0: by rollout, else the one in force. */
  readonly pipelineVersion: number;
  /** Empty: `websocket`. */
  readonly transport: string;
  /** Empty: the registry makes one. */
  readonly sessionId: string;
  /** JSON values by name. */
  readonly variables: Readonly<Record<string, string>>;
  /** Empty: any. */
  readonly region: string;
  readonly requestKey: string;
}

export interface SessionRoute {
  readonly row: SessionRow;
  /** EdDSA; a secret. */
  readonly token: string;
}

export type RouteRefusal =
  | { readonly kind: "pipeline_not_found"; readonly name: string; readonly version: number }
  | { readonly kind: "variables_invalid"; readonly name: string; readonly reason: string }
  | { readonly kind: "key_reused" | "session_exists" | "route_expired" }
  | { readonly kind: "platform_tenant" }
  | { readonly kind: "no_instance"; readonly reason: NoInstance }
  | Extract<RouteOutcome, { kind: "over_limit" }>;

export interface RoutesPorts {
  readonly sessions: SessionStore;
  readonly decide: DecideVersion;
  readonly signer: TokenSigner;
  readonly clock: WallClock;
  readonly newId: NewId;
}

export interface RoutesConfig {
  /** Life of a token, within which the session must be opened; default 300000. */
  readonly tokenMs?: number;
  /** An instance silent for longer takes no sessions; default 15000. */
  readonly instanceFreshMs?: number;
}

/** Admits sessions: pipeline version, quota, runtime with room, token (F-119). StoreErrors go through. */
export type CreateRoute = (request: RouteRequest) => Promise<Result<SessionRoute, RouteRefusal>>;

const tokenMsDefault = 300_000;
export const instanceFreshMsDefault = 15_000;
const variablesMax = 64;
const variableNameCharsMax = 64;
const variableCharsMax = 4_096;

export function createRoutes(ports: RoutesPorts, config: RoutesConfig = {}): CreateRoute {
  const tokenMs = config.tokenMs ?? tokenMsDefault;
  const instanceFreshMs = config.instanceFreshMs ?? instanceFreshMsDefault;
  return async (request) => {
    const bad = badVariable(request.variables);
    if (bad !== undefined) return err({ kind: "variables_invalid", ...bad });
    if (request.tenantId === PLATFORM_TENANT) return err({ kind: "platform_tenant" });
    const sessionId = request.sessionId || ports.newId("ses");
    const decided = await ports.decide({ ...request, sessionId });
    if (decided === undefined) {
      return err({ kind: "pipeline_not_found", name: request.pipelineName, version: request.pipelineVersion });
    }
    const nowWallMs = ports.clock.wallMs();
    const outcome = await ports.sessions.route({
      session: { tenantId: request.tenantId, sessionId },
      ...decided,
      transport: request.transport || "websocket",
      region: request.region,
      tokenId: ports.newId("tok"),
      requestKey: request.requestKey,
      requestDigest: digestOf(request),
      nowWallMs,
      routeExpiresWallMs: nowWallMs + tokenMs,
      instanceFreshMs,
    });
    if (outcome.kind === "no_instance" || outcome.kind === "over_limit") return err(outcome);
    if (outcome.kind !== "routed" && outcome.kind !== "repeated") return err({ kind: outcome.kind });
    const { row } = outcome;
    // A repeat gets a token of the same id and end: it is the same admission, not a second one.
    if (row.routeExpiresWallMs <= nowWallMs) return err({ kind: "route_expired" });
    return ok({ row, token: await ports.signer.sign(claimsOf(row, request.variables)) });
  };
}

function badVariable(variables: RouteRequest["variables"]): { name: string; reason: string } | undefined {
  const entries = Object.entries(variables);
  if (entries.length > variablesMax) return { name: "", reason: `more than ${variablesMax} variables` };
  for (const [name, value] of entries) {
    if (name === "" || name.length > variableNameCharsMax)
      return { name: name.slice(0, 64), reason: "name too long or empty" };
    if (value.length > variableCharsMax) return { name, reason: `longer than ${variableCharsMax} characters` };
    if (!isJson(value)) return { name, reason: "not a JSON value" };
  }
  return undefined;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Tells a repeat from another request under the same key; a hash, since the variables are personal. */
function digestOf(request: RouteRequest): string {
  return createHash("sha256").update(canonicalJson(request)).digest("hex");
}

function claimsOf(row: SessionRow, variables: RouteRequest["variables"]) {
  return {
    ...row.session,
    pipelineVersion: `${row.pipeline.name}@${row.pipeline.version}`,
    instanceId: row.instanceId,
    transport: row.transport,
    issuedWallMs: row.routedWallMs,
    expiresWallMs: row.routeExpiresWallMs,
    tokenId: row.tokenId,
    variables,
    degraded: row.admittedDegraded,
  };
}
