import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Database, type DatabaseOptions, openDatabase } from "../database.ts";

export interface TestDatabase {
  readonly db: Database;
  readonly dataDir: string;
  /** Ends the server and removes its directory. */
  close(): Promise<void>;
}

/** A real server of its own in a temporary directory. A machine that cannot run one fails the test: there is no fake. */
export async function testDatabase(options: DatabaseOptions = {}): Promise<TestDatabase> {
  const dataDir = mkdtempSync(join(tmpdir(), "rspp-db-"));
  const remove = (): void => rmSync(dataDir, { recursive: true, force: true });
  try {
    const db = await openDatabase({ dataDir }, options);
    return {
      db,
      dataDir,
      close: async () => {
        await db.close();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}
