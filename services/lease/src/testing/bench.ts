/**
 * How many leases a second are granted to sessions of their own, at replicas on one PostgreSQL. Prints a line of JSON.
 * `node services/lease/src/testing/bench.ts [grants] [at once] [replicas]`; not a test.
 */
import { limits } from "@rspp/protocol/limits";
import { openDatabase } from "@rspp/store/database";
import { openPgLeaseStore } from "@rspp/store/pg-lease-store";
import { testDatabase } from "@rspp/store/testkit/test-database";
import { createLeaseService } from "../lease-service.ts";

const [grants = 2_000, atOnce = 64, replicas = 2] = process.argv.slice(2).map(Number);
const at = await testDatabase();
const others = await Promise.all(Array.from({ length: replicas - 1 }, () => openDatabase({ url: at.db.url })));
const services = await Promise.all(
  [at.db, ...others].map(async (db) => {
    const store = await openPgLeaseStore(db, limits.LEASE_TERM_MS);
    return createLeaseService({ store, sign: () => "s", monoMs: () => performance.now() });
  }),
);
let next = 0;
const waits: number[] = [];
const startMs = performance.now();
await Promise.all(
  Array.from({ length: atOnce }, async () => {
    for (let i = next++; i < grants; i = next++) {
      const session = { tenantId: "bench", sessionId: `s${i}` };
      const ask = { session, holder: "h", receivers: ["r"], takeover: false, expectedEpoch: 0, requestKey: `k${i}` };
      const askedMs = performance.now();
      const granted = await services[i % services.length]?.grant(ask);
      waits.push(performance.now() - askedMs);
      if (granted?.ok !== true) throw new Error("not granted");
    }
  }),
);
const seconds = (performance.now() - startMs) / 1_000;
waits.sort((a, b) => a - b);
const told = { grants, atOnce, replicas, perSecond: Math.round(grants / seconds) };
process.stdout.write(`${JSON.stringify({ ...told, p95Ms: Math.round(waits[Math.floor(grants * 0.95)] ?? 0) })}\n`);
for (const db of others) await db.close();
await at.close();
