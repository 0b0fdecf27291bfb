/**
 * Counts what receivers accept of an epoch that is over (kernel.md §7, F8), apart from the receivers: session state by a trigger
 * in the database that compares each write with the lease in force, the timeline by the instants of its records.
 */
import pg from "pg";

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

export interface Floor {
  readonly session: string;
  readonly receiver: string;
  readonly epoch: number;
  readonly ackedWallMs: number;
}

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

  async floors(): Promise<Floor[]> {
    const { rows } = await this.#database.query(
      `SELECT session_id AS session, receiver_id AS receiver, floor_epoch::float8 AS epoch,
              acknowledged_wall_ms::float8 AS "ackedWallMs" FROM rspp.lease_floors`,
    );
    return rows;
  }

  close(): Promise<void> {
    return this.#database.end();
  }
}
