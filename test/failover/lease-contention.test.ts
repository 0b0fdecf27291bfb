/**
 * Is a lease linearizable where everybody wants the same one, and would it show if it were not? The faults are planted in
 * what the shipped logic sends to PostgreSQL and in the replicas; each must be found, whatever the seed (kernel.md §7).
 *
 * RSPP_CONTEND_OPERATIONS: how many calls of the sound replicas, default 400.
 */
import type { LeaseService } from "@rspp/lease/lease-service";
import { runSql } from "@rspp/store/testkit/run-sql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Contention, type Fault, openContention } from "./lease-contention-rig.ts";

const operations = Number(process.env.RSPP_CONTEND_OPERATIONS ?? 400);
/** Within so many calls a planted fault must have shown. */
const operationsMax = 4_000;
const seeds = [1, 2];

let contention: Contention;
beforeAll(async () => {
  contention = await openContention();
}, 60_000);
afterAll(() => contention.close());

test("F-095 NF-027 where all clients of three replicas want one session, what they hear is linearizable", async () => {
  const { violation, failed, operations: done } = await contention.run({}, 7, operations);
  expect(violation).toBeUndefined();
  expect(failed).toBe(0);
  expect(done).toBeGreaterThanOrEqual(operations);
}, 120_000);

const noSessionLock = (statement: string): string =>
  statement.replace("rspp.lock_lease_session($1, $2)", "rspp.lock_leases(), $1::text, $2::text");
const noRowLock = (statement: string): string => statement.replace(/ for update$/, "");

/** The epoch asked under is not compared with the one in force. */
function withoutCompare(service: LeaseService): LeaseService {
  const inForce = async (session: Parameters<LeaseService["get"]>[0], epoch: number) =>
    (await service.get(session))?.lease.epoch ?? epoch;
  return {
    ...service,
    rotate: async (ask) => service.rotate({ ...ask, epoch: await inForce(ask.session, ask.epoch) }),
    renew: async (ask) => service.renew({ ...ask, epoch: await inForce(ask.session, ask.epoch) }),
    revoke: async (session, epoch) => service.revoke(session, await inForce(session, epoch)),
  };
}

/** A replica that answers reads from what it read before, now and then. */
function withOldReads(service: LeaseService): LeaseService {
  const kept = new Map<string, Awaited<ReturnType<LeaseService["get"]>>>();
  let reads = 0;
  return {
    ...service,
    get: async (session) => {
      const old = kept.get(session.sessionId);
      if (old !== undefined && reads++ % 2 === 0) return old;
      const found = await service.get(session);
      kept.set(session.sessionId, found);
      return found;
    },
  };
}

const faults: Record<string, Fault> = {
  "no lock at all": { rewrite: (statement) => noRowLock(noSessionLock(statement)) },
  "no lock on a session nobody has yet": { rewrite: noSessionLock },
  "no lock on the row that is renewed": { rewrite: noRowLock },
  "an epoch that is not compared": { service: withoutCompare },
  "reads of what is over": { service: withOldReads },
  "epochs that go down": {
    before: "ALTER TABLE rspp.leases DISABLE TRIGGER leases_only_rise; DROP INDEX IF EXISTS rspp.leases_epoch",
    after: "ALTER TABLE rspp.leases ENABLE TRIGGER leases_only_rise",
    service: (service, db) => ({
      ...service,
      release: async (ask) => {
        const answer = await service.release(ask);
        if (answer.ok) await runSql(db, "SELECT setval('rspp.lease_epochs', last_value - 100) FROM rspp.lease_epochs");
        return answer;
      },
    }),
  },
};

describe("a planted fault is found", () => {
  test.each(Object.entries(faults))(
    "F-095 NF-027 %s",
    async (_name, fault) => {
      for (const seed of seeds) {
        const { violation, operations: done } = await contention.run(fault, seed, operationsMax);
        process.stdout.write(`seed ${seed}: ${violation === undefined ? "not found" : "found"} after ${done} calls\n`);
        expect(violation, `seed ${seed}`).toBeDefined();
      }
    },
    120_000,
  );
});
