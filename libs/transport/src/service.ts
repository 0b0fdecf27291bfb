/**
 * The skeleton of an adapter as a service: its sessions are opened over links on whichever runtime the registry's view
 * names, it tells the registry of itself, and it takes its leave in order (F-108, F-159). A transport gives what listens.
 */
import { commonFields, peerField, portField } from "@rspp/host/common-fields";
import type { ConfigFields, ConfigValues } from "@rspp/host/config-fields";
import { type Reporter, startReporter } from "@rspp/host/instance-report";
import { streamsAt } from "@rspp/host/peers";
import type { Bound, PlainService, ServiceContext, StartedService } from "@rspp/host/service";
import { measureSnapshotWatch } from "@rspp/host/snapshot-metrics";
import { createSystemClock } from "@rspp/host/system-clock";
import type { Clock } from "@rspp/ports/clock";
import type { SessionOpener } from "@rspp/ports/session-opener";
import type { LocalRuntime, OpenerNotice, RemoteSessionOpener } from "@rspp/remote/link-session-types";
import { createRemoteSessionOpener } from "@rspp/remote/session-opener";
import { SnapshotWatch } from "@rspp/remote/snapshot-watch";
import type { RpcConnection } from "@rspp/rpc/clients";
import type { Log } from "@rspp/rpc/log";
import type { RpcRoute } from "@rspp/rpc/route";
import type { RpcTracer } from "@rspp/rpc/tracing";
import type { AuditEntry } from "./audit.ts";
import { limits } from "./limits.ts";
import { measureTransport, type OwnMetric, type SessionCounts } from "./metrics.ts";
import { createRegistryVerifier, type TokenVerifier } from "./token-verifier.ts";

/** How long a start waits for the registry; without it the adapter is alive and not ready. */
const registryMs = 3_000;
const drainLookMs = 50;
/** The end of a stop's grace: calls that have not ended are sent to another adapter, first those in which nothing is said. */
const handOffMs = 5_000;

/** Keys every adapter has. `port`: of its API; the port that callers reach is the transport's own key. */
export function transportFields<const N extends number>(port: N) {
  return {
    port: portField(port, "Port of health, reflection and metrics; 0 picks a free one"),
    ...commonFields,
    region: { kind: "text", about: "Region that routes prefer it for", fallback: "", charsMax: 64 },
    registry: peerField("Base URL of the registry", "http://127.0.0.1:7101"),
    lease: peerField("Base URL of the lease service", "http://127.0.0.1:7102"),
    sessions_max: {
      kind: "whole",
      about: "Sessions; more are refused. What routes count with",
      fallback: limits.SESSIONS_MAX,
      min: 1,
      max: limits.SESSIONS_MAX,
    },
    failover_after_ms: {
      kind: "whole",
      about: "A runtime whose connection is lost and not back within it has its calls go on on another one",
      fallback: 1_500,
      min: 0,
      max: 30_000,
    },
    links_per_runtime: { kind: "whole", about: "Pairs of connections to one runtime", fallback: 1, min: 1, max: 4 },
  } as const satisfies ConfigFields;
}

export type TransportFields = ConfigFields & ReturnType<typeof transportFields>;
type TransportValues = ConfigValues<ReturnType<typeof transportFields>>;

/** A transport that takes callers. */
export interface RunningTransport<S extends SessionCounts> {
  /** Where callers come in, as the ready line names it; told to the registry as the route's endpoint. */
  readonly address: string;
  stats(): S;
  /** Opens no more sessions; those that are open go on. */
  drain(): void;
  /**
   * Sends callers elsewhere whose session may go on there: those to whom nothing is being said, or all. What cannot be handed
   * over stays. Absent where a caller cannot be sent.
   */
  handOff?(which: "quiet" | "all"): void;
  /** Ends all sessions and connections. */
  close(): Promise<void>;
}

/** What a transport is given to open sessions with. */
export interface TransportContext extends Pick<ServiceContext, "log" | "instanceId" | "tls" | "env"> {
  readonly clock: Clock;
  readonly verifier: TokenVerifier;
  readonly openSession: SessionOpener;
  /** For transports that ask for routes themselves. */
  readonly registry: RpcConnection;
  /** The registry without this service's token, for routes that a caller asks for with a token of his own. */
  registryForCallers(): RpcConnection;
  /** Where its API listens. */
  readonly api: Bound;
  /** Adapters of a fleet share it; without a service token all run on this machine. Asked for each time: it may change. */
  fleetSecret(): string;
  audit(entry: AuditEntry): void;
}

export interface TransportServiceOptions {
  /** A runtime in this process, asked for when the adapter starts: its sessions need no link. */
  readonly local?: () => LocalRuntime | null;
}

export interface TransportService<
  F extends TransportFields,
  S extends SessionCounts,
  T extends RunningTransport<S> = RunningTransport<S>,
> {
  /** As routes name it, e.g. `websocket`; the service is `transport-websocket`. */
  readonly transport: string;
  readonly fields: F;
  /** Beside those of `measureTransport`. */
  readonly metrics: readonly OwnMetric<S>[];
  /** Listens. @throws an RpcError with the key that is wrong, e.g. a port that is taken. */
  open(values: ConfigValues<F>, context: TransportContext): Promise<T>;
  /** What it answers on the API port; the transport is null until it is open. */
  routes?(transport: () => T | null): readonly RpcRoute[];
}

export function createTransportDefinition<
  F extends TransportFields,
  S extends SessionCounts,
  T extends RunningTransport<S>,
>(definition: TransportService<F, S, T>, { local }: TransportServiceOptions = {}): PlainService<F> {
  return {
    service: `transport-${definition.transport}`,
    fields: definition.fields,
    database: false,
    start: (values, context) => Promise.resolve(new Adapter(definition, values, context, local?.() ?? null).started()),
  };
}

class Adapter<F extends TransportFields, S extends SessionCounts, T extends RunningTransport<S>> {
  readonly #definition: TransportService<F, S, T>;
  readonly #own: ConfigValues<F>;
  readonly #values: TransportValues;
  readonly #context: ServiceContext;
  readonly #clock = createSystemClock();
  readonly #registry: RpcConnection;
  readonly #opener: RemoteSessionOpener;
  readonly #snapshots: SnapshotWatch;
  readonly #stopMeasuring: () => void;
  #transport: T | null = null;
  #reporter: Reporter | null = null;
  #draining = false;

  constructor(
    definition: TransportService<F, S, T>,
    values: ConfigValues<F>,
    context: ServiceContext,
    local: LocalRuntime | null,
  ) {
    this.#definition = definition;
    this.#own = values;
    // Every transport's fields hold those of all; the compiler cannot see it through the mapped type.
    this.#values = values as unknown as TransportValues;
    this.#context = context;
    this.#registry = context.connect("registry", this.#values.registry);
    this.#opener = this.#createOpener(local);
    this.#snapshots = watchRouting(this.#values, context, this.#clock, this.#opener);
    this.#stopMeasuring = measureTransport(context.telemetry.metrics, definition.transport, definition.metrics, () => {
      const transport = this.#transport?.stats();
      return transport === undefined ? null : { transport, opener: this.#opener.stats() };
    });
  }

  started(): StartedService {
    return {
      routes: this.#definition.routes?.(() => this.#transport) ?? [],
      bound: async (api) => ({ [this.#definition.transport]: await this.#bind(api) }),
      drain: (graceMs) => this.#drain(graceMs),
      close: () => this.#close(),
    };
  }

  #createOpener(local: LocalRuntime | null): RemoteSessionOpener {
    const { log, instanceId, build, connect, streams } = this.#context;
    const { registry, lease, links_per_runtime: linksPerRuntime, failover_after_ms: failoverAfterMs } = this.#values;
    return createRemoteSessionOpener({
      clock: this.#clock,
      adapterId: instanceId,
      build,
      lease: connect("lease", lease),
      registry: this.#registry,
      domain: `transport-${this.#definition.transport}`,
      link: { ...streamsAt(registry, streams), linksPerRuntime, warm: true },
      deadlines: { failoverAfterMs },
      onNotice: (notice) => tellNotice(log, notice),
      ...(local === null ? {} : { local }),
    });
  }

  async #bind(api: Bound): Promise<string> {
    const { log, instanceId, build, dependency, telemetry, tls, env } = this.#context;
    const { transport: name, open } = this.#definition;
    const transport = await open(this.#own, {
      log,
      instanceId,
      env,
      ...(tls === undefined ? {} : { tls }),
      clock: this.#clock,
      registry: this.#registry,
      registryForCallers: () => this.#context.connectForOthers("registry", this.#values.registry),
      api,
      verifier: createRegistryVerifier({ registry: this.#registry, transport: name, wallMs: this.#clock.wallMs }),
      openSession: tracedOpener(telemetry.rpc, this.#opener.open),
      fleetSecret: () => this.#context.streams.headers().authorization ?? "",
      audit: (entry) => log.info({ audit: entry }, "audit"),
    });
    this.#transport = transport;
    const { region, sessions_max: capacitySessions } = this.#values;
    const endpoints = [{ transport: name, url: transport.address, region }];
    const fixed = { instanceId, role: this.#context.service, region, build, capacitySessions, endpoints };
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
    return transport.address;
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
      if (performance.now() >= offMs) transport.handOff?.("quiet");
      await new Promise((resolve) => setTimeout(resolve, Math.min(drainLookMs, endMs - performance.now())));
    }
    transport.handOff?.("all");
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

/** The routing view by snapshot: a caller that comes in asks nobody where his runtime is (F-159). */
function watchRouting(
  values: TransportValues,
  { connect, log, instanceId, telemetry }: ServiceContext,
  clock: Clock,
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

function tellNotice(log: Log, { kind, ...fields }: OpenerNotice): void {
  log.warn({ notice: kind, ...fields }, "session opener");
}
