/** What the clients ask: calls over a few sessions at a time, most of them sensible, some late, repeated, or of nobody. */
import { setTimeout as pause } from "node:timers/promises";
import pg from "pg";
import type { LeaseCall } from "./lease-model.ts";
import { askLease, keepAlive, type Recorder, tenantId } from "./lease-recorder.ts";
import type { Replica, Replicas } from "./lease-replicas.ts";

export interface WorkloadOptions {
  readonly replicas: Replicas;
  readonly recorder: Recorder;
  readonly clients: number;
  /** Asked again and again before each call. */
  readonly enough: () => boolean;
  readonly random: () => number;
}

const sessionsAtOnce = 4;
const callsMax = 70;
const lostMax = 6;
const lifeMaxMs = 30_000;
const holders = ["a", "b", "c"] as const;
export type AskedCall = Exclude<LeaseCall, { kind: "lapse" }>;

export interface SeenEpoch {
  readonly epoch: number;
  readonly holder: string;
}

export function pick<T>(among: readonly T[], random: () => number): T {
  const found = among[Math.floor(random() * among.length)];
  if (found === undefined) throw new Error("nothing to choose from");
  return found;
}

/** A call about a session of which `epochs` were heard, newest last. */
export function drawCall(epochs: readonly SeenEpoch[], key: string, random: () => number): AskedCall {
  const back = random() < 0.75 ? 1 : 1 + Math.floor(random() * Math.min(4, epochs.length));
  const known = epochs.at(-back);
  const dice = random();
  if (dice < 0.25) return { kind: "get" };
  const other = pick(holders, random);
  if (known === undefined || dice < 0.4) {
    const takeover = random() < 0.5;
    const expected = takeover && random() < 0.5 ? (known?.epoch ?? 0) : 0;
    return { kind: "grant", holder: other, takeover, expected, key };
  }
  const { epoch } = known;
  // Mostly by who has it.
  const holder = random() < 0.9 ? known.holder : other;
  if (dice < 0.6) return { kind: "renew", holder, epoch };
  if (dice < 0.75) return { kind: "rotate", holder, epoch, key };
  if (dice < 0.87) return { kind: "transfer", holder, to: holder === other ? `${other}2` : other, epoch, key };
  return dice < 0.94 ? { kind: "revoke", epoch } : { kind: "release", holder, epoch };
}

/** What the clients know of one session, all together. */
interface Known {
  readonly name: string;
  /** As told, newest last. */
  readonly epochs: SeenEpoch[];
  lastKeyed: AskedCall | null;
  calls: number;
  /** Answers that were lost. */
  lost: number;
  readonly sinceMs: number;
}

/** Runs until the time is over; every call that was made is in the recorder then. */
export async function runWorkload(options: WorkloadOptions): Promise<void> {
  const lapser = new pg.Client({ connectionString: options.replicas.databaseUrl });
  await lapser.connect();
  const sessions = new Sessions();
  try {
    const clients = Array.from({ length: options.clients }, (_, i) => new Client(i, options, sessions, lapser));
    await Promise.all(clients.map((client) => client.run()));
  } finally {
    await lapser.end();
  }
}

/** A session that was asked enough of gives its place to another: histories stay short enough to be searched. */
class Sessions {
  readonly #slots = new Map<number, Known>();
  #count = 0;

  at(slot: number): Known {
    const found = this.#slots.get(slot);
    // Before its term could run out by itself.
    if (found && found.calls < callsMax && found.lost < lostMax && performance.now() - found.sinceMs < lifeMaxMs) {
      found.calls++;
      return found;
    }
    const next = {
      name: `s${this.#count++}`,
      epochs: [],
      lastKeyed: null,
      calls: 1,
      lost: 0,
      sinceMs: performance.now(),
    };
    this.#slots.set(slot, next);
    return next;
  }
}

class Client {
  readonly #id: number;
  readonly #options: WorkloadOptions;
  readonly #sessions: Sessions;
  readonly #lapser: pg.Client;
  #calls = 0;

  constructor(id: number, options: WorkloadOptions, sessions: Sessions, lapser: pg.Client) {
    this.#id = id;
    this.#options = options;
    this.#sessions = sessions;
    this.#lapser = lapser;
  }

  async run(): Promise<void> {
    while (!this.#options.enough()) {
      const replica = pick(this.#options.replicas.all, this.#options.random);
      // Now and then a replica that is stopped is asked too: what becomes of that call is not known for long.
      if (replica.stopped && this.#options.random() < 0.8) {
        await pause(2);
        continue;
      }
      if (replica.running !== null) await this.#one(replica, replica.running.rpc);
      await pause(2 + 8 * this.#options.random());
    }
  }

  async #one(replica: Replica, rpc: NonNullable<Replica["running"]>["rpc"]): Promise<void> {
    const { recorder, random } = this.#options;
    const dice = random();
    if (dice < 0.06) return this.#keepAlive(rpc);
    const session = this.#sessions.at(Math.floor(random() * sessionsAtOnce));
    if (dice < 0.1) return this.#lapse(session);
    const again = dice < 0.18 ? session.lastKeyed : null;
    const call = again ?? drawCall(session.epochs, `${replica.name}-${this.#id}-${this.#calls++}`, random);
    if ("key" in call) session.lastKeyed = call;
    const ask = () => askLease(rpc, session.name, call);
    const answer = await recorder.record(this.#id, session.name, call, ask);
    if (answer?.ok && answer.holder !== "") session.epochs.push({ epoch: answer.epoch, holder: answer.holder });
    if (answer === undefined) session.lost++;
    if (answer !== undefined || !("key" in call) || random() < 0.4) return;
    // The answer was lost: whoever needs it asks again under the same key, another replica perhaps.
    const other = this.#options.replicas.all.find(({ running, stopped }) => running !== null && !stopped)?.running;
    if (other) await recorder.record(this.#id, session.name, call, () => askLease(other.rpc, session.name, call));
  }

  async #keepAlive(rpc: NonNullable<Replica["running"]>["rpc"]): Promise<void> {
    const holder = pick(holders, this.#options.random);
    const held = Array.from({ length: sessionsAtOnce }, (_, slot) => this.#sessions.at(slot)).flatMap((session) => {
      const last = session.epochs.at(-1);
      return last === undefined ? [] : [{ session: session.name, epoch: last.epoch }];
    });
    if (held.length === 0) return;
    const asked = held.map(({ session, epoch }) => ({ session, input: { kind: "renew", holder, epoch } as const }));
    await this.#options.recorder.recordAll(this.#id, asked, () => keepAlive(rpc, holder, held));
  }

  /** The term of whoever has the session is over, as if its holder had been silent for a minute. */
  async #lapse(session: Known): Promise<void> {
    await this.#options.recorder.record(this.#id, session.name, { kind: "lapse" }, async () => {
      await this.#lapser.query(
        `UPDATE rspp.leases SET expires_wall_ms = floor(extract(epoch from clock_timestamp()) * 1000)::bigint - 1000
         WHERE tenant_id = $1 AND session_id = $2 AND ended_wall_ms = 0 AND NOT revoked`,
        [tenantId, session.name],
      );
      return { ok: true, epoch: 0, holder: "", state: "expired" };
    });
  }
}
