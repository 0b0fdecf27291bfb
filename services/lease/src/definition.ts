import { sign } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { DatabaseService } from "@rspp/host/service";
import { openSigningKey } from "@rspp/host/signing-key";
import { limits } from "@rspp/protocol/limits";
import { openPgLeaseStore } from "@rspp/store/pg-lease-store";
import { pgStateStore } from "@rspp/store/pg-state-store";
import { leaseFields } from "./config.ts";
import { createLeaseRoutes } from "./service.ts";

/** The lease service over the platform's database. */
export const leaseDefinition: DatabaseService<typeof leaseFields> = {
  service: "lease",
  fields: leaseFields,
  database: true,
  start: async ({ grant_key: reference, data: dataDir }, { env }, db) => {
    const { keyId, publicKey, privateKey } = await openSigningKey({ reference, dataDir, name: "lease-grant", env });
    const { routes, leases } = createLeaseRoutes({
      leaseStore: await openPgLeaseStore(db, limits.LEASE_TERM_MS),
      stateStore: pgStateStore(db),
      signer: { keyId, publicKey, sign: (bytes) => new Uint8Array(sign(null, bytes, privateKey)) },
      monoMs: () => performance.now(),
    });
    return { routes, sweep: () => leases.sweep() };
  },
};
