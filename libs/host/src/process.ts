/** A service as a process: configuration, log, server with health and reflection, ready line, orderly stop. */
import { readFileSync } from "node:fs";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { RpcError } from "@rspp/rpc/errors";
import { Health } from "@rspp/rpc/health";
import { createLog, describeFailure, type Log } from "@rspp/rpc/log";
import type { RpcRoute } from "@rspp/rpc/route";
import { type RpcServer, type RpcServerOptions, startRpcServer } from "@rspp/rpc/server";
import type { ServerTls } from "@rspp/rpc/tls";
import { ServingStatus } from "@rspp/rpc/well-known";
import { type Database, openDatabase } from "@rspp/store/database";
import { secretSource } from "@rspp/store/secret";
import { osCode, StoreError } from "@rspp/store/store-error";
import { describeProblem, resolveConfig } from "./config.ts";
import type { ConfigFields, ConfigValues } from "./config-fields.ts";

/** Keys every service has. */
export const commonFields = {
  host: { kind: "text", about: "Address to listen on", fallback: "127.0.0.1", charsMax: 255 },
  data: { kind: "path", about: "Data directory: embedded database, keys", fallback: "rspp-data" },
  database_url: { kind: "secret", about: "PostgreSQL instead of the embedded one; also DATABASE_URL", fallback: "" },
  log_level: {
    kind: "choice",
    about: "Log on standard error",
    fallback: "info",
    of: ["debug", "info", "warn", "error", "silent"],
  },
  instance_id: { kind: "text", about: "Name of this process in its log", fallback: "", charsMax: 128 },
  stop_grace_ms: {
    kind: "whole",
    about: "Calls that run may go on when it stops",
    fallback: 5_000,
    min: 0,
    max: 600_000,
  },
  tls_cert: { kind: "text", about: "File of the certificate chain, PEM", fallback: "", charsMax: 4_096 },
  tls_key: { kind: "secret", about: "Its private key, PEM", fallback: "" },
  tls_ca: { kind: "text", about: "File of the CA that clients must show (mTLS)", fallback: "", charsMax: 4_096 },
} as const satisfies ConfigFields;

export type CommonValues = ConfigValues<typeof commonFields>;
export type Environment = Readonly<Record<string, string | undefined>>;

/** What `main.ts` wires: the service over its ports. */
export interface WiredService {
  readonly routes: readonly RpcRoute[];
  readonly http?: NonNullable<RpcServerOptions["http"]>;
  /** Housekeeping, now and then; also shows whether the database answers. */
  sweep(): Promise<unknown>;
}

export interface ServiceProcess<F extends ConfigFields> {
  readonly service: string;
  readonly fields: F;
  wire(values: ConfigValues<F>, db: Database, env: Environment): Promise<WiredService>;
}

const sweepEveryMs = 5_000;
/** Closing the database may take this long after the last call. */
const closeMs = 10_000;

/**
 * Runs until SIGTERM or SIGINT and ends the process: 0 in order, 1 failed or cut off, 2 the configuration does not hold.
 * Standard output gets one line when it is ready, JSON, or words on a terminal; standard error the log.
 */
export async function runService<F extends ConfigFields & typeof commonFields>(
  spec: ServiceProcess<F> & { readonly fields: { readonly port: { readonly kind: "whole" } } },
): Promise<void> {
  const { service } = spec;
  const { env } = process;
  const config = resolveConfig(spec.fields, { service, argv: process.argv.slice(2), env });
  if (!config.ok) {
    for (const problem of config.error) process.stderr.write(`${service}: ${describeProblem(problem)}\n`);
    process.exitCode = 2;
    return;
  }
  if ("help" in config.value) return void process.stdout.write(config.value.help);
  const { values, shown, printOnly } = config.value;
  if (printOnly) return void process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
  const common = values as unknown as CommonValues & { port: number };
  const log = logOf(service, common);
  log.info({ config: shown }, "configuration resolved");
  try {
    await serve(spec, values, common, log);
  } catch (failure) {
    process.stderr.write(`${service}: cannot start: ${tellFailure(failure)}\n`);
    log.error(describeFailure(failure), "start failed");
    process.exitCode = isConfiguration(failure) ? 2 : 1;
  }
}

function logOf(service: string, { log_level, instance_id }: CommonValues): Log {
  return createLog({
    service,
    level: log_level as "info",
    ...(instance_id === "" ? {} : { instance: instance_id }),
    destination: { write: (line) => void process.stderr.write(line) },
  });
}

async function serve<F extends ConfigFields>(
  spec: ServiceProcess<F>,
  values: ConfigValues<F>,
  common: CommonValues & { port: number },
  log: Log,
): Promise<void> {
  const { service } = spec;
  const { env } = process;
  const stopWanted = signalled();
  const health = new Health([]);
  const readiness = new Readiness(health);
  const tls = await tlsOf(common, env);
  const db = await openDatabase(await databaseOf(common, env), {
    onServer: ({ kind, error }) => {
      readiness.database(kind === "back");
      log.warn({ event: kind, store: error.code }, "embedded database changed");
    },
  });
  let closed = false;
  try {
    const wired = await spec.wire(values, db, env);
    for (const route of wired.routes) health.set(route.service.typeName, ServingStatus.NOT_SERVING);
    const { host, port } = common;
    const options = { domain: service, host, port, routes: wired.routes, log, health };
    const server = await startRpcServer({
      ...options,
      ...(wired.http === undefined ? {} : { http: wired.http }),
      ...(tls === undefined ? {} : { tls }),
    });
    readiness.serve();
    const stopSweeping = sweepNowAndThen(wired, readiness, log);
    tellReady(service, server, tls !== undefined, common.data);
    log.info({ signal: await stopWanted }, "stopping");
    stopSweeping();
    readiness.stop();
    const late = setTimeout(() => process.exit(1), common.stop_grace_ms + closeMs);
    late.unref();
    const inOrder = await server.stop(common.stop_grace_ms);
    closed = true;
    await db.close();
    log.info({ in_order: inOrder }, "stopped");
    process.exitCode = inOrder ? 0 : 1;
  } finally {
    if (!closed) await db.close();
  }
}

/** Ready from the first call it may take to the signal that stops it, as long as the database is there. */
class Readiness {
  readonly #health: Health;
  #serving = false;
  #database = true;

  constructor(health: Health) {
    this.#health = health;
  }

  database(there: boolean): void {
    this.#database = there;
    if (this.#serving) this.#health.setReady(there, there ? [] : ["database"]);
  }

  serve(): void {
    this.#serving = true;
    this.database(this.#database);
  }

  /** The server itself tells that it stops. */
  stop(): void {
    this.#serving = false;
  }
}

/** The first signal; a second one ends the process at once. */
function signalled(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (asked) process.exit(1);
      asked = true;
      resolve(signal);
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
  });
}

async function databaseOf({ database_url, data }: CommonValues, env: Environment) {
  if (database_url === "") return { dataDir: data };
  return { url: (await secretSource(database_url, env).read()).reveal() };
}

async function tlsOf(common: CommonValues, env: Environment): Promise<ServerTls | undefined> {
  const { tls_cert, tls_key, tls_ca } = common;
  if (tls_cert === "" && tls_key === "" && tls_ca === "") return undefined;
  if (tls_cert === "" || tls_key === "") {
    throw new StoreError("invalid", "TLS needs both tls_cert and tls_key", "Set both, or none of the tls keys");
  }
  const cert = textOf("tls_cert", tls_cert);
  const key = (await secretSource(tls_key, env).read()).reveal();
  return { cert, key, ...(tls_ca === "" ? {} : { ca: textOf("tls_ca", tls_ca) }) };
}

function textOf(key: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new StoreError("invalid", `${key} cannot be read (${osCode(error)})`, "Check the path and its rights");
  }
}

/** One sweep at a time; readiness follows what the database says. */
function sweepNowAndThen(wired: WiredService, readiness: Readiness, log: Log): () => void {
  let stopped = false;
  let timer: NodeJS.Timeout;
  const sweep = async (): Promise<void> => {
    const found = await wired.sweep().catch((failure: unknown) => ({ failure }));
    if (stopped) return;
    const failure = typeof found === "object" && found !== null && "failure" in found ? found.failure : undefined;
    if (failure === undefined) readiness.database(true);
    else {
      log.warn(describeFailure(failure), "sweep failed");
      if (failure instanceof StoreError && failure.code === "unavailable") readiness.database(false);
    }
    timer = setTimeout(sweep, sweepEveryMs);
  };
  timer = setTimeout(sweep, sweepEveryMs);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

function tellReady(service: string, { host, port }: RpcServer, tls: boolean, data: string): void {
  const shownHost = host.includes(":") ? `[${host}]` : host;
  const url = `${tls ? "https" : "http"}://${shownHost}:${port}`;
  const message = `${service} is ready at ${url} (data in ${data}); ${url}/readyz tells its health`;
  const fields = { ready: true, service, url, host, port, pid: process.pid, message };
  process.stdout.write(process.stdout.isTTY ? `${message}\n` : `${JSON.stringify(fields)}\n`);
}

/** Words of the errors whose text is safe; of any other only its kind. */
function tellFailure(failure: unknown): string {
  if (failure instanceof StoreError || failure instanceof RpcError) return failure.message;
  return `an unforeseen failure (${failure instanceof Error ? failure.name : typeof failure}); its log line says where`;
}

function isConfiguration(failure: unknown): boolean {
  if (failure instanceof RpcError) return failure.reason === ErrorReason.CONFIG_INVALID;
  return failure instanceof StoreError && ["invalid", "permission", "secret_missing"].includes(failure.code);
}
