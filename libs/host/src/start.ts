/** A service from its definition to open ports, wherever it runs: in a process of its own or beside others in one. */

import { randomBytes } from "node:crypto";
import type { CallGuard } from "@rspp/rpc/call-guard";
import { connectDirect, type RpcConnection } from "@rspp/rpc/clients";
import { RpcError, rpcError } from "@rspp/rpc/errors";
import { type GrpcServer, startGrpcServer } from "@rspp/rpc/grpc-server";
import { grpcHealth, Health } from "@rspp/rpc/health";
import { rpcLoadLater } from "@rspp/rpc/load-later";
import { createLog, describeFailure, type Log } from "@rspp/rpc/log";
import { grpcReflection, Reflection } from "@rspp/rpc/reflection";
import { type RpcServer, type RpcServerOptions, startRpcServer } from "@rspp/rpc/server";
import { ServingStatus } from "@rspp/rpc/well-known";
import type { Database } from "@rspp/store/database";
import { secretSource } from "@rspp/store/secret";
import { StoreError } from "@rspp/store/store-error";
import { openTelemetry } from "@rspp/telemetry/open-telemetry";
import type { Telemetry } from "@rspp/telemetry/telemetry";
import type { HostValues, ServiceFields } from "./common-fields.ts";
import type { ConfigValues } from "./config-fields.ts";
import { measureDatabase } from "./database-metrics.ts";
import { checkExposure, openGuard } from "./guard.ts";
import { connectPeer, type Identity, openIdentity, streamAccess } from "./peers.ts";
import { startProbeServer } from "./probe-server.ts";
import { Readiness } from "./readiness.ts";
import type { Environment, PeerService, ServiceContext, ServiceDefinition, StartedService } from "./service.ts";

/** What the one who starts a service gives it in place of what it would make itself. */
export interface StartOverrides {
  /** Default `process.env`. */
  readonly env?: Environment;
  /** Shared with others in this process, who also close it; what becomes of it is told by {@link RunningService.dependency}. */
  readonly database?: Database;
  /** Lines of the log; default standard error. */
  readonly logTo?: (line: string) => void;
  /** A peer in this process; null: over the network. */
  readonly connect?: (peer: PeerService, baseUrl: string) => RpcConnection | null;
}

/** The line on standard output by which a service says that it is there. */
export interface ReadyLine {
  readonly ready: true;
  readonly service: string;
  readonly instance: string;
  /** Of the API. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Of links and invocations. */
  readonly stream_port?: number;
  /** More addresses, by name. */
  readonly addresses: Readonly<Record<string, string>>;
  readonly pid: number;
  readonly message: string;
}

export interface RunningService {
  readonly service: string;
  readonly instanceId: string;
  readonly ready: ReadyLine;
  readonly log: Log;
  readonly health: Health;
  /** To this service without a socket. */
  connection(): RpcConnection;
  /** See {@link ServiceContext.dependency}. */
  dependency(name: string, there: boolean): void;
  /** Once; true when nothing had to be cut off. Ends what was started, even if some of it fails. */
  stop(graceMs?: number): Promise<boolean>;
}

const sweepEveryMs = 5_000;
export const buildVersion = "0.1.0";

/**
 * Starts a service and opens its ports; it is ready when this resolves.
 * @throws StoreError, RpcError `config_invalid` (ports); nothing of it is left running then.
 */
export async function startService<F extends ServiceFields>(
  definition: ServiceDefinition<F>,
  values: ConfigValues<F>,
  overrides: StartOverrides = {},
): Promise<RunningService> {
  const { service } = definition;
  const common = values as unknown as HostValues;
  const { env = process.env } = overrides;
  const instanceId = common.instance_id || `${service}-${randomBytes(6).toString("hex")}`;
  const log = logOf(service, common, overrides, instanceId);
  const health = new Health([]);
  const readiness = new Readiness(health);
  const undo: (() => Promise<unknown>)[] = [];
  try {
    const identity = await openIdentity(common, env, log);
    undo.push(async () => identity.close());
    checkExposure(common, identity);
    const telemetry = await openTelemetry({ service, instanceId, build: buildVersion, env, config: common, log });
    undo.push(() => telemetry.close());
    const context: ServiceContext = {
      service,
      instanceId,
      build: buildVersion,
      log,
      env,
      telemetry,
      dependency: (name, there) => readiness.dependency(name, there),
      connect: (peer, baseUrl) =>
        overrides.connect?.(peer, baseUrl) ?? connectPeer(peer, baseUrl, identity, telemetry.rpc),
      connectForOthers: (peer, baseUrl) => connectPeer(peer, baseUrl, { ...identity, token: undefined }, telemetry.rpc),
      streams: streamAccess(identity),
      ...(identity.server === undefined ? {} : { tls: identity.server }),
    };
    const { started, db } = await startDefined(definition, values, context, { common, overrides, readiness, undo });
    undo.push(async () => started.close?.());
    const guard = await openGuard({ started, context, identity, db, registryUrl: registryOf(values) });
    undo.push(() => guard.close());
    const servers = await openServers(started, context, { common, identity, health, undo, guard: guard.guard });
    const ready = await tellBound(started, servers, context, common, identity.server !== undefined);
    readiness.serve();
    void loadLater(started);
    const stopSweeping = sweepNowAndThen(started, readiness, definition.database, log);
    const parts = { started, servers, readiness, undo, stopSweeping, log };
    let stopped: Promise<boolean> | undefined;
    return {
      service,
      instanceId,
      ready,
      log,
      health,
      connection: () => connectDirect(servers.api.handlers, directOptions(service, identity, telemetry)),
      dependency: (name, there) => readiness.dependency(name, there),
      stop: (graceMs = common.stop_grace_ms) => {
        stopped ??= stopAll(parts, graceMs);
        return stopped;
      },
    };
  } catch (failure) {
    await undoAll(undo, log);
    throw failure;
  }
}

function directOptions(service: string, { token }: Identity, telemetry: Telemetry) {
  return { domain: service, tracer: telemetry.rpc, ...(token === undefined ? {} : { token }) };
}

function logOf(service: string, { log_level }: HostValues, overrides: StartOverrides, instance: string): Log {
  const write = overrides.logTo ?? ((line: string): void => void process.stderr.write(line));
  return createLog({ service, level: log_level as "info", instance, destination: { write } });
}

interface Opening {
  readonly common: HostValues;
  readonly overrides: StartOverrides;
  readonly readiness: Readiness;
  readonly undo: (() => Promise<unknown>)[];
}

async function startDefined<F extends ServiceFields>(
  definition: ServiceDefinition<F>,
  values: ConfigValues<F>,
  context: ServiceContext,
  { common, overrides, readiness, undo }: Opening,
): Promise<{ readonly started: StartedService; readonly db: Database | null }> {
  if (!definition.database) return { started: await definition.start(values, context), db: null };
  const { database: shared } = overrides;
  if (shared !== undefined) return { started: await definition.start(values, context, shared), db: shared };
  // A service that keeps nothing there does not load it.
  const { openDatabase } = await import("@rspp/store/database");
  const db = await openDatabase(await databaseOf(common, context.env), {
    onServer: ({ kind, error }) => {
      readiness.dependency("database", kind === "back");
      context.log.warn({ event: kind, store: error.code }, "embedded database changed");
    },
  });
  undo.push(() => db.close());
  measureDatabase(context.telemetry.metrics, () => db.connections());
  return { started: await definition.start(values, context, db), db };
}

/** Where a service finds the registry; empty where it does not look for it. */
function registryOf(values: object): string {
  return "registry" in values && typeof values.registry === "string" ? values.registry : "";
}

/** Where a service's database is: a URL by reference, else the embedded one of its data directory. */
export async function databaseOf({ database_url = "", data = "rspp-data" }: HostValues, env: Environment) {
  if (database_url === "") return { dataDir: data };
  return { url: (await secretSource(database_url, env).read()).reveal() };
}

interface Servers {
  readonly api: RpcServer;
  readonly streams: GrpcServer | null;
}

interface Serving {
  readonly common: HostValues;
  readonly identity: Identity;
  readonly health: Health;
  readonly undo: (() => Promise<unknown>)[];
  readonly guard: CallGuard;
}

async function openServers(
  started: StartedService,
  { service: domain, log, telemetry }: ServiceContext,
  { common, identity, health, undo, guard }: Serving,
): Promise<Servers> {
  const { host, port, stream_port = 0 } = common;
  const tls = identity.server === undefined ? {} : { tls: identity.server };
  if (!guard.guards)
    log.info({ host }, "callers are not asked who they are: loopback only; set service_token or tls_ca");
  const shared = { domain, host, tracer: telemetry.rpc, guard, ...tls };
  await openProbes({ common, identity, health, undo, guard }, telemetry);
  const named = [...started.routes, ...(started.streams ?? [])];
  for (const { service } of named) health.set(service.typeName, ServingStatus.NOT_SERVING);
  const http = withMetrics(telemetry, started.http);
  const api = await startRpcServer({ ...shared, port, routes: started.routes, log, health, http });
  undo.push(() => api.stop(0));
  if (started.streams === undefined) return { api, streams: null };
  const reflection = grpcReflection(new Reflection(started.streams.map(({ service }) => service)));
  const services = [...started.streams, grpcHealth(health), ...reflection];
  const onError = (method: string, error: unknown): void =>
    log.info({ rpc: method, ...describeFailure(error) }, "stream refused");
  const streams = await startGrpcServer({ ...shared, port: stream_port, services, onError }).catch(ofStreamPort);
  undo.push(() => streams.stop(0));
  return { api, streams };
}

async function openProbes({ common: { host, probe_port: port }, health, undo }: Serving, telemetry: Telemetry) {
  if (port === 0) return;
  const probes = await startProbeServer({ host, port, health, metrics: () => telemetry.prometheus() });
  undo.push(() => probes.close());
}

/** Which of the two ports could not be had: a server knows its own alone. */
function ofStreamPort(failure: unknown): never {
  if (!(failure instanceof RpcError) || failure.detail.metadata.key !== "port") throw failure;
  const { domain, metadata, remedy } = failure.detail;
  throw rpcError(failure.reason, {
    domain,
    metadata: { ...metadata, key: "stream_port" },
    remedy: remedy.replace("another port", "another stream_port"),
    cause: failure,
  });
}

type HttpHook = NonNullable<RpcServerOptions["http"]>;

function withMetrics(telemetry: Telemetry, own: HttpHook | undefined): HttpHook {
  return (request, response) => {
    if (request.method !== "GET" || request.url?.split("?", 1)[0] !== "/metrics")
      return own?.(request, response) ?? false;
    const answer = (status: number, text: string): void => {
      response.statusCode = status;
      response.setHeader("content-type", "text/plain; version=0.0.4; charset=utf-8");
      response.end(text);
    };
    telemetry.prometheus().then(
      (text) => (text === null ? answer(404, "Nothing is measured here.\n") : answer(200, text)),
      () => answer(500, "The metrics cannot be read.\n"),
    );
    return true;
  };
}

async function tellBound(
  started: StartedService,
  { api, streams }: Servers,
  { service, instanceId }: ServiceContext,
  { data }: HostValues,
  tls: boolean,
): Promise<ReadyLine> {
  const { host, port } = api;
  const streamBound = streams === null ? null : { host: streams.host, port: streams.port };
  const addresses = (await started.bound?.({ host, port }, streamBound)) ?? {};
  const url = `${tls ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const more = Object.entries(addresses).map(([name, address]) => `, ${name} ${address}`);
  const links = streams === null ? "" : `, streams on port ${streams.port}`;
  const kept = data === undefined ? "" : ` (data in ${data})`;
  const message = `${service} is ready at ${url}${links}${more.join("")}${kept}; ${url}/readyz tells its health`;
  const stream = streams === null ? {} : { stream_port: streams.port };
  return {
    ready: true,
    service,
    instance: instanceId,
    url,
    host,
    port,
    ...stream,
    addresses,
    pid: process.pid,
    message,
  };
}

/** After the ready line, so that no caller waits for it, nor it for a caller. One that fails is tried again where it is used. */
async function loadLater({ loadLater = [] }: StartedService): Promise<void> {
  for (const load of [...loadLater, ...rpcLoadLater]) {
    await new Promise((resolve) => setImmediate(resolve));
    await load().catch(() => undefined);
  }
}

/** One sweep at a time; where there is a database, readiness follows what it says. */
function sweepNowAndThen(started: StartedService, readiness: Readiness, database: boolean, log: Log): () => void {
  if (started.sweep === undefined) return () => undefined;
  let stopped = false;
  let timer: NodeJS.Timeout;
  const sweep = async (): Promise<void> => {
    const failure: unknown = await started.sweep?.().then(
      () => undefined,
      (thrown: unknown) => thrown ?? "nothing",
    );
    if (stopped) return;
    if (failure !== undefined) log.warn(describeFailure(failure), "sweep failed");
    const away = failure instanceof StoreError && failure.code === "unavailable";
    if (database && (failure === undefined || away)) readiness.dependency("database", !away);
    timer = setTimeout(sweep, sweepEveryMs);
  };
  timer = setTimeout(sweep, sweepEveryMs);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

interface Stopping {
  readonly started: StartedService;
  readonly servers: Servers;
  readonly readiness: Readiness;
  readonly undo: (() => Promise<unknown>)[];
  readonly log: Log;
  stopSweeping(): void;
}

async function stopAll(parts: Stopping, graceMs: number): Promise<boolean> {
  const { started, servers, readiness, undo, log } = parts;
  parts.stopSweeping();
  readiness.stop();
  const endMs = performance.now() + graceMs;
  const leftMs = (): number => Math.max(0, endMs - performance.now());
  const drained = await Promise.resolve(started.drain?.(graceMs) ?? true).catch((failure: unknown) => {
    log.warn(describeFailure(failure), "drain failed");
    return false;
  });
  const ended = await Promise.all([servers.api.stop(leftMs()), servers.streams?.stop(leftMs()) ?? true]);
  const closed = await undoAll(undo, log);
  return drained && closed && ended.every((orderly) => orderly);
}

/** Latest first; one that fails keeps no other from it. */
async function undoAll(undo: (() => Promise<unknown>)[], log: Log): Promise<boolean> {
  let well = true;
  for (const work of undo.splice(0).reverse()) {
    await work().catch((failure: unknown) => {
      well = false;
      log.warn(describeFailure(failure), "stop failed");
    });
  }
  return well;
}
