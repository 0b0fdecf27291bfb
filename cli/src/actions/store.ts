/** `rspp store`: the platform's database by itself (F-166, NF-031). */
import { existsSync } from "node:fs";
import { limits } from "@rspp/protocol/limits";
import { migrateStore, restoreBackup, storeStatus, writeBackup } from "@rspp/store/backup";
import { startServer } from "@rspp/store/pg-server";
import { secretSource } from "@rspp/store/secret";
import { StoreError } from "@rspp/store/store-error";
import type { StoreOptions } from "../commands/store.ts";
import { CommandError, EXIT_FAILED, EXIT_INPUT, EXIT_OK, EXIT_UNREACHABLE, usageError } from "../errors.ts";
import { createPrinter, type Printer } from "../output/printer.ts";
import { facts } from "../output/table.ts";
import { bytesWords, countWords, msWords, timeWords } from "../output/words.ts";

type Action = (url: string, file: string, printer: Printer) => Promise<void>;

const actions: Readonly<Record<string, Action>> = { status, backup, restore, migrate };
const withFile: readonly string[] = ["backup", "restore"];

export async function store(action: string, file: string | undefined, options: StoreOptions): Promise<number> {
  const run = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (run === undefined) {
    throw usageError(
      `${action}: is nothing that can be done with the store`,
      `name one of ${Object.keys(actions).join(", ")}`,
    );
  }
  if (withFile.includes(action) && file === undefined) {
    throw usageError(`${action}: no file is named`, `write \`rspp store ${action} FILE\``);
  }
  if (action === "backup" && file !== undefined && existsSync(file)) {
    throw usageError(`${file}: is there already`, "name another file: no backup is written over");
  }
  try {
    await withDatabase(options, (url) => run(url, file ?? "", createPrinter(options.json ?? false)));
    return EXIT_OK;
  } catch (error) {
    throw error instanceof StoreError ? told(error) : error;
  }
}

/** The database of a reference, or the embedded one, which is started for as long as it takes. */
async function withDatabase(options: StoreOptions, work: (url: string) => Promise<void>): Promise<void> {
  const { env } = process;
  const named = options.databaseUrl ?? env.RSPP_DATABASE_URL ?? (env.DATABASE_URL ? "env:DATABASE_URL" : "");
  if (named !== "") return work((await secretSource(named, env).read()).reveal());
  const server = await startServer({ dataDir: options.data });
  try {
    await work(server.url);
  } finally {
    await server.stop();
  }
}

function told({ code, message, remedy }: StoreError): CommandError {
  const inputs: readonly string[] = ["invalid", "corrupt", "conflict", "version_mismatch", "secret_missing"];
  const status = code === "unavailable" ? EXIT_UNREACHABLE : inputs.includes(code) ? EXIT_INPUT : EXIT_FAILED;
  return new CommandError({ status, reason: code, what: message, remedy });
}

async function status(url: string, _file: string, printer: Printer): Promise<void> {
  const found = await storeStatus(url);
  const { server, bytes, applied, pending, incarnation, rows } = found;
  printer.data({ ok: true, server, bytes, applied, pending, lease_incarnation: incarnation, rows });
  printer.lines(
    facts([
      ["server", `PostgreSQL ${server}`],
      ["size", bytesWords(bytes)],
      ["schema", applied.at(-1) ?? "none: the database is empty"],
      ["pending", pending.length === 0 ? "nothing" : pending.join(", ")],
      ["incarnation", incarnation === 0 ? "" : String(incarnation)],
      ...Object.entries(rows).map(([table, count]) => [table, countWords(count, "row")] as const),
    ]),
  );
}

async function backup(url: string, file: string, printer: Printer): Promise<void> {
  const done = await writeBackup(url, file, Date.now());
  printer.data({ ok: true, file, sha256: done.sha256, tables: done.tables, rows: done.rows, took_ms: done.tookMs });
  printer.line(
    `${file}  ${countWords(done.rows, "row")} of ${countWords(done.tables, "table")}, ${msWords(done.tookMs)}`,
  );
  printer.note("keys and recordings are files: keep `keys/` and `objects/` of the data directories as well");
}

async function restore(url: string, file: string, printer: Printer): Promise<void> {
  const done = await restoreBackup(url, file, limits.LEASE_TERM_MS);
  printer.data({
    ok: true,
    rows: done.rows,
    created_wall_ms: done.createdWallMs,
    lease_incarnation: done.incarnation,
    lease_incarnation_before: done.incarnationBefore,
    migrated: done.migrated,
    took_ms: done.tookMs,
  });
  printer.line(`restored ${countWords(done.rows, "row")} in ${msWords(done.tookMs)}`);
  printer.line(`as of    ${timeWords(done.createdWallMs)}: what came later is lost`);
  printer.line(
    `leases   incarnation ${done.incarnation} (was ${done.incarnationBefore}): holders ask again by themselves`,
  );
}

async function migrate(url: string, _file: string, printer: Printer): Promise<void> {
  const applied = await migrateStore(url);
  printer.data({ ok: true, applied });
  printer.line(applied.length === 0 ? "the schema is up to date" : `applied ${applied.join(", ")}`);
}
