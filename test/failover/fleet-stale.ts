/**
 * Counts what receivers accept of an epoch that is over (kernel.md §7, F8), apart from the receivers: session state by a trigger
 * in the database that compares each write with the lease in force, the timeline by the instants of its records.
 */
import pg from "pg";
import { until } from "./fleet-process.ts";

const INSTALL = `
  CREATE TABLE public.state_writes (session_id text, epoch bigint, floor bigint);
  CREATE FUNCTION public.note_state_write() RETURNS trigger AS $$ BEGIN
    INSERT INTO public.state_writes
      SELECT NEW.session_id, NEW.epoch, l.epoch FROM rspp.leases l
      WHERE l.tenant_id = NEW.tenant_id AND l.session_id = NEW.session_id;
    RETURN NEW;
  END $$ LANGUAGE plpgsql;
  CREATE TRIGGER note_state_write BEFORE INSERT OR UPDATE ON rspp.session_states
    FOR EACH ROW WHEN (NEW.version > 0) EXECUTE FUNCTION public.note_state_write();`;

export class StaleWatch {
  readonly #database: pg.Client;

  /** Once the tables are there. */
  static async on(url: string): Promise<StaleWatch> {
    const database = new pg.Client({ connectionString: url });
    // It is taken away with its server.
    database.on("error", () => {});
    await database.connect();
    await database.query(INSTALL);
    return new StaleWatch(database);
  }

  constructor(database: pg.Client) {
    this.#database = database;
  }

  /** Writes of session state: all, and those below the epoch of the lease as it stood. */
  async stateWrites(): Promise<{ all: number; stale: number }> {
    const { rows } = await this.#database.query(
      "SELECT count(*)::int AS all, (count(*) FILTER (WHERE epoch < floor))::int AS stale FROM public.state_writes",
    );
    return rows[0];
  }

  /** When a receiver had acknowledged a floor above `epoch`, by the wall clock; waits for it. */
  async floorOf(session: string, receiver: string, epoch: number): Promise<number> {
    let at: number | undefined;
    await until(async () => {
      const { rows } = await this.#database.query(
        `SELECT acknowledged_wall_ms::float8 AS at FROM rspp.lease_floors
         WHERE session_id = $1 AND receiver_id = $2 AND floor_epoch > $3`,
        [session, receiver, epoch],
      );
      at = rows[0]?.at;
      return at !== undefined;
    }, `${receiver} acknowledges the floor of ${session}`);
    return at ?? 0;
  }

  close(): Promise<void> {
    return this.#database.end();
  }
}
