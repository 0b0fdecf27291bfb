/**
 * Three replicas of the lease service's logic in this process, each with connections of its own to one PostgreSQL, asked by
 * clients that all want the same session. Every statement may be held up, so that transactions meet in the middle, and
 * rewritten, so that a fault can be planted where the store relies on the database.
 */
import { setTimeout as pause } from "node:timers/promises";
import { createLeaseService, type LeaseService } from "@rspp/lease/lease-service";
import { limits } from "@rspp/protocol/limits";
import { type Database, openDatabase } from "@rspp/store/database";
import { openPgLeaseStore } from "@rspp/store/pg-lease-store";
import type { SessionKey } from "@rspp/store/state-store";
import { runSql } from "@rspp/store/testkit/run-sql";
import { testDatabase } from "@rspp/store/testkit/test-database";
import pg from "pg";
import { Rng } from "../sim/rng.ts";
import { checkLinearizable } from "./checker.ts";
import { carryOut } from "./lease-carry-out.ts";
import { leaseModel } from "./lease-model.ts";
import { type LeaseOperation, Recorder } from "./lease-recorder.ts";
import { type AskedCall, drawCall, pick, type SeenEpoch } from "./lease-workload.ts";

/** What is wrong with the replicas, on purpose. */
export interface Fault {
  readonly rewrite?: (statement: string) => string;
  readonly service?: (service: LeaseService, db: Database) => LeaseService;
  /** Into the database, before; taken back by `after`. */
  readonly before?: string;
  readonly after?: string;
}

export interface Contention {
  /** Sessions one after the other until `operations` are recorded, or one session's history is found impossible. */
  run(fault: Fault, seed: number, operations: number): Promise<Outcome>;
  close(): Promise<void>;
}

export interface Outcome {
  readonly operations: number;
  /** Calls that rejected: what became of them is not known. */
  readonly failed: number;
  readonly violation: readonly LeaseOperation[] | undefined;
}

const replicas = 3;
const clients = 8;
const callsPerClient = 6;
const heldUpMs = 4;
const tenantId = "contended";

/** Between each statement of anybody and the database, while a run is on. */
const way: { rewrite: (statement: string) => string; random: (() => number) | null } = {
  rewrite: (statement) => statement,
  random: null,
};

type Query = (this: pg.Client, config: unknown, ...rest: unknown[]) => unknown;

/** Statements that are awaited go through `way`; the pool's own do not. */
function interpose(): () => void {
  const prototype = pg.Client.prototype as unknown as { query: Query };
  const { query } = prototype;
  prototype.query = function (config, ...rest) {
    const text = typeof config === "string" ? config : (config as { text?: unknown } | null)?.text;
    const { random, rewrite } = way;
    if (random === null || typeof text !== "string" || typeof rest.at(-1) === "function") {
      return query.call(this, config, ...rest);
    }
    const rewritten = typeof config === "string" ? rewrite(text) : { ...(config as object), text: rewrite(text) };
    return pause(Math.floor(random() * heldUpMs)).then(() => query.call(this, rewritten, ...rest));
  };
  return () => {
    prototype.query = query;
  };
}

export async function openContention(): Promise<Contention> {
  const at = await testDatabase();
  const others = await Promise.all(Array.from({ length: replicas - 1 }, () => openDatabase({ url: at.db.url })));
  const dbs = [at.db, ...others];
  const services = await Promise.all(
    dbs.map(async (db) => {
      const store = await openPgLeaseStore(db, limits.LEASE_TERM_MS);
      return createLeaseService({ store, sign: ({ epoch }) => `${epoch}`, monoMs: () => performance.now() });
    }),
  );
  const restore = interpose();
  return {
    run: async (fault, seed, operations) => {
      const rng = new Rng(String(seed), "contended leases");
      const random = () => rng.float(0, 1);
      if (fault.before) await runSql(at.db, fault.before);
      way.rewrite = fault.rewrite ?? ((statement) => statement);
      way.random = random;
      const wrap = fault.service ?? ((service: LeaseService) => service);
      const asked = services.map((service, i) => wrap(service, dbs[i] ?? at.db));
      try {
        return await runSessions({ services: asked, db: at.db, random, seed }, operations);
      } finally {
        way.random = null;
        if (fault.after) await runSql(at.db, fault.after);
      }
    },
    close: async () => {
      restore();
      for (const db of others) await db.close();
      await at.close();
    },
  };
}

interface Run {
  readonly services: readonly LeaseService[];
  readonly db: Database;
  readonly random: () => number;
  readonly seed: number;
}

let sessions = 0;

async function runSessions(run: Run, operations: number): Promise<Outcome> {
  let [done, failed] = [0, 0];
  while (done < operations) {
    const recorder = new Recorder();
    const sessionId = `s${run.seed}-${sessions++}`;
    failed += await contend(run, recorder, { tenantId, sessionId });
    const history = [...(recorder.histories().get(sessionId) ?? [])].sort((a, b) => a.called - b.called);
    done += history.length;
    const verdict = checkLinearizable(leaseModel, history);
    if (verdict.kind === "undecided") throw new Error("a history is too long to be searched");
    if (verdict.kind === "violation") return { operations: done, failed, violation: history };
  }
  return { operations: done, failed, violation: undefined };
}

/** All clients on one session, from its first grant on. */
async function contend(run: Run, recorder: Recorder, session: SessionKey): Promise<number> {
  const { services, random, db } = run;
  const epochs: SeenEpoch[] = [];
  let lastKeyed: AskedCall | undefined;
  let failed = 0;
  const lapse = ({ sessionId }: SessionKey) =>
    runSql(
      db,
      `UPDATE rspp.leases SET expires_wall_ms = floor(extract(epoch from clock_timestamp()) * 1000)::bigint - 1000
       WHERE session_id = '${sessionId}' AND ended_wall_ms = 0 AND NOT revoked`,
    );
  const client = async (id: number): Promise<void> => {
    for (let i = 0; i < callsPerClient; i++) {
      const again = random() < 0.12 ? lastKeyed : undefined;
      const lapses = again === undefined && epochs.length > 0 && random() < 0.2;
      const call = lapses ? ({ kind: "lapse" } as const) : (again ?? drawCall(epochs, `${id}-${i}`, random));
      if ("key" in call) lastKeyed = call;
      const service = pick(services, random);
      const answer = await recorder.record(id, session.sessionId, call, () =>
        carryOut(service, session, call, lapse).catch(() => undefined),
      );
      if (answer === undefined) failed++;
      if (answer?.ok && answer.holder !== "") epochs.push({ epoch: answer.epoch, holder: answer.holder });
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, id) => client(id)));
  return failed;
}
