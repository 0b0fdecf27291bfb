/** The runtime as a service: its shell over real ports, its door for sessions, and how it is seen. */
import { join } from "node:path";
import { ok, type Result } from "@rspp/base/result";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { DrainMode, type DrainOrder, InstanceService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { dialAddress } from "@rspp/host/address";
import type { Bound, PlainService, ServiceContext, StartedService } from "@rspp/host/service";
import { createSystemClock } from "@rspp/host/system-clock";
import type { Clock } from "@rspp/ports/clock";
import type { NodeHostPort } from "@rspp/ports/node-host";
import type { ProviderPort } from "@rspp/ports/provider";
import { acceptLinkSessions } from "@rspp/remote/link-accept";
import type { LinkSessions } from "@rspp/remote/link-session-types";
import type { RpcConnection } from "@rspp/rpc/clients";
import { rpcError } from "@rspp/rpc/errors";
import { createLinkServer, type LinkServer } from "@rspp/rpc/link-server";
import { openAiCandidate } from "@rspp/spec/bind-providers";
import type { Admission, AdmissionHook, ProofVerifier } from "./admission.ts";
import { createAdmission } from "./admission-open.ts";
import { createProofVerifier } from "./admission-proofs.ts";
import { type RuntimeConfig, runtimeFields } from "./config.ts";
import { type OwnProviders, openProviders } from "./definition-providers.ts";
import { createStatePort, type StatePort } from "./durable/store.ts";
import type { Exporter } from "./export/types.ts";
import { type InstanceReporting, startInstanceReport } from "./instance-report.ts";
import type { ConfigLayers } from "./layers.ts";
import { createLeaseKeeper, type LeaseKeeper } from "./lease-keeper.ts";
import { limits } from "./limits.ts";
import { linkOpenHandler } from "./link-sessions.ts";
import { measureLinks } from "./metrics-links.ts";
import { Migrations } from "./migrations.ts";
import { catalogueOf, foldersOf, openNodeHosts } from "./nodes/open-hosts.ts";
import { openControlSnapshots, type RunningSnapshots } from "./open-snapshots.ts";
import { createPipelines } from "./pipelines.ts";
import { createRuntime, type Runtime } from "./runtime.ts";
import { sessionRoute } from "./session-service.ts";
import { createSessionBook, type SessionBook } from "./session-service-book.ts";
import { openNodeStore } from "./spool/node-store.ts";
import { createSpool, type Spool } from "./spool/spool.ts";
import { pause } from "./stream-loop.ts";
import { createVadHost } from "./vad/vad.ts";
import { startWatchdog, type Watchdog } from "./watchdog.ts";

export interface RuntimeDefinitionOptions {
  /** Providers within this process, in place of a gateway; closed with the runtime. Asked for at each start. */
  readonly providers?: OwnProviders;
  /** Given the door for sessions as soon as it is there: for an adapter in the same process. */
  readonly onAdmission?: AdmissionHook;
  /** Default true: a process whose event loop hangs is ended (kernel.md §1). */
  readonly watchdog?: boolean;
}

const service = "runtime";
const NO_LAYERS: ConfigLayers = { of: () => [] };

async function readLayers({ layers, environment }: RuntimeConfig): Promise<Result<ConfigLayers, string>> {
  const { loadLayers } = await import("./layers.ts");
  return loadLayers(layers, environment);
}

interface Closing {
  close(): Promise<void>;
}

export function createRuntimeDefinition(options: RuntimeDefinitionOptions = {}): PlainService<typeof runtimeFields> {
  return {
    service,
    fields: runtimeFields,
    database: false,
    start: async (values, context) => {
      const parts = await openParts(values, context, options);
      const running = new RuntimeService(values, context, parts);
      options.onAdmission?.(running.admission, running.proofs);
      return running.started();
    },
  };
}

interface Parts {
  readonly clock: Clock;
  readonly registry: RpcConnection;
  readonly lease: RpcConnection;
  readonly state: StatePort;
  readonly providers: ProviderPort;
  readonly spool: Spool;
  readonly runtime: Runtime;
  readonly exporter: Exporter | null;
  readonly layers: ConfigLayers;
  /** Null: no custom nodes run here. */
  readonly nodes: NodeHostPort | null;
  readonly watchdog: LateWatchdog;
}

interface LateWatchdog {
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Its thread starts once the process is ready, for which it would only be in the way; before, whoever started it waits for it. */
function createWatchdog(wanted: boolean): LateWatchdog {
  let watchdog: Watchdog | null = null;
  let stopped = !wanted;
  return {
    start: async () => {
      if (!stopped) watchdog = startWatchdog();
    },
    stop: async () => {
      stopped = true;
      await watchdog?.stop();
    },
  };
}

async function openParts(
  values: RuntimeConfig,
  context: ServiceContext,
  options: RuntimeDefinitionOptions,
): Promise<Parts> {
  const { log, instanceId, build } = context;
  const clock = createSystemClock();
  const layers = values.layers === "" ? ok(NO_LAYERS) : await readLayers(values);
  if (!layers.ok) throw configError("layers", layers.error, "Mend the layers, or leave the key out.");
  const opened = openNodeStore(join(values.data, "spool"));
  if (!opened.ok) throw configError("data", opened.error.detail, "Name another folder, or free this one.");
  const store = opened.value;
  let exporter: Exporter | null = null;
  const exported = () => exporter?.stats() ?? { fill: 0, lagMs: 0 };
  const spool = createSpool({ store, clock, exportMeasure: exported });
  const undo: (() => Promise<unknown>)[] = [() => spool.close()];
  try {
    const registry = context.connect("registry", values.registry);
    const lease = context.connect("lease", values.lease);
    const [providers, vad] = await bothOpen(
      openProviders({ values, context, clock, registry, own: options.providers }),
      createVadHost({ silero: values.silero === "off" ? "off" : "auto", clock }),
      undo,
    );
    const nodes = await openNodeHosts(foldersOf(values.node_packages)).catch((failure: Error) => {
      throw configError("node_packages", failure.message, "Mend the package, or take its folder out of the list.");
    });
    if (nodes !== null) undo.push(() => nodes.close());
    if (values.replay !== "") {
      const { startExporter } = await import("./export/exporter.ts");
      const connection = context.connect("replay", values.replay);
      const started = startExporter({ spool, store, connection, clock, log, instanceId, build });
      undo.push(() => started.stop());
      exporter = started;
    }
    const maxSessions = values.capacity_sessions;
    const { telemetry } = context;
    const more = { logger: log, maxSessions, telemetry, ...(nodes === null ? {} : { nodes }) };
    const state = createStatePort(lease);
    const runtime = createRuntime({ clock, providers, vad, spool, state, ...more });
    return {
      clock,
      registry,
      lease,
      state,
      providers,
      spool,
      runtime,
      exporter,
      layers: layers.value,
      nodes,
      watchdog: createWatchdog(options.watchdog !== false),
    };
  } catch (failure) {
    // What fails to close hides nothing of why it could not start.
    for (const end of undo.reverse()) await end().catch(() => undefined);
    throw failure;
  }
}

/** Waits for both, so that one is not opened after the other's failure was told. */
async function bothOpen<A extends Closing, B extends Closing>(
  first: Promise<A>,
  second: Promise<B>,
  undo: (() => Promise<unknown>)[],
): Promise<[A, B]> {
  for (const end of await Promise.allSettled([first, second])) {
    if (end.status === "fulfilled") undo.push(() => end.value.close());
  }
  return Promise.all([first, second]);
}

function configError(field: string, message: string, remedy: string): Error {
  const violations = [{ field, rule: "usable", message }];
  return rpcError(ErrorReason.CONFIG_INVALID, { domain: service, violations, remedy });
}

class RuntimeService {
  readonly admission: Admission;
  readonly proofs: ProofVerifier;
  readonly #values: RuntimeConfig;
  readonly #context: ServiceContext;
  readonly #parts: Parts;
  readonly #book: SessionBook;
  readonly #leases: LeaseKeeper;
  readonly #migrations: Migrations;
  readonly #linked: LinkSessions;
  readonly #links: LinkServer;
  readonly #snapshots: RunningSnapshots;
  #reporting: InstanceReporting | null = null;
  #stopping = false;
  /** The registry asked for it. */
  #drained = false;

  constructor(values: RuntimeConfig, context: ServiceContext, parts: Parts) {
    this.#values = values;
    this.#context = context;
    this.#parts = parts;
    const { log: logger, instanceId, build } = context;
    const { clock, registry, lease, runtime, providers } = parts;
    this.#book = createSessionBook(runtime, instanceId);
    this.#migrations = new Migrations(clock, logger);
    this.#leases = createLeaseKeeper({ lease, clock, logger, instanceId });
    this.proofs = createProofVerifier({ registry, lease, clock });
    this.#snapshots = openControlSnapshots(values, context, { clock, registry, providers });
    this.admission = createAdmission({
      instanceId,
      runtime,
      policies: this.#snapshots.policies,
      pipelines: createPipelines({ registry, layers: parts.layers, ...catalogueOf(parts.nodes) }),
      undeclaredVariables: values.session_variables === "strict" ? "strict" : "relaxed",
      providers,
      leases: this.#leases,
      state: parts.state,
      clock,
      logger,
      llm: openAi(context),
      capacity: values.capacity_sessions,
      draining: () => this.#draining(),
      over: (tenantId, sessionId) => this.#book.find(tenantId, sessionId)?.live === null,
      onOpened: (session, request) => {
        this.#book.opened(session);
        this.#migrations.opened(session, request);
      },
    });
    this.#linked = acceptLinkSessions({
      onOpen: linkOpenHandler(this.admission, this.proofs),
      clock,
      onRefused: ({ tenant, session, peer }, { reason, metadata }) => {
        const where = { tenant_id: tenant, session_id: session, adapter: peer.peerId };
        logger.info({ ...where, reason: ErrorReason[reason], metadata }, "link session refused");
      },
    });
    measureLinks(
      context.telemetry.metrics,
      () => this.#linked.stats(),
      () => this.#links.links().length,
    );
    const { onLink } = this.#linked;
    this.#links = createLinkServer({ domain: service, peerId: instanceId, build, onLink });
  }

  started(): StartedService {
    return {
      routes: [sessionRoute({ book: this.#book, clock: this.#parts.clock, migrations: this.#migrations })],
      streams: [this.#links.service],
      loadLater: [this.#parts.watchdog.start, () => import("./pipeline-build.ts"), () => import("@rspp/spec/cel")],
      bound: async (_api, streams) => this.#bound(streams),
      drain: (graceMs) => this.#drain(graceMs),
      close: () => this.#close(),
    };
  }

  #draining(): boolean {
    return this.#stopping || this.#drained;
  }

  #bound(streams: Bound | null): Record<string, string> {
    const { advertise_address, region, capacity_sessions: capacitySessions } = this.#values;
    const { instanceId, build, log: logger, dependency } = this.#context;
    const { clock, registry, runtime } = this.#parts;
    const address = advertise_address || (streams === null ? "" : dialAddress(streams));
    dependency("registry", false);
    this.#reporting = startInstanceReport({
      registry,
      clock,
      logger,
      book: this.#book,
      status: () => ({
        instanceId,
        role: service,
        address,
        region,
        build,
        capacitySessions,
        sessions: runtime.sessions().length,
        draining: this.#draining(),
        ready: !this.#draining(),
        // For clients that hold a link of their own; they are their own adapter.
        endpoints: [{ transport: "link", url: `grpc://${address}`, region }],
      }),
      onDrain: (drain, order) => this.#onDrain(drain, order),
      onMigrate: (sessions) => {
        const ask = { reason: "migration", target: "", deadlineMs: limits.HANDOVER_DEADLINE_MS } as const;
        for (const name of sessions) void this.#migrations.begin(name, ask);
      },
      onReachable: (there) => dependency("registry", there),
    });
    return { links: address };
  }

  #onDrain(drain: boolean, order: DrainOrder | null): void {
    if (drain === this.#drained) return;
    this.#drained = drain;
    if (drain && order?.mode === DrainMode.MIGRATE)
      void this.#migrations.all({ reason: "draining", target: "", deadlineMs: limits.HANDOVER_DEADLINE_MS });
    const words = drain ? "registry asks: no new sessions" : "registry asks: new sessions again";
    this.#context.log.info({ drain }, words);
    this.#reporting?.now();
  }

  /** Sessions end their open turn and then themselves, or are ended at the deadline; the last of the timeline goes out. */
  async #drain(graceMs: number): Promise<boolean> {
    this.#stopping = true;
    this.#reporting?.now();
    const { clock, runtime, exporter } = this.#parts;
    const endNs = clock.nowNs() + graceMs * 1e6;
    for (const end of this.#links.links()) end.goAway(Reason.DRAINING, graceMs);
    if (this.#values.drain_policy === "migrate" && (await this.#othersReady())) {
      const turnMs = Math.max(0, (graceMs - limits.DRAIN_FINISH_MS - limits.HANDOVER_TAKEN_MS) / 2);
      const deadlineMs = Math.min(limits.HANDOVER_DEADLINE_MS, turnMs);
      await this.#migrations.all({ reason: "draining", target: "", deadlineMs });
    }
    const cut = await runtime.drain(Math.max(0, (endNs - clock.nowNs()) / 1e6));
    const leftMs = Math.min(limits.EXPORT_LAST_MS, Math.max(0, (endNs - clock.nowNs()) / 1e6));
    const late = new AbortController();
    await Promise.race([exporter?.idle(), pause(clock, leftMs, late.signal)]);
    late.abort();
    return cut === 0;
  }

  /** Whether calls can go on anywhere else, as far as the registry says. */
  async #othersReady(): Promise<boolean> {
    const { registry, runtime } = this.#parts;
    if (runtime.sessions().length === 0) return false;
    try {
      const { view } = await registry.client(InstanceService).getRoutingView({}, { timeoutMs: limits.DRAIN_ASK_MS });
      const { instanceId } = this.#context;
      const others = (view?.instances ?? []).filter((it) => it.role === service && it.instanceId !== instanceId);
      return others.some(({ ready, draining }) => ready && !draining);
    } catch {
      return false;
    }
  }

  async #close(): Promise<void> {
    this.#stopping = true;
    this.#linked.close("draining");
    const { runtime, spool, exporter, nodes, watchdog } = this.#parts;
    await runtime.close();
    await nodes?.close();
    await this.#leases.close();
    await this.#snapshots.close();
    await this.#reporting?.stop();
    this.#links.close();
    await exporter?.stop();
    await spool.close();
    await watchdog.stop();
  }
}

function openAi({ env }: ServiceContext) {
  const { OPENAI_BASE_URL: baseUrl, OPENAI_API_KEY: key, OPENAI_MODEL: model } = env;
  return openAiCandidate({ baseUrl, hasKey: Boolean(key), model });
}
