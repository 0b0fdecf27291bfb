import type { Log } from "@rspp/rpc/log";
import type { RpcRoute } from "@rspp/rpc/route";
import type { RpcServerOptions } from "@rspp/rpc/server";
import { type SigningKey, signSessionToken, tokenKeyToJwk } from "@rspp/rpc/tokens";
import type { ActiveDocuments } from "@rspp/store/active-documents";
import type { ArtifactStore } from "@rspp/store/artifact-store";
import type { PipelineStore } from "@rspp/store/pipeline-store";
import type { SessionStore } from "@rspp/store/session-store";
import type { SnapshotStore } from "@rspp/store/snapshot-store";
import type { PublicKeyRow } from "@rspp/store/token-store";
import type { MetricRegistry } from "@rspp/telemetry/metric-registry";
import { createArtifacts } from "./artifacts.ts";
import type { ErrorBudget } from "./error-budget.ts";
import { createFleet, type FleetConfig } from "./fleet.ts";
import { registryRoutes } from "./handlers.ts";
import { measureStarts } from "./metrics.ts";
import type { NewId, WallClock } from "./ports.ts";
import { createRolloutFreeze } from "./rollout-freeze.ts";
import { createRoutes, type RoutesConfig } from "./routes.ts";
import { sessionsKept } from "./sessions-kept.ts";
import { healthReports } from "./snapshots/health-reports.ts";
import { SnapshotHub } from "./snapshots/hub.ts";
import { snapshotContents } from "./snapshots/ports.ts";
import { type SnapshotRoutes, snapshotRoutes } from "./snapshots/snapshot-routes.ts";
import { checkPipelineSource } from "./spec-check.ts";
import { createStatuses, type Statuses, type StatusesConfig } from "./statuses.ts";
import { createTenantConfigs, createVersionDecision } from "./version-decision.ts";
import { createVersions } from "./versions.ts";
import { claimsToWire } from "./wire.ts";

export interface RegistryPorts {
  readonly pipelines: PipelineStore;
  readonly snapshots: SnapshotStore;
  readonly documents: ActiveDocuments;
  readonly log: Pick<Log, "info" | "warn">;
  /** Milliseconds, rising. */
  readonly nowMs: () => number;
  readonly artifacts: ArtifactStore;
  readonly sessions: SessionStore;
  readonly clock: WallClock;
  readonly newId: NewId;
  /** Of session tokens. */
  readonly tokenKeys: TokenKeyRing;
  /** Default: rollouts are never frozen. */
  readonly budget?: ErrorBudget;
  /** Default: nobody measures. */
  readonly metrics?: MetricRegistry;
}

/** What signs now, and every public half that is good. */
export interface TokenKeyRing {
  readonly current: SigningKey;
  list(): Promise<readonly PublicKeyRow[]>;
}

export interface RegistryService {
  readonly routes: readonly RpcRoute[];
  /** `/.well-known/jwks.json`: the keys of tokens for verifiers that speak no RPC. */
  readonly http: NonNullable<RpcServerOptions["http"]>;
  readonly statuses: Statuses;
  readonly snapshots: { readonly hub: SnapshotHub; readonly served: SnapshotRoutes };
  /** To be called now and then. */
  sweep(): Promise<void>;
}

export type RegistryServiceConfig = RoutesConfig & FleetConfig & StatusesConfig;

/** The registry as a library: put its routes on any server. */
export function createRegistryService(ports: RegistryPorts, config: RegistryServiceConfig = {}): RegistryService {
  const { pipelines, artifacts, sessions, clock, newId, tokenKeys, snapshots, log, nowMs } = ports;
  const versions = createVersions({ store: pipelines, clock, check: checkPipelineSource });
  const kept = () => sessionsKept(ports.documents);
  const statuses = createStatuses(sessions, clock, { kept, ...config });
  const signer = {
    sign: (claims: Parameters<typeof claimsToWire>[0]) => signSessionToken(claimsToWire(claims), tokenKeys.current),
  };
  const decide = createVersionDecision({ artifacts, pipelines });
  const createRoute = createRoutes({ sessions, decide, signer, clock, newId }, config);
  const configOf = createTenantConfigs(artifacts);
  const regionsOf = async (tenantId: string) => (await configOf(tenantId)).placement?.regions ?? [];
  const watch = measureStarts(ports.metrics, log);
  const hub = new SnapshotHub({
    store: snapshots,
    contents: snapshotContents(ports, statuses),
    log,
    nowMs,
  });
  const served = snapshotRoutes({ hub, newId });
  const published = async () => (await tokenKeys.list()).map(keyToWire);
  return {
    routes: [
      ...registryRoutes({
        versions,
        createRoute,
        statuses,
        health: healthReports(snapshots, clock),
        artifacts: createArtifacts({
          pipelines,
          artifacts,
          clock,
          freeze: createRolloutFreeze(artifacts, ports.budget ?? null),
        }),
        fleet: createFleet({ sessions, clock, regionsOf }, config),
        configOf,
        clock,
        watch,
        tokenKeys: published,
      }),
      served.route,
    ],
    statuses,
    snapshots: { hub, served },
    sweep: async () => {
      await statuses.sweep();
      watch.sessions(await statuses.liveByTenant());
    },
    http: (request, response) => {
      if (request.method !== "GET" || request.url !== "/.well-known/jwks.json") return false;
      const answer = (status: number, text: string): void => {
        response.statusCode = status;
        response.setHeader("content-type", status === 200 ? "application/jwk-set+json" : "text/plain");
        response.setHeader("cache-control", status === 200 ? "max-age=10" : "no-store");
        response.end(text);
      };
      published().then(
        (keys) => answer(200, JSON.stringify({ keys: keys.map(tokenKeyToJwk) })),
        () => answer(503, "The keys cannot be read: try again soon.\n"),
      );
      return true;
    },
  };
}

function keyToWire({ keyId, publicKey, notAfterWallMs }: PublicKeyRow) {
  return { keyId, publicKey: new Uint8Array(publicKey), notAfterWallMs: BigInt(notAfterWallMs) };
}
