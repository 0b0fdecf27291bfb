import { canonicalJson } from "@rspp/base/canonical-json";
import type { RpcRoute } from "@rspp/rpc/route";
import type { LeaseStore } from "@rspp/store/lease-store";
import type { StateStore } from "@rspp/store/state-store";
import { leaseRoute } from "./handlers.ts";
import { createLeaseService, type LeaseService } from "./lease-service.ts";
import { stateRoute } from "./state-handlers.ts";
import type { GrantSigner } from "./wire.ts";

export interface LeasePorts {
  readonly leaseStore: LeaseStore;
  readonly stateStore: StateStore;
  readonly signer: GrantSigner;
  /** Monotonic milliseconds of this process. */
  readonly monoMs: () => number;
}

export interface LeaseRoutes {
  readonly routes: readonly RpcRoute[];
  readonly leases: LeaseService;
}

/** Leases and session state as a library: put the routes on any server. */
export function createLeaseRoutes({ leaseStore, stateStore, signer, monoMs }: LeasePorts): LeaseRoutes {
  const leases = createLeaseService({
    store: leaseStore,
    monoMs,
    // Kept with the row as evidence; callers are given the signature over the contract's bytes.
    sign: (grant) => {
      const signature = signer.sign(new TextEncoder().encode(canonicalJson(grant)));
      return `${signer.keyId}.${Buffer.from(signature).toString("base64url")}`;
    },
  });
  return { routes: [leaseRoute({ leases, store: leaseStore, signer }), stateRoute(stateStore)], leases };
}
