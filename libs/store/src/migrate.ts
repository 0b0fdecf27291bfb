import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Client } from "pg";
import { StoreError } from "./store-error.ts";

export interface Migration {
  readonly id: number;
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of `sql`, hexadecimal. */
  readonly checksum: string;
  /**
   * The oldest build that still works on what it leaves, by the id of that build's last migration: said by a first line
   * `-- readable-by: 0007`; else its own id. So replicas of the version before may be started again while a fleet is
   * upgraded (NF-032).
   */
  readonly readableBy?: number;
}

/** "rspp" in ASCII: replicas that start together take turns. */
const advisoryLockKey = 0x72737070;
const lockWaitMs = 60_000;
const readableByLine = /^-- readable-by: (\d{4})$/m;
const fileName = /^(\d{4})_[a-z0-9_]+\.sql$/;

/** The SQL files of `dir` (default: this package's) in order. @throws StoreError `corrupt` on a gap or a stray file. */
export async function readMigrations(dir?: string): Promise<Migration[]> {
  const home = dir ?? fileURLToPath(new URL("../migrations/", import.meta.url));
  const names = (await readdir(home)).filter((name) => name.endsWith(".sql")).sort();
  const found: Migration[] = [];
  for (const name of names) {
    const id = Number(fileName.exec(name)?.[1]);
    if (id !== found.length + 1) {
      throw new StoreError(
        "corrupt",
        `Migration ${name} is out of order`,
        "Number them 0001_name.sql, 0002_name.sql, … without a gap",
      );
    }
    const sql = await readFile(`${home}/${name}`, "utf8");
    const readableBy = Number(readableByLine.exec(sql)?.[1] ?? id);
    found.push({ id, name, sql, checksum: createHash("sha256").update(sql).digest("hex"), readableBy });
  }
  return found;
}

/**
 * Applies what is missing, all in one transaction under an advisory lock: replicas racing here apply each file once, and
 * a failed or killed run leaves the schema as it was.
 *
 * @returns names of the migrations applied by this call.
 * @throws StoreError `version_mismatch` when the database is newer than this build and no longer fit for it, or a file changed
 * after it was applied.
 */
export async function migrate(client: Client, migrations: readonly Migration[]): Promise<string[]> {
  await client.query(`BEGIN; SET LOCAL lock_timeout = ${lockWaitMs}; SET LOCAL client_min_messages = warning`);
  try {
    await client.query("SELECT pg_advisory_xact_lock($1)", [advisoryLockKey]);
    await client.query(`CREATE SCHEMA IF NOT EXISTS rspp;
      CREATE TABLE IF NOT EXISTS rspp.migrations (
        id integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),
        readable_by integer)`);
    await addReadableBy(client);
    const { rows } = await client.query<Applied>(
      `SELECT id, name, checksum, coalesce(readable_by, id) AS "readableBy" FROM rspp.migrations ORDER BY id`,
    );
    const pending = pendingAfter(withoutReadable(rows, migrations.length), migrations);
    for (const { id, name, sql, checksum, readableBy = id } of pending) {
      await client.query(sql);
      const row = "INSERT INTO rspp.migrations (id, name, checksum, readable_by) VALUES ($1, $2, $3, $4)";
      await client.query(row, [id, name, checksum, readableBy]);
    }
    await client.query("COMMIT");
    return pending.map(({ name }) => name);
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

/** To a table of an earlier build; looked for first, since even an ALTER that does nothing waits for a backup under way. */
async function addReadableBy(client: Client): Promise<void> {
  const { rows } = await client.query(
    "SELECT 1 FROM pg_attribute WHERE attrelid = 'rspp.migrations'::regclass AND attname = 'readable_by'",
  );
  if (rows.length === 0) await client.query("ALTER TABLE rspp.migrations ADD COLUMN readable_by integer");
}

interface Applied {
  readonly id: number;
  readonly name: string;
  readonly checksum: string;
  readonly readableBy: number;
}

/** Without those that came after this build's last one, where all of them left what this build can work on. */
function withoutReadable(applied: readonly Applied[], known: number): readonly Applied[] {
  const later = applied.slice(known);
  return later.every(({ readableBy }) => readableBy <= known) ? applied.slice(0, known) : applied;
}

/** What `applied` lacks, after a check that it is the beginning of `migrations`. */
export function pendingAfter(
  applied: readonly { id: number; name: string; checksum: string }[],
  migrations: readonly Migration[],
): Migration[] {
  for (const [i, done] of applied.entries()) {
    const known = migrations[i];
    if (known === undefined) {
      throw new StoreError(
        "version_mismatch",
        `The database is newer than this build (it has migration ${done.name})`,
        "Start the newer build, or restore the backup taken before it",
      );
    }
    if (known.id !== done.id || known.checksum !== done.checksum) {
      throw new StoreError(
        "version_mismatch",
        `Migration ${known.name} is not the one that was applied here (${done.name})`,
        "Put the released file back and write the change as a new migration",
      );
    }
  }
  return migrations.slice(applied.length);
}
