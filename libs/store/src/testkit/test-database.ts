import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Database, type DatabaseOptions, openDatabase } from "../database.ts";
import { startDebianServer } from "./debian-server.ts";

export interface TestDatabase {
  readonly db: Database;
  readonly dataDir: string;
  /** Ends the server and removes its directory. */
  close(): Promise<void>;
}

/** Set by suites that run the same tests on another server: `debian`. The embedded one by default. */
export const serverVariable = "RSPP_TEST_POSTGRES";

/** A real server of its own in a temporary directory. A machine that cannot run one fails the test: there is no fake. */
export async function testDatabase(options: DatabaseOptions = {}): Promise<TestDatabase> {
  const dataDir = mkdtempSync(join(tmpdir(), "rspp-db-"));
  const remove = (): void => rmSync(dataDir, { recursive: true, force: true });
  try {
    const debian = process.env[serverVariable] === "debian" ? await startDebianServer() : undefined;
    const db = await openDatabase(debian === undefined ? { dataDir } : { url: debian.url }, options).catch(
      async (error) => {
        await debian?.close();
        throw error;
      },
    );
    return {
      db,
      dataDir,
      close: async () => {
        await db.close();
        await debian?.close();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}
