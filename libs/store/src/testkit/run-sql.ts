import { sql } from "drizzle-orm";
import type { Database } from "../database.ts";

/** For tests that look behind the stores, or make what a store would not. */
export async function runSql(db: Database, text: string): Promise<readonly Record<string, unknown>[]> {
  return (await db.transaction((tx) => tx.execute(sql.raw(text)))).rows;
}
