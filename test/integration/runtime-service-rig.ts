/** Registry, lease service and runtime as services in this process, over sockets, on one embedded database. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { ReceiverKind } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { ServiceFields } from "@rspp/host/common-fields";
import { resolveConfig } from "@rspp/host/config";
import { type Reporter, startReporter } from "@rspp/host/instance-report";
import type { ServiceDefinition } from "@rspp/host/service";
import { type RunningService, startService } from "@rspp/host/start";
import { createSystemClock } from "@rspp/host/system-clock";
import { leaseDefinition } from "@rspp/lease/definition";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import { registryDefinition } from "@rspp/registry/definition";
import { connectRpc, type RpcConnection } from "@rspp/rpc/clients";
import type { Admission, Admitted, ProofVerifier } from "@rspp/runtime/admission";
import { createRuntimeDefinition, type RuntimeDefinitionOptions } from "@rspp/runtime/definition";
import type { Database } from "@rspp/store/database";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { createLoopbackAdapter, type LoopbackAdapter } from "@rspp/transport-loopback/adapter";

export const clock = createSystemClock();
export const tenantId = "acme";

/** The shipped template over simulated providers: it greets, listens and answers. */
export const assistant = (name: string): string => `schema: rspp/pipeline/v1
template: voice-assistant
name: ${name}
version: 1
providers:
  stt: {candidates: [sim/stt]}
  llm: {candidates: [sim/llm], settings: {text: "An answer of some length, so that it can be cut."}}
  tts: {candidates: [sim/tts], settings: {ms_per_char: 20}}
`;

export interface PlatformRig {
  readonly database: TestDatabase;
  readonly registry: RunningService;
  readonly lease: RunningService;
  readonly adapter: Reporter;
  publish(source: string): Promise<void>;
  close(): Promise<void>;
}

export function connectionTo({ ready }: RunningService): RpcConnection {
  return connectRpc({ baseUrl: ready.url, domain: "no-detail", attemptsMax: 1 });
}

export async function start<F extends ServiceFields>(
  definition: ServiceDefinition<F>,
  argv: readonly string[],
  database?: Database,
  log: string[] = [],
): Promise<RunningService> {
  const { service, fields } = definition;
  const port = argv.includes("--port") ? [] : ["--port", "0"];
  const streams = "stream_port" in fields ? ["--stream-port", "0"] : [];
  const config = resolveConfig(fields, { service, argv: [...port, ...streams, ...argv], env: {} });
  if (!config.ok || "help" in config.value) throw new Error(JSON.stringify(config));
  const given = database === undefined ? {} : { database };
  return startService(definition, config.value.values, { env: {}, logTo: (line) => void log.push(line), ...given });
}

export async function platform(): Promise<PlatformRig> {
  const database = await testDatabase();
  const data = ["--data", database.dataDir];
  const [registry, lease] = await Promise.all([
    start(registryDefinition, data, database.db),
    start(leaseDefinition, data, database.db),
  ]);
  const rpc = connectionTo(registry);
  // What routes lead callers to.
  const fixed = {
    instanceId: "adapter-1",
    role: "transport-websocket",
    region: "",
    build: "1",
    capacitySessions: 1_000,
  };
  const endpoints = [{ transport: "websocket", url: "ws://127.0.0.1:9/v1/session", region: "" }];
  const report = () => ({ ...fixed, sessions: 0, draining: false, ready: true, endpoints });
  const adapter = startReporter({ registry: rpc, log: registry.log, report });
  await adapter.first();
  return {
    database,
    registry,
    lease,
    adapter,
    publish: async (source) => {
      await rpc.client(RegistryService).publishPipeline({ tenantId, source: new TextEncoder().encode(source) });
    },
    close: async () => {
      await adapter.stop();
      await Promise.all([registry.stop(0), lease.stop(0)]);
      await database.close();
    },
  };
}

export interface RuntimeRig {
  readonly running: RunningService;
  readonly rpc: RpcConnection;
  readonly admission: Admission;
  readonly proofs: ProofVerifier;
  /** Lines of its log. */
  readonly log: string[];
  close(): Promise<void>;
}

export async function runtimeOf(
  { registry, lease }: Pick<PlatformRig, "registry" | "lease">,
  argv: readonly string[] = [],
  options: RuntimeDefinitionOptions = {},
): Promise<RuntimeRig> {
  const dir = mkdtempSync(join(tmpdir(), "rspp-runtime-"));
  const log: string[] = [];
  let door: { admission: Admission; proofs: ProofVerifier } | null = null;
  const definition = createRuntimeDefinition({
    watchdog: false,
    providers: async () => {
      const providers = [createSimStt({ clock }), createSimLlm({ clock }), createSimTts({ clock })];
      return createProviderGateway({ clock, providers });
    },
    onAdmission: (admission, proofs) => {
      door = { admission, proofs };
    },
    ...options,
  });
  const peers = ["--registry", registry.ready.url, "--lease", lease.ready.url, "--gateway", "", "--silero", "off"];
  const running = await start(definition, ["--data", dir, "--log-level", "debug", ...peers, ...argv], undefined, log);
  if (door === null) throw new Error("no admission");
  // Routes lead to a runtime only once the registry has taken its first report.
  await until(() => running.health.ready, "the runtime to be ready");
  const { admission, proofs } = door as { admission: Admission; proofs: ProofVerifier };
  return {
    running,
    rpc: connectionTo(running),
    admission,
    proofs,
    log,
    close: async () => {
      await running.stop(0);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export interface Route {
  readonly token: string;
  readonly sessionId: string;
  readonly pipelineVersion: string;
  readonly instanceId: string;
}

export interface Ticket extends Route {
  readonly grant: SignedGrant;
  readonly epoch: number;
}

let keys = 0;

export async function routeOf(
  { registry }: Pick<PlatformRig, "registry">,
  pipelineName: string,
  variables: Record<string, string | number | boolean | string[]> = {},
): Promise<Route> {
  keys += 1;
  const ask = { tenantId, pipelineName, idempotencyKey: `route-${keys}`, variables };
  const { route } = await connectionTo(registry).client(RegistryService).createRoute(ask);
  if (route?.session === undefined || route.pipeline === undefined) throw new Error("no route");
  const pipelineVersion = `${route.pipeline.name}@${route.pipeline.version}`;
  return { token: route.token, sessionId: route.session.sessionId, pipelineVersion, instanceId: route.instanceId };
}

export async function ticketOf(
  { registry, lease }: Pick<PlatformRig, "registry" | "lease">,
  { admission }: Pick<RuntimeRig, "admission">,
  pipelineName: string,
  variables: Record<string, string | number | boolean | string[]> = {},
): Promise<Ticket> {
  const route = await routeOf({ registry }, pipelineName, variables);
  const { sessionId } = route;
  const granted = await connectionTo(lease)
    .client(LeaseService)
    .grantLease({
      session: { tenantId, sessionId },
      holderId: admission.instanceId,
      receivers: [
        { receiverId: "adapter-1", kind: ReceiverKind.ADAPTER },
        { receiverId: `${admission.instanceId}/in`, kind: ReceiverKind.RUNTIME_INGRESS },
        { receiverId: `${admission.instanceId}/out`, kind: ReceiverKind.RUNTIME_EGRESS },
      ],
      idempotencyKey: `grant-${sessionId}`,
    });
  if (granted.signed === undefined || granted.lease?.grant === undefined) throw new Error("no grant");
  const epoch = Number(granted.lease.grant.epoch);
  return { ...route, grant: granted.signed, epoch };
}

export interface Call {
  readonly admitted: Admitted;
  readonly line: LoopbackAdapter;
  readonly ticket: Ticket;
}

/** Proofs verified, session opened, caller connected. Throws the refusal. */
export async function call(runtime: RuntimeRig, ticket: Ticket, raised: number[] = []): Promise<Call> {
  const { token, grant, sessionId, pipelineVersion, epoch } = ticket;
  const bound = { tenantId, sessionId, pipelineVersion, epoch };
  const proved = await runtime.proofs.verify({ token, grant, bound });
  if (!proved.ok) throw new Error(JSON.stringify(proved.error));
  const line = createLoopbackAdapter({ clock, epoch });
  const raiseEpoch = (to: number): void => void raised.push(to);
  const admitted = await runtime.admission.open({ ...proved.value, transport: line, raiseEpoch });
  if (!admitted.ok) throw new Error(JSON.stringify(admitted.error));
  line.connect(admitted.value.session);
  return { admitted: admitted.value, line, ticket };
}

export async function until(done: () => boolean | Promise<boolean>, what: string, ms = 10_000): Promise<void> {
  const end = performance.now() + ms;
  while (!(await done())) {
    if (performance.now() > end) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
