import { limits } from "@rspp/protocol/limits";
import { type Database, openDatabase } from "@rspp/store/database";
import type { LeaseStore } from "@rspp/store/lease-store";
import { openPgLeaseStore } from "@rspp/store/pg-lease-store";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLeaseService, type LeaseService } from "./lease-service.ts";
import { watchLeases } from "./lease-watch.ts";

// Two replicas on one database: who watches at one learns what the other did, in the order of the store.

let at: TestDatabase;
let second: Database;
let stores: [LeaseStore, LeaseStore];
let replicas: [LeaseService, LeaseService];

beforeAll(async () => {
  at = await testDatabase();
  second = await openDatabase({ url: at.db.url });
  stores = [await openPgLeaseStore(at.db, limits.LEASE_TERM_MS), await openPgLeaseStore(second, limits.LEASE_TERM_MS)];
  const ports = { sign: () => "s", monoMs: () => performance.now() };
  replicas = [createLeaseService({ store: stores[0], ...ports }), createLeaseService({ store: stores[1], ...ports })];
});
afterAll(async () => {
  await second.close();
  await at.close();
});

let count = 0;
const grantAt = async (replica: LeaseService, sessionId: string, tenantId: string) => {
  const session = { tenantId, sessionId };
  const ask = { session, holder: `h${count++}`, receivers: [], takeover: true, expectedEpoch: 0 };
  return replica.grant({ ...ask, requestKey: `k${count}` });
};

/** What a watch tells until `until`, with the number of looks it took; looks by itself every `wakeEveryMs`. */
function watching(store: LeaseStore, tenantId: string, wakeEveryMs: number) {
  const stop = new AbortController();
  const synced = Promise.withResolvers<void>();
  const seen: { seq: number; session: string; holder: string | null }[] = [];
  let wake = (): void => undefined;
  const done = (async () => {
    for await (const batch of watchLeases(store, { tenantId }, stop.signal, wakeEveryMs)) {
      for (const { seq, lease } of batch.changes) {
        seen.push({ seq, session: lease.session.sessionId, holder: lease.holder });
      }
      if (batch.synced) synced.resolve();
      wake();
    }
  })();
  return {
    synced: synced.promise,
    seen,
    until: async (there: () => boolean) => {
      while (!there()) await new Promise<void>((resolve) => (wake = resolve));
    },
    stop: async () => {
      stop.abort();
      await done;
    },
  };
}

const never = 3_600_000;

test("F-095 a watch at one replica is woken by what another did, without looking by itself", async () => {
  const watch = watching(stores[1], "notified", never);
  await watch.synced;
  await grantAt(replicas[0], "s", "notified");
  await watch.until(() => watch.seen.length > 0);
  await watch.stop();
});

test("F-095 where notifications are lost, it looks by itself and learns all the same", async () => {
  const deaf: LeaseStore = { ...stores[1], onChange: () => ({ close: () => undefined }) };
  const watch = watching(deaf, "polled", 20);
  await watch.synced;
  await grantAt(replicas[0], "s", "polled");
  await watch.until(() => watch.seen.length > 0);
  await watch.stop();
});

test("F-095 a listening connection that the server ended is opened again, and nothing is missed", async () => {
  const watch = watching(stores[1], "cut", never);
  await watch.synced;
  await grantAt(replicas[0], "first", "cut");
  await watch.until(() => watch.seen.length === 1);
  await second.transaction(async (tx) => {
    await tx.execute(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'`);
  });
  await grantAt(replicas[0], "second", "cut");
  await watch.until(() => watch.seen.some(({ session }) => session === "second"));
  await watch.stop();
});

test("F-095 changes over two replicas at once are told in one order, the newest of each session at the end", async () => {
  const watch = watching(stores[1], "ordered", never);
  await watch.synced;
  const sessions = ["a", "b", "c"];
  await Promise.all(
    Array.from({ length: 30 }, (_, i) => grantAt(replicas[i % 2 === 0 ? 0 : 1], sessions[i % 3] ?? "a", "ordered")),
  );
  const newest = async (sessionId: string) => (await stores[0].get({ tenantId: "ordered", sessionId }))?.lease.holder;
  const wanted = await Promise.all(sessions.map(newest));
  const told = () => sessions.map((session) => watch.seen.findLast((one) => one.session === session)?.holder);
  await watch.until(() => JSON.stringify(told()) === JSON.stringify(wanted));
  await watch.stop();
  const order = watch.seen.map(({ seq }) => seq);
  expect(order).toEqual([...order].sort((one, other) => one - other));
  expect(new Set(order).size).toBe(order.length);
});
