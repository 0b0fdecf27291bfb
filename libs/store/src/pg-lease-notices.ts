/** What one replica keeps besides the database: who is to be woken, and about how many sessions are alive. */
import { count, eq, sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import { leases as l } from "./schema.ts";

/** Notified when there may be changes of leases. */
export const leaseChannel = "rspp_leases";
/** Between two counts of all sessions. */
const countEveryMs = 5_000;

/**
 * Wakes watchers behind the commits, one notice for all that came meanwhile: in the transactions themselves it would put
 * their commits into one row, since PostgreSQL takes them one at a time that notify. Lost with the process; watchers look
 * by themselves as well.
 */
export function leaseTeller(db: Database): () => void {
  let under = false;
  let again = false;
  const tell = async (): Promise<void> => {
    do {
      again = false;
      await db.transaction((tx) => tx.execute(sql`SELECT pg_notify(${leaseChannel}, '')`)).catch(() => undefined);
    } while (again);
    under = false;
  };
  return () => {
    again = true;
    if (under) return;
    under = true;
    void tell();
  };
}

/** Sessions alive, for a bound that need not be exact: counted every few seconds, with what this replica did since. */
export class AliveCount {
  #count = 0;
  #countedMs = Number.NEGATIVE_INFINITY;
  #since = 0;

  async now(tx: Tx): Promise<number> {
    if (performance.now() - this.#countedMs > countEveryMs) {
      this.#countedMs = performance.now();
      const before = this.#since;
      const [row] = await tx.select({ n: count() }).from(l).where(eq(l.endedWallMs, 0));
      this.#count = row?.n ?? 0;
      this.#since -= before;
    }
    return Math.max(0, this.#count + this.#since);
  }

  add(sessions: number): void {
    this.#since += sessions;
  }
}
