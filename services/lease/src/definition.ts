import { sign } from "node:crypto";
import { performance } from "node:perf_hooks";
import { KeyRing } from "@rspp/host/key-ring";
import type { DatabaseService } from "@rspp/host/service";
import { limits } from "@rspp/protocol/limits";
import { openPgLeaseStore } from "@rspp/store/pg-lease-store";
import { pgStateStore } from "@rspp/store/pg-state-store";
import { pgTokenStore } from "@rspp/store/pg-token-store";
import { leaseFields } from "./config.ts";
import { createLeaseRoutes } from "./service.ts";
import type { GrantSigner } from "./wire.ts";

/** A grant is shown again as long as its session lives and moves: its key stays good for a day. */
const grantGraceMs = 86_400_000;

/** The lease service over the platform's database. */
export const leaseDefinition: DatabaseService<typeof leaseFields> = {
  service: "lease",
  fields: leaseFields,
  database: true,
  start: async ({ grant_key: reference, grant_key_days: keyDays, data: dataDir }, { env }, db) => {
    const wallMs = () => Date.now();
    const store = pgTokenStore(db);
    const place = { reference, dataDir, name: "lease-grant", env };
    const maxAgeMs = keyDays * 86_400_000;
    const keys = await KeyRing.open({ purpose: "lease-grant", place, store, graceMs: grantGraceMs, maxAgeMs, wallMs });
    const { routes, leases } = createLeaseRoutes({
      leaseStore: await openPgLeaseStore(db, limits.LEASE_TERM_MS),
      stateStore: pgStateStore(db),
      signer: signerOf(keys),
      monoMs: () => performance.now(),
    });
    return {
      routes,
      sweep: async () => {
        await leases.sweep();
        await keys.sweep();
      },
    };
  },
};

/** Signs with whichever key does now (F-169). */
function signerOf(keys: KeyRing): GrantSigner {
  return {
    get keyId() {
      return keys.current.keyId;
    },
    get publicKey() {
      return keys.current.publicKey;
    },
    sign: (bytes) => new Uint8Array(sign(null, bytes, keys.current.privateKey)),
    published: () => keys.list(),
  };
}
