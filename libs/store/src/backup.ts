/** Backup and restore of the control plane's database (F-166, NF-031). */
import { performance } from "node:perf_hooks";
import pg from "pg";
import {
  type BackupColumn,
  type BackupHead,
  type BackupLine,
  backupFormat,
  checkBackupFile,
  readBackupFile,
  writeBackupFile,
} from "./backup-file.ts";
import { openDatabase } from "./database.ts";
import { migrate, pendingAfter, readMigrations } from "./migrate.ts";
import { storeErrorOf } from "./pg-errors.ts";
import { openPgLeaseStore } from "./pg-lease-store.ts";
import { StoreError } from "./store-error.ts";

export interface BackupReport {
  readonly file: string;
  readonly sha256: string;
  readonly tables: number;
  readonly rows: number;
  readonly tookMs: number;
}

export interface RestoreReport {
  readonly rows: number;
  /** When the backup was taken: what came later is lost. */
  readonly createdWallMs: number;
  readonly incarnationBefore: number;
  /** Leases of the incarnation before bind nobody any more; their holders ask again. */
  readonly incarnation: number;
  readonly migrated: readonly string[];
  readonly tookMs: number;
}

export interface StoreStatus {
  readonly server: string;
  readonly bytes: number;
  readonly applied: readonly string[];
  readonly pending: readonly string[];
  /** 0 where no lease was ever kept. */
  readonly incarnation: number;
  readonly rows: Readonly<Record<string, number>>;
}

const connectTimeoutMs = 5_000;
const fetchRows = 20;
const insertRowsMax = 500;
const insertCharsMax = 4_000_000;

async function connected<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: connectTimeoutMs });
  client.on("error", () => undefined); // the query under way rejects as well
  try {
    await client.connect();
    return await work(client);
  } catch (error) {
    throw storeErrorOf(error);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * Everything as of one moment, beside running services: one repeatable read transaction, no locks that hinder anybody.
 *
 * @throws StoreError `invalid` when this is no platform's database.
 */
export async function writeBackup(url: string, file: string, createdWallMs: number): Promise<BackupReport> {
  const startedAt = performance.now();
  return connected(url, async (client) => {
    await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    const tables = await tablesOf(client);
    if (!tables.includes("migrations")) {
      throw new StoreError("invalid", "There is no platform in this database", "Name the database of the platform");
    }
    const head = await headOf(client, createdWallMs);
    let rows = 0;
    async function* lines(): AsyncGenerator<BackupLine> {
      yield { kind: "head", head };
      for (const table of tables) {
        if (table === "migrations") continue;
        for await (const line of tableLines(client, table)) {
          if (line.kind === "row") rows++;
          yield line;
        }
      }
    }
    const sha256 = await writeBackupFile(file, lines());
    await client.query("COMMIT");
    return { file, sha256, tables: tables.length - 1, rows, tookMs: performance.now() - startedAt };
  });
}

async function tablesOf(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'rspp' ORDER BY tablename",
  );
  return rows.map(({ name }) => name);
}

async function headOf(client: pg.Client, createdWallMs: number): Promise<BackupHead> {
  const { rows: migrations } = await client.query<BackupHead["migrations"][number]>(
    "SELECT id, name, checksum FROM rspp.migrations ORDER BY id",
  );
  return { format: backupFormat, createdWallMs, incarnation: await incarnationOf(client), migrations };
}

async function incarnationOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ incarnation: number }>("SELECT incarnation FROM rspp.lease_store");
  return rows[0]?.incarnation ?? 0;
}

async function* tableLines(client: pg.Client, table: string): AsyncGenerator<BackupLine> {
  const { rows: columns } = await client.query<BackupColumn>(
    `SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum`,
    [`rspp.${client.escapeIdentifier(table)}`],
  );
  yield { kind: "table", table, columns };
  const asText = columns.map(({ name }) => `${client.escapeIdentifier(name)}::text`).join(", ");
  await client.query(`DECLARE rows CURSOR FOR SELECT ${asText} FROM rspp.${client.escapeIdentifier(table)}`);
  for (;;) {
    const { rows } = await client.query<(string | null)[]>({ text: `FETCH ${fetchRows} FROM rows`, rowMode: "array" });
    for (const values of rows) yield { kind: "row", values };
    if (rows.length < fetchRows) break;
  }
  await client.query("CLOSE rows");
}

/**
 * Into a database without a platform: nothing is written before the file was read whole and found good. The lease store
 * comes up under a higher incarnation, so that no epoch is given twice (kernel.md §7).
 *
 * @throws StoreError `conflict` when the database holds a platform, `corrupt`, `version_mismatch` when the backup is newer.
 */
export async function restoreBackup(url: string, file: string, leaseTermMs: number): Promise<RestoreReport> {
  const startedAt = performance.now();
  const { head, rows } = await checkBackupFile(file);
  const known = await readMigrations();
  // Refuses a backup of a newer build before anything is made.
  pendingAfter(head.migrations, known);
  const migrated = await connected(url, async (client) => {
    if ((await tablesOf(client)).length > 0) {
      throw new StoreError("conflict", "The database holds a platform already", "Restore into a new, empty database");
    }
    await migrate(client, known.slice(0, head.migrations.length));
    try {
      await load(client, file);
    } catch (error) {
      // Empty again, so that the next attempt finds it so.
      await client.query("ROLLBACK; DROP SCHEMA rspp CASCADE").catch(() => undefined);
      throw error;
    }
    return migrate(client, known);
  });
  const db = await openDatabase({ url });
  try {
    // Opening notices another database by itself where it may ask; else it is told.
    const leases = await openPgLeaseStore(db, leaseTermMs);
    const found = await leases.incarnation();
    const incarnation = found > head.incarnation ? found : await leases.reopen(leaseTermMs);
    const tookMs = performance.now() - startedAt;
    const { createdWallMs, incarnation: incarnationBefore } = head;
    return { rows, createdWallMs, incarnationBefore, incarnation, migrated, tookMs };
  } finally {
    await db.close();
  }
}

async function load(client: pg.Client, file: string): Promise<void> {
  await client.query("BEGIN");
  const tables = await tablesOf(client);
  const each = async (statement: (table: string) => string): Promise<void> => {
    for (const table of tables) {
      if (table !== "migrations") await client.query(statement(`rspp.${client.escapeIdentifier(table)}`));
    }
  };
  // What rows must not do to others while the service runs, they need not do again now.
  await each((table) => `ALTER TABLE ${table} DISABLE TRIGGER USER`);
  await each((table) => `DELETE FROM ${table}`);
  let into: Loading | undefined;
  for await (const line of readBackupFile(file)) {
    if (line.kind === "row") await into?.add(line.values);
    else await into?.flush();
    if (line.kind === "table") into = new Loading(client, line.table, line.columns);
  }
  await each((table) => `ALTER TABLE ${table} ENABLE TRIGGER USER`);
  await setSequences(client);
  // Whoever opens the leases next finds that this is not the database that wrote them, also if we die before we do.
  await client.query("ALTER TABLE rspp.lease_store DISABLE TRIGGER USER");
  await client.query("UPDATE rspp.lease_store SET origin = 'a backup'");
  await client.query("ALTER TABLE rspp.lease_store ENABLE TRIGGER USER");
  await client.query("COMMIT");
}

/** Rows of one table, put in by the many. */
class Loading {
  readonly #client: pg.Client;
  readonly #statement: string;
  readonly #columns: (string | null)[][];
  #chars = 0;
  #rows = 0;

  constructor(client: pg.Client, table: string, columns: readonly BackupColumn[]) {
    this.#client = client;
    const names = columns.map(({ name }) => client.escapeIdentifier(name));
    const values = columns.map(({ type }, i) => `c${i}::${type}`);
    const given = columns.map((_, i) => `$${i + 1}::text[]`);
    const as = columns.map((_, i) => `c${i}`);
    this.#statement = `INSERT INTO rspp.${client.escapeIdentifier(table)} (${names}) SELECT ${values}
      FROM unnest(${given}) AS given (${as})`;
    this.#columns = columns.map(() => []);
  }

  async add(values: readonly (string | null)[]): Promise<void> {
    for (const [i, column] of this.#columns.entries()) {
      const value = values[i] ?? null;
      column.push(value);
      this.#chars += value?.length ?? 0;
    }
    this.#rows++;
    if (this.#rows >= insertRowsMax || this.#chars >= insertCharsMax) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#rows === 0) return;
    await this.#client.query(this.#statement, this.#columns);
    for (const column of this.#columns) column.length = 0;
    this.#rows = 0;
    this.#chars = 0;
  }
}

/** Numbers that a table counts by itself go on behind the highest one that is there. */
async function setSequences(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ table: string; column: string; sequence: string }>(
    `SELECT c.relname AS table, a.attname AS column, pg_get_serial_sequence('rspp.' || quote_ident(c.relname), a.attname) AS sequence
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relnamespace = 'rspp'::regnamespace AND c.relkind = 'r'
       AND pg_get_serial_sequence('rspp.' || quote_ident(c.relname), a.attname) IS NOT NULL`,
  );
  for (const { table, column, sequence } of rows) {
    const highest = `max(${client.escapeIdentifier(column)})`;
    const from = `rspp.${client.escapeIdentifier(table)}`;
    await client.query(`SELECT setval($1::regclass, coalesce(${highest}, 1), ${highest} IS NOT NULL) FROM ${from}`, [
      sequence,
    ]);
  }
}

/** What this database holds, and what this build would change in it; changes nothing. */
export function storeStatus(url: string): Promise<StoreStatus> {
  return connected(url, async (client) => {
    const { rows: about } = await client.query<{ server: string; bytes: string }>(
      "SELECT current_setting('server_version') AS server, pg_database_size(current_database())::text AS bytes",
    );
    const { server = "", bytes = "0" } = about[0] ?? {};
    const known = await readMigrations();
    const tables = await tablesOf(client);
    if (!tables.includes("migrations")) {
      const pending = known.map(({ name }) => name);
      return { server, bytes: Number(bytes), applied: [], pending, incarnation: 0, rows: {} };
    }
    const head = await headOf(client, 0);
    const counts: Record<string, number> = {};
    for (const table of tables) {
      if (table === "migrations") continue;
      const from = `rspp.${client.escapeIdentifier(table)}`;
      const { rows } = await client.query<{ n: string }>(`SELECT count(*)::text AS n FROM ${from}`);
      counts[table] = Number(rows[0]?.n ?? 0);
    }
    const applied = head.migrations.map(({ name }) => name);
    const pending = pendingAfter(head.migrations, known).map(({ name }) => name);
    return { server, bytes: Number(bytes), applied, pending, incarnation: head.incarnation, rows: counts };
  });
}

/** Brings the schema up to date. @returns what was applied. */
export async function migrateStore(url: string): Promise<readonly string[]> {
  const known = await readMigrations();
  return connected(url, (client) => migrate(client, known));
}
