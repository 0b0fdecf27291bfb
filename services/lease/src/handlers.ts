/** The calls of leases: request to logic to response; messages are validated before they come here (libs/rpc). */

import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { LeaseService as LeaseContract } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { fieldError, overStore, storeFailure } from "@rspp/host/store-failure";
import { rpcError } from "@rspp/rpc/errors";
import { type RpcRoute, route } from "@rspp/rpc/route";
import type { LeaseChangeRow, LeaseFilter, LeaseStore } from "@rspp/store/lease-store";
import type { LeaseAnswer, LeaseService } from "./lease-service.ts";
import { watchLeases } from "./lease-watch.ts";
import { storedReceivers } from "./receivers.ts";
import { domain, leaseError } from "./refusals.ts";
import { floorToWire, type GrantSigner, leaseToWire, sessionOf, signedToWire } from "./wire.ts";

export interface LeaseLogic {
  readonly leases: LeaseService;
  readonly store: LeaseStore;
  readonly signer: GrantSigner;
  /** For what is told only: expiry is decided by the store's clock. */
  wallMs(): number;
}

export function leaseRoute(logic: LeaseLogic): RpcRoute {
  return route(LeaseContract, { ...holderCalls(logic), ...receiverCalls(logic) });
}

function holderCalls({ leases, signer, wallMs }: LeaseLogic) {
  const inForce = ({ lease }: LeaseAnswer) => ({
    lease: leaseToWire(lease, wallMs()),
    signed: signedToWire(lease, signer),
  });
  return {
    grantLease: (ask) =>
      overStore(domain, async () => {
        const receivers = storedReceivers(ask.receivers);
        if (!receivers.ok) throw fieldError(domain, receivers.error);
        const granted = await leases.grant({
          session: sessionOf(ask.session),
          holder: ask.holderId,
          receivers: receivers.value,
          takeover: ask.takeover,
          expectedEpoch: Number(ask.expectedEpoch),
          requestKey: ask.idempotencyKey,
        });
        if (!granted.ok) throw leaseError(granted.error);
        const { lease, oldRunsOutInMs } = granted.value;
        const floors = (await leases.floors(lease.session)).map(floorToWire);
        const oldExpiresWallMs = BigInt(oldRunsOutInMs === 0 ? 0 : wallMs() + oldRunsOutInMs);
        return { ...inForce(granted.value), floors, oldExpiresWallMs };
      }),
    renewLease: ({ session, holderId, epoch }) =>
      overStore(domain, async () => {
        const renewed = await leases.renew({ session: sessionOf(session), holder: holderId, epoch: Number(epoch) });
        if (!renewed.ok) throw leaseError(renewed.error);
        return inForce(renewed.value);
      }),
    rotateLease: ({ session, holderId, epoch, lastSequence, idempotencyKey }) =>
      overStore(domain, async () => {
        const held = { session: sessionOf(session), holder: holderId, epoch: Number(epoch) };
        const sequence = { lastSequence: safeNumber("last_sequence", lastSequence), requestKey: idempotencyKey };
        const rotated = await leases.rotate({ ...held, ...sequence });
        if (!rotated.ok) throw leaseError(rotated.error);
        return inForce(rotated.value);
      }),
    revokeLease: ({ session, epoch, reason }) =>
      overStore(domain, async () => {
        const revoked = await leases.revoke(sessionOf(session), Number(epoch));
        if (!revoked.ok) throw leaseError(revoked.error);
        return { lease: leaseToWire(revoked.value.lease, wallMs(), false, reason) };
      }),
    releaseLease: ({ session, holderId, epoch }) =>
      overStore(domain, async () => {
        const released = await leases.release({ session: sessionOf(session), holder: holderId, epoch: Number(epoch) });
        if (!released.ok) throw leaseError(released.error);
        return { lease: leaseToWire(released.value, wallMs(), true) };
      }),
    getLease: ({ session }) =>
      overStore(domain, async () => {
        const found = await leases.get(sessionOf(session));
        if (found === undefined) throw leaseError("unknown_session");
        return changeToWire(found, signer, wallMs());
      }),
  } satisfies Parameters<typeof route<typeof LeaseContract>>[1];
}

function receiverCalls({ leases, store, signer, wallMs }: LeaseLogic) {
  return {
    acknowledgeFloor: ({ floors }) =>
      overStore(domain, async () => {
        const told = floors.map(({ receiverId, session, floorEpoch }) => {
          return { receiverId, session: sessionOf(session), floorEpoch: Number(floorEpoch) };
        });
        await leases.acknowledgeFloors(told);
        return {};
      }),
    listFloors: ({ session }) =>
      overStore(domain, async () => ({ floors: (await leases.floors(sessionOf(session))).map(floorToWire) })),
    listSigningKeys: () =>
      overStore(domain, async () => {
        const { keyId, publicKey } = signer;
        return { keys: [{ keyId, publicKey }], storeIncarnation: await store.incarnation() };
      }),
    watchLeases: async function* (ask, { signal }) {
      try {
        const storeIncarnation = await store.incarnation();
        for await (const { changes, synced } of watchLeases(store, filterOf(ask), signal)) {
          const nowWallMs = wallMs();
          yield { changes: changes.map((one) => changeToWire(one, signer, nowWallMs)), synced, storeIncarnation };
        }
      } catch (failure) {
        throw storeFailure(failure, domain);
      }
      if (signal.aborted) throw new ConnectError("the watch ended", Code.Canceled);
      // It was told of more sessions than a watch can hold: it begins again.
      throw rpcError(ErrorReason.SNAPSHOT_UNAVAILABLE, { domain, remedy: "Watch again from the beginning." });
    },
  } satisfies Parameters<typeof route<typeof LeaseContract>>[1];
}

function changeToWire({ lease, ended }: Omit<LeaseChangeRow, "seq">, signer: GrantSigner, nowWallMs: number) {
  const told = { lease: leaseToWire(lease, nowWallMs, ended) };
  const stands = !ended && (lease.revoked || lease.expiresWallMs > nowWallMs);
  return stands ? { ...told, signed: signedToWire(lease, signer) } : told;
}

function filterOf(ask: { holderId: string; receiverId: string; tenantId: string }): LeaseFilter {
  const { holderId, receiverId, tenantId } = ask;
  return {
    ...(holderId === "" ? {} : { holder: holderId }),
    ...(receiverId === "" ? {} : { receiver: receiverId }),
    ...(tenantId === "" ? {} : { tenantId }),
  };
}

function safeNumber(field: string, value: bigint): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw fieldError(domain, { field, rule: "uint64.lte", message: `must be at most ${Number.MAX_SAFE_INTEGER}` });
}
