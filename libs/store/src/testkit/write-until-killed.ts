// A process for tests: opens the database of the directory it is given (or the one at a URL), says so, and writes rows
// one by one, telling each that was committed, until it is killed. With `open` it ends once it has opened.
import { sql } from "drizzle-orm";
import { openDatabase } from "../database.ts";

const [where = "", mode = "write"] = process.argv.slice(2);
const db = await openDatabase(where.includes("://") ? { url: where } : { dataDir: where });
process.stdout.write(`open ${db.server?.pid() ?? 0}\n`);
if (mode === "open") {
  await db.close();
} else {
  await db.transaction((tx) => tx.execute(sql`CREATE TABLE IF NOT EXISTS written (n bigint PRIMARY KEY)`));
  for (let n = 1; ; n++) {
    await db.transaction((tx) => tx.execute(sql`INSERT INTO written VALUES (${n})`));
    process.stdout.write(`wrote ${n}\n`);
  }
}
