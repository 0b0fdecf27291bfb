/** The registry's calls: request to logic to response; messages are validated before they come here (libs/rpc). */
import { createHash } from "node:crypto";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { ArtifactService } from "@rspp/gen/rspp/registry/v1/artifact_service_pb";
import { FleetService } from "@rspp/gen/rspp/registry/v1/fleet_service_pb";
import { InstanceService, RegistryService, type TokenKey } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { fieldError, overStore } from "@rspp/host/store-failure";
import { actorOf, setAudited } from "@rspp/rpc/caller";
import { rpcError } from "@rspp/rpc/errors";
import { type RpcRoute, route } from "@rspp/rpc/route";
import type { TenantConfig } from "@rspp/spec/tenant/tenant-config";
import { activeKeys, artifactCalls, keyOf, publishedToWire } from "./artifact-handlers.ts";
import type { Artifacts } from "./artifacts.ts";
import type { Fleet } from "./fleet.ts";
import { fleetCalls, ordersToWire } from "./fleet-handlers.ts";
import type { StartsWatch } from "./metrics.ts";
import type { SpecFinding, WallClock } from "./ports.ts";
import { domain, pipelineNotFound, publishError, routeError } from "./refusals.ts";
import { pageOf, sourceOf } from "./requests.ts";
import type { CreateRoute, RouteRequest } from "./routes.ts";
import { schemaSet } from "./schema-set.ts";
import type { HealthReports } from "./snapshots/health-reports.ts";
import { checkPipelineSource, packagesOf } from "./spec-check.ts";
import type { Statuses } from "./statuses.ts";
import type { Versions } from "./versions.ts";
import {
  findingToWire,
  instanceOfWire,
  reportOfWire,
  routeToWire,
  sessionKeyOf,
  stateOfWire,
  statusToWire,
  versionToWire,
  viewToWire,
} from "./wire.ts";

export interface RegistryLogic {
  readonly versions: Versions;
  readonly createRoute: CreateRoute;
  readonly statuses: Statuses;
  /** What gateways say of providers (F-060). */
  readonly health: HealthReports;
  readonly artifacts: Artifacts;
  readonly fleet: Fleet;
  /** What holds for a tenant. */
  readonly configOf: (tenantId: string) => Promise<TenantConfig>;
  readonly clock: WallClock;
  readonly watch: StartsWatch;
  /** Public halves, newest first. */
  readonly tokenKeys: () => Promise<Pick<TokenKey, "keyId" | "publicKey" | "notAfterWallMs">[]>;
}

const reportEveryMs = 1_000;
/** What a server's own stop ends its streams with. */
const grpcUnavailable = 14;

export function registryRoutes(logic: RegistryLogic): readonly RpcRoute[] {
  return [
    route(RegistryService, { ...pipelineCalls(logic), ...sessionCalls(logic) }),
    route(InstanceService, instanceCalls(logic)),
    route(ArtifactService, artifactCalls(logic)),
    route(FleetService, fleetCalls(logic)),
  ];
}

function pipelineCalls({ versions, artifacts }: RegistryLogic) {
  return {
    publishPipeline: (ask, { values }) =>
      overStore(domain, async () => {
        const { tenantId, version, note, validateOnly, keepActive } = ask;
        const text = sourceOf(ask);
        const published = await versions.publish({
          tenantId,
          version,
          note,
          validateOnly,
          keepActive,
          author: actorOf(values, ask.author),
          ...text,
        });
        if (!published.ok) throw publishError(published.error);
        if (published.value.kind === "published") setAudited(values);
        return publishedToWire(published.value);
      }),
    validatePipeline: (ask) => {
      const { source, sourceFormat } = sourceOf(ask);
      const checked = checkPipelineSource(source, `pipeline.${sourceFormat}`);
      if (!checked.ok) return { findings: findingsOf(checked.error) };
      const { warnings, normalised } = checked.value;
      const raised = ask.strict ? warnings.map((finding) => ({ ...finding, severity: "error" as const })) : warnings;
      const valid = !ask.strict || warnings.length === 0;
      const digest = valid ? new Uint8Array(createHash("sha256").update(normalised()).digest()) : new Uint8Array();
      return { findings: findingsOf(raised), digest };
    },
    getPipeline: ({ tenantId, name, version }) =>
      overStore(domain, async () => {
        const found = await versions.get(tenantId, name, version);
        if (found === undefined) throw pipelineNotFound(name, version);
        const { source, sourceFormat } = found;
        const active = await activeKeys(artifacts, found.tenantId, ["pipeline"]);
        const told = versionToWire(found, active.has(keyOf(found)));
        const pinned = Object.entries(packagesOf(found.content)).map(([name, sha256]) => ({ name, sha256 }));
        return { version: told, source: new Uint8Array(source), sourceFormat, nodePackages: pinned };
      }),
    listPipelines: ({ tenantId, name, page }) =>
      overStore(domain, async () => {
        const ask = { tenantId, ...pageOf(page), ...(name === "" ? {} : { name }) };
        const { versions: found, next } = await versions.list(ask);
        const active = await activeKeys(artifacts, tenantId, ["pipeline"]);
        const told = found.map((version) => versionToWire(version, active.has(keyOf(version))));
        return { versions: told, nextPageToken: next ?? "" };
      }),
    getSchema: ({ schemaVersion }) => schemaSet(schemaVersion),
  } satisfies Parameters<typeof route<typeof RegistryService>>[1];
}

function sessionCalls({ createRoute, statuses, tokenKeys, watch }: RegistryLogic) {
  return {
    createRoute: (ask) =>
      overStore(domain, async () => {
        const { tenantId, pipelineName, pipelineVersion, transport, sessionId, region, idempotencyKey } = ask;
        const named = { tenantId, pipelineName, pipelineVersion, transport, sessionId, region };
        const request: RouteRequest = { ...named, variables: jsonOf(ask.variables), requestKey: idempotencyKey };
        const routed = await createRoute(request);
        watch.started(tenantId, routed);
        if (!routed.ok) throw routeError(routed.error);
        return { route: routeToWire(routed.value) };
      }),
    getSessionStatus: ({ session }) =>
      overStore(domain, async () => {
        const found = await statuses.get(sessionKeyOf(session));
        if (found === undefined) {
          throw rpcError(ErrorReason.SESSION_NOT_FOUND, { domain, metadata: { session: session?.sessionId ?? "" } });
        }
        return { status: statusToWire(found) };
      }),
    listSessionStatus: ({ tenantId, states, page }) =>
      overStore(domain, async () => {
        const wanted = states.length === 0 ? {} : { states: states.map(stateOfWire) };
        const { sessions, next } = await statuses.list({ tenantId, ...wanted, ...pageOf(page) });
        return { sessions: sessions.map(statusToWire), nextPageToken: next ?? "" };
      }),
    listTokenKeys: () => overStore(domain, async () => ({ keys: await tokenKeys() })),
  } satisfies Parameters<typeof route<typeof RegistryService>>[1];
}

function instanceCalls({ statuses, health, fleet }: RegistryLogic) {
  return {
    reportInstance: async function* (reports, { signal }) {
      let told = "";
      let last: { readonly instanceId: string; readonly atMs: number } | null = null;
      try {
        for await (const { status, sessions, providerHealth } of reports) {
          if (status === undefined) continue;
          const { instanceId } = status;
          const foreign = sessions.findIndex(({ info }) => info?.instanceId !== instanceId);
          if (foreign >= 0) {
            const field = `sessions[${foreign}].info.instance_id`;
            throw fieldError(domain, { field, rule: "reporter", message: "an instance reports its own sessions" });
          }
          const { view, orders } = await overStore(domain, async () => {
            last = { instanceId, atMs: await statuses.reportInstance(instanceOfWire(status)) };
            await statuses.reportMany(sessions.map((session) => reportOfWire(session, instanceId)));
            await health(instanceId, providerHealth);
            return { view: await statuses.view(), orders: await fleet.orders(instanceId) };
          });
          const changed = view.version === told ? {} : { view: viewToWire(view) };
          told = view.version;
          yield { ...changed, ...ordersToWire(orders), reportEveryMs };
        }
        // It has said what it had to say.
        last = null;
      } finally {
        await lostInstance(statuses, last, signal);
      }
    },
    getRoutingView: ({ knownVersion }) =>
      overStore(domain, async () => {
        const view = await statuses.view();
        return view.version === knownVersion ? {} : { view: viewToWire(view) };
      }),
  } satisfies Parameters<typeof route<typeof InstanceService>>[1];
}

/**
 * A process that was killed or cut off says nothing more, but its connection breaks: no routes lead to it from now on, not
 * only after it has been silent for long. One that lives tells again at once. Nothing is concluded from our own stopping.
 */
async function lostInstance(
  statuses: Statuses,
  last: { readonly instanceId: string; readonly atMs: number } | null,
  signal: AbortSignal,
): Promise<void> {
  const { reason } = signal;
  const stopping = reason instanceof Error && "code" in reason && reason.code === grpcUnavailable;
  if (last === null || stopping) return;
  await statuses.loseInstance(last.instanceId, last.atMs).catch(() => undefined);
}

function findingsOf(findings: readonly SpecFinding[]) {
  return findings.slice(0, 1_024).map(findingToWire);
}

function jsonOf(variables: Readonly<Record<string, unknown>> | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(variables ?? {}).map(([name, value]) => [name, JSON.stringify(value)]));
}
