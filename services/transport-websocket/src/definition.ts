/** The WebSocket adapter as a service: who may come in, where sessions are opened, and how it is seen. */
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { dialAddress } from "@rspp/host/address";
import { type Reporter, startReporter } from "@rspp/host/instance-report";
import { streamsAt } from "@rspp/host/peers";
import type { PlainService, ServiceContext, StartedService } from "@rspp/host/service";
import { measureSnapshotWatch } from "@rspp/host/snapshot-metrics";
import { createSystemClock } from "@rspp/host/system-clock";
import type { SessionOpener } from "@rspp/ports/session-opener";
import type { LocalRuntime, OpenerNotice, RemoteSessionOpener } from "@rspp/remote/link-session-types";
import { createRemoteSessionOpener } from "@rspp/remote/session-opener";
import { SnapshotWatch } from "@rspp/remote/snapshot-watch";
import { rpcError } from "@rspp/rpc/errors";
import type { Log } from "@rspp/rpc/log";
import type { RpcTracer } from "@rspp/rpc/tracing";
import { type WebSocketConfig, websocketFields } from "./config.ts";
import { measureTransport } from "./metrics.ts";
import type { AuditEntry } from "./ports.ts";
import { openWebSocketTransport, type WebSocketTransport } from "./server.ts";
import { createRegistryVerifier } from "./verifier.ts";

export interface WebSocketServiceOptions {
  /** A runtime in this process, asked for when the adapter starts: its sessions need no link. */
  readonly local?: () => LocalRuntime | null;
}

const service = "transport-websocket";
/** The end of a stop's grace: calls that have not ended are sent to another adapter, first those in which nothing is said. */
const handOffMs = 5_000;
/** How long a start waits for the registry; without it the adapter is alive and not ready. */
const registryMs = 3_000;
const drainLookMs = 50;

export function createWebSocketDefinition(options: WebSocketServiceOptions = {}): PlainService<typeof websocketFields> {
  return {
    service,
    fields: websocketFields,
    database: false,
    start: (values, context) => start(values, context, options),
  };
}

async function start(
  values: WebSocketConfig,
  context: ServiceContext,
  { local }: WebSocketServiceOptions,
): Promise<StartedService> {
  const { log, instanceId, build } = context;
  const clock = createSystemClock();
  const registry = context.connect("registry", values.registry);
  const runtime = local?.() ?? null;
  const opener = createRemoteSessionOpener({
    clock,
    adapterId: instanceId,
    build,
    lease: context.connect("lease", values.lease),
    registry,
    domain: service,
    link: { ...streamsAt(values.registry, context.streams), linksPerRuntime: values.links_per_runtime, warm: true },
    deadlines: { failoverAfterMs: values.failover_after_ms },
    onNotice: (notice) => tellNotice(log, notice),
    ...(runtime === null ? {} : { local: runtime }),
  });
  const snapshots = watchRouting(values, context, clock, opener);
  const verifier = createRegistryVerifier({ registry, wallMs: clock.wallMs });
  const openSession = tracedOpener(context.telemetry.rpc, opener.open);
  // Adapters of a fleet show one another the same token; without one all run on this machine.
  const resumeSecret = (): string => context.streams.headers().authorization ?? "";
  const served = { ...transportOptions(values, context.tls, log), clock, verifier, openSession, resumeSecret };
  const open = () => openWebSocketTransport(served);
  return new Adapter(values, context, opener, open, registry, snapshots).started();
}

/** The routing view by snapshot: a caller that comes in asks nobody where his runtime is (F-159). */
function watchRouting(
  values: WebSocketConfig,
  { connect, log, instanceId, telemetry }: ServiceContext,
  clock: ReturnType<typeof createSystemClock>,
  opener: RemoteSessionOpener,
): SnapshotWatch {
  const watch = new SnapshotWatch({
    clock,
    registry: connect("registry", values.registry),
    instanceId,
    log,
    take: {
      routing: ({ view }) => {
        opener.routing(view ?? null);
        return null;
      },
    },
    // A view of before a restart leads to runtimes that are gone: it is asked for anew.
    disk: null,
    onHeard: () => {
      if (watch.freshness("routing").state === "fresh") opener.routing(null);
    },
  });
  measureSnapshotWatch(telemetry.metrics, () => watch.stats());
  void watch.start();
  return watch;
}

/** F-070: the trace of a call begins where the caller comes in; lease and session are asked for under its span. */
function tracedOpener(tracer: RpcTracer, open: SessionOpener): SessionOpener {
  return async (request) => {
    const headers = new Headers();
    const span = tracer.start({ side: "client", service: "rspp.transport.SessionOpener", method: "Open", headers });
    const traceparent = headers.get("traceparent");
    const opened = await span.run(() => open(traceparent === null ? request : { ...request, traceparent }));
    span.end(opened.ok ? null : opened.error.reason);
    return opened;
  };
}

function transportOptions(values: WebSocketConfig, tls: ServiceContext["tls"], log: Log) {
  const origins = values.origins.split(",").flatMap((origin) => origin.trim() || []);
  return {
    host: values.host,
    port: values.websocket_port,
    compression: values.compression === "on",
    connectionsMax: values.connections_max,
    sessionsMax: values.sessions_max,
    resumeWithinMs: values.resume_within_ms,
    audit: (entry: AuditEntry) => log.info({ audit: entry }, "audit"),
    ...(origins.length === 0 ? {} : { origins }),
    ...(tls === undefined ? {} : { tls }),
  };
}

class Adapter {
  readonly #values: WebSocketConfig;
  readonly #context: ServiceContext;
  readonly #opener: RemoteSessionOpener;
  readonly #open: () => Promise<WebSocketTransport>;
  readonly #registry: ReturnType<ServiceContext["connect"]>;
  readonly #snapshots: SnapshotWatch;
  #transport: WebSocketTransport | null = null;
  #reporter: Reporter | null = null;
  #draining = false;
  readonly #stopMeasuring: () => void;

  constructor(
    values: WebSocketConfig,
    context: ServiceContext,
    opener: RemoteSessionOpener,
    open: () => Promise<WebSocketTransport>,
    registry: ReturnType<ServiceContext["connect"]>,
    snapshots: SnapshotWatch,
  ) {
    this.#snapshots = snapshots;
    this.#values = values;
    this.#context = context;
    this.#opener = opener;
    this.#open = open;
    this.#registry = registry;
    this.#stopMeasuring = measureTransport(context.telemetry.metrics, () => {
      const transport = this.#transport?.stats();
      return transport === undefined ? null : { transport, opener: opener.stats() };
    });
  }

  started(): StartedService {
    return {
      routes: [],
      bound: async () => ({ websocket: await this.#bind() }),
      drain: (graceMs) => this.#drain(graceMs),
      close: () => this.#close(),
    };
  }

  async #bind(): Promise<string> {
    const { host, websocket_port: port } = this.#values;
    const transport = await this.#open().catch((failure: NodeJS.ErrnoException) => {
      throw bindError(failure, host, port);
    });
    this.#transport = transport;
    const url = this.#values.advertise_url || reachable(transport, host);
    const { log, instanceId, build, dependency } = this.#context;
    const { region, sessions_max: capacitySessions } = this.#values;
    const endpoints = [{ transport: "websocket", url, region }];
    const fixed = { instanceId, role: service, region, build, capacitySessions, endpoints };
    this.#reporter = startReporter({
      registry: this.#registry,
      log,
      report: () => ({
        ...fixed,
        sessions: transport.stats().sessions,
        draining: this.#draining,
        ready: !this.#draining,
      }),
    });
    // Later the registry may be away: what was learnt of it is acted on (kernel.md §7).
    if (!(await this.#reporter.first(registryMs))) {
      dependency("registry", false);
      void this.#reporter.first().then(() => dependency("registry", true));
    }
    return url;
  }

  /** Routes lead elsewhere from now on. Calls that run may end by themselves; the rest goes on at another adapter (R4). */
  async #drain(graceMs: number): Promise<boolean> {
    this.#draining = true;
    this.#reporter?.now();
    const transport = this.#transport;
    if (transport === null) return true;
    transport.drain();
    const endMs = performance.now() + graceMs;
    const offMs = endMs - Math.min(handOffMs, graceMs / 2);
    while (transport.stats().sessions > 0 && performance.now() < endMs) {
      if (performance.now() >= offMs) transport.handOff("quiet");
      await new Promise((resolve) => setTimeout(resolve, Math.min(drainLookMs, endMs - performance.now())));
    }
    transport.handOff("all");
    const left = transport.stats().sessions;
    if (left > 0) this.#context.log.warn({ sessions: left }, "calls cut off by the stop");
    await transport.close();
    return left === 0;
  }

  async #close(): Promise<void> {
    await this.#reporter?.stop();
    await this.#transport?.close();
    await this.#snapshots.close();
    this.#opener.close();
    this.#stopMeasuring();
  }
}

function reachable({ url, port }: Pick<WebSocketTransport, "url" | "port">, host: string): string {
  return url.replace(/\/\/[^/]*/, `//${dialAddress({ host, port })}`);
}

function bindError(failure: NodeJS.ErrnoException, host: string, port: number) {
  const problem = failure.code ?? "unknown";
  const taken = "Another process listens there: stop it, or set another websocket_port (0 picks a free one).";
  const remedy = problem === "EADDRINUSE" ? taken : "Check host and websocket_port.";
  const metadata = { key: "websocket_port", host, port: String(port), problem };
  return rpcError(ErrorReason.CONFIG_INVALID, { domain: service, metadata, remedy, cause: failure });
}

function tellNotice(log: Log, { kind, ...fields }: OpenerNotice): void {
  log.warn({ notice: kind, ...fields }, "session opener");
}
