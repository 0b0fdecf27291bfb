import { DrizzleQueryError } from "drizzle-orm";
import { drizzle, type NodePgDatabase } from "drizzle-orm/node-postgres";
import pg from "pg";
import { migrate, readMigrations } from "./migrate.ts";
import { busy, isBrokenConnection, isRetriable, late, storeErrorOf, wasNeverSent } from "./pg-errors.ts";
import { type PgServer, type ServerOptions, startServer } from "./pg-server.ts";
import { type ServerEvent, type Supervised, superviseServer } from "./pg-supervise.ts";
import { messageOf, osCode, StoreError } from "./store-error.ts";

/** What a transaction's body is given: typed queries on one connection. */
export type Tx = NodePgDatabase;

export interface Database {
  /**
   * Runs `body` in one READ COMMITTED transaction and commits. A deadlock, a serialisation failure or a connection lost before the commit begins it again, so
   * that `body` must have no effects outside the database. A value it returns is committed; what it throws rolls back and
   * comes out as it is.
   *
   * @throws StoreError `deadline` (rolled back), `outcome_unknown` (the connection died in COMMIT), `unavailable`,
   * `overloaded`, `conflict`, `storage_full` …
   */
  transaction<T>(body: (tx: Tx) => Promise<T>, options?: { readonly timeoutMs?: number }): Promise<T>;
  /** Calls `wake` at each NOTIFY on `channel`, and after every reconnect, since some may have been missed. */
  listen(channel: string, wake: () => void): { close(): void };
  /** Of the pool, which everything here shares: connections, those of them at rest, and transactions that wait for one. */
  connections(): { readonly open: number; readonly idle: number; readonly waiting: number };
  /** For other processes; holds a password. */
  readonly url: string;
  /** The embedded server, when there is one. */
  readonly server: PgServer | undefined;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  /** Of one transaction, default 5 s. */
  readonly timeoutMs?: number;
  /** Connections, default 10. */
  readonly connectionsMax?: number;
  /** Transactions that may wait for a connection, default 1000; more are refused at once. */
  readonly waitingMax?: number;
  /** Told when the embedded server died, stays down, or is back. */
  readonly onServer?: (event: ServerEvent) => void;
}

const connectTimeoutMs = 5_000;
const attemptsMax = 3;
const reconnectMs = 500;
/** A process that is stopped in the middle of a transaction holds its locks no longer than this, whoever waits for them. */
const idleInTransactionMs = 2_000;
/** The server is given this much before we give the connection up as well. */
const graceMs = 500;
const serverVersionMin = 140_000;

/**
 * Opens the platform's database and brings its schema up to date: the embedded server of `dataDir`, or the one at `url`.
 *
 * @throws StoreError naming what is wrong and what to do about it.
 */
export async function openDatabase(
  where: { readonly url: string } | ServerOptions,
  options: DatabaseOptions = {},
): Promise<Database> {
  const server = "url" in where ? undefined : await startServer(where);
  const url = "url" in where ? where.url : (server?.url ?? "");
  try {
    await prepare(url);
  } catch (error) {
    await server?.stop();
    throw storeErrorOf(error);
  }
  const supervised =
    server && !("url" in where)
      ? superviseServer(server, () => startServer({ ...where, socketDir: server.socketDir }), options.onServer)
      : undefined;
  return connect(url, supervised, options);
}

async function prepare(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: connectTimeoutMs });
  client.on("error", () => undefined); // the query under way rejects as well
  await client.connect();
  try {
    const { rows } = await client.query<{ v: string }>("SELECT current_setting('server_version_num') AS v");
    if (Number(rows[0]?.v) < serverVersionMin) {
      throw new StoreError("version_mismatch", `PostgreSQL ${rows[0]?.v} is too old`, "Use PostgreSQL 14 or newer");
    }
    await migrate(client, await readMigrations());
  } finally {
    await client.end().catch(() => undefined);
  }
}

function connect(url: string, server: Supervised | undefined, options: DatabaseOptions): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: options.connectionsMax ?? 10,
    connectionTimeoutMillis: connectTimeoutMs,
    idleTimeoutMillis: 30_000,
  });
  // A connection that breaks tells its query as well; without a listener it would end the process besides.
  pool.on("connect", (client) => client.on("error", () => undefined));
  pool.on("error", () => undefined); // an idle connection died; the pool makes another when it is needed
  const listeners = new Set<{ close(): void }>();
  const runningMax = (options.connectionsMax ?? 10) + (options.waitingMax ?? 1_000);
  let running = 0;
  return {
    url,
    server,
    transaction: async (body, { timeoutMs = options.timeoutMs ?? 5_000 } = {}) => {
      if (running >= runningMax) throw busy();
      running++;
      try {
        return await attempts(pool, body, performance.now() + timeoutMs);
      } catch (error) {
        // While the embedded server is down its own trouble says more than that nobody answers.
        const unreachable = error instanceof StoreError && error.code === "unavailable";
        throw (unreachable ? server?.trouble() : undefined) ?? error;
      } finally {
        running--;
      }
    },
    connections: () => ({ open: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    listen: (channel, wake) => {
      const listener = keepListening(url, channel, wake);
      listeners.add(listener);
      return listener;
    },
    close: async () => {
      for (const listener of listeners) listener.close();
      await pool.end();
      await server?.stop();
    },
  };
}

/** Drizzle wraps what the driver threw, in a message that quotes the statement's values. */
function causeOf(error: unknown): unknown {
  return error instanceof DrizzleQueryError ? (error.cause ?? error) : error;
}

function isDriverError(error: unknown): boolean {
  return osCode(error) !== "" || isBrokenConnection(error) || error instanceof DrizzleQueryError;
}

async function attempts<T>(pool: pg.Pool, body: (tx: Tx) => Promise<T>, untilMs: number): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await attemptOnce(pool, body, untilMs - performance.now());
    } catch (error) {
      const cause = causeOf(error);
      // A connection that broke before COMMIT was sent has changed nothing.
      const again = isRetriable(cause) || isBrokenConnection(cause);
      if (attempt < attemptsMax && again && performance.now() < untilMs) continue;
      throw isDriverError(cause) ? storeErrorOf(cause) : cause;
    }
  }
}

async function attemptOnce<T>(pool: pg.Pool, body: (tx: Tx) => Promise<T>, leftMs: number): Promise<T> {
  const client = await pool.connect().catch((error: unknown) => {
    throw /timeout/.test(messageOf(error)) ? (pool.totalCount > 0 ? late(error) : storeErrorOf(error)) : error;
  });
  let committing = false;
  let broken = false;
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(committing ? unknownOutcome() : late()), Math.max(1, leftMs) + graceMs);
  });
  const work = async (): Promise<T> => {
    const ms = Math.max(1, Math.floor(leftMs));
    const idleMs = Math.min(ms, idleInTransactionMs);
    await client.query(`BEGIN; SET LOCAL statement_timeout = ${ms}; SET LOCAL lock_timeout = ${ms};
      SET LOCAL idle_in_transaction_session_timeout = ${idleMs}`);
    const value = await body(drizzle(client));
    committing = true;
    await client.query("COMMIT");
    return value;
  };
  try {
    return await Promise.race([work(), expired]);
  } catch (error) {
    broken = error instanceof StoreError && (error.code === "deadline" || error.code === "outcome_unknown");
    if (committing && isBrokenConnection(causeOf(error)) && !wasNeverSent(causeOf(error))) throw unknownOutcome(error);
    if (!broken) await client.query("ROLLBACK").catch(() => (broken = true));
    throw error;
  } finally {
    clearTimeout(timer);
    // A connection in an unknown state is closed, which rolls back whatever it was doing.
    client.release(broken);
  }
}

function unknownOutcome(cause?: unknown): StoreError {
  return new StoreError(
    "outcome_unknown",
    "The connection to the database died during the commit",
    "Read back, or repeat the request under the same idempotency key",
    cause,
  );
}

function keepListening(url: string, channel: string, wake: () => void): { close(): void } {
  let closed = false;
  let client: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;
  const again = (): void => {
    client?.end().catch(() => undefined);
    client = undefined;
    if (closed || timer !== undefined) return;
    timer = setTimeout(open, reconnectMs);
    timer.unref();
  };
  const open = (): void => {
    timer = undefined;
    const next = new pg.Client({ connectionString: url, connectionTimeoutMillis: connectTimeoutMs });
    client = next;
    next.on("error", () => client === next && again());
    next.on("end", () => client === next && again());
    next.on("notification", wake);
    next
      .connect()
      .then(() => next.query(`LISTEN ${next.escapeIdentifier(channel)}`))
      .then(wake)
      .catch(() => client === next && again());
  };
  open();
  return {
    close: () => {
      closed = true;
      clearTimeout(timer);
      client?.end().catch(() => undefined);
      client = undefined;
    },
  };
}
