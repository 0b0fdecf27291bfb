/** The calls of leases: request to logic to response; messages are validated before they come here (libs/rpc). */

import { Code, ConnectError } from "@connectrpc/connect";
import { invariant } from "@rspp/base/invariant";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { LeaseService as LeaseContract } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { fieldError, overStore, storeFailure } from "@rspp/host/store-failure";
import { rpcError } from "@rspp/rpc/errors";
import { type RpcRoute, route } from "@rspp/rpc/route";
import type { LeaseFilter, LeaseFound, LeaseStore } from "@rspp/store/lease-store";
import type { SessionKey } from "@rspp/store/state-store";
import type { KeptAnswer } from "./keep-alive.ts";
import type { LeaseAnswer, LeaseService } from "./lease-service.ts";
import { watchLeases } from "./lease-watch.ts";
import { storedReceivers } from "./receivers.ts";
import { domain, leaseError } from "./refusals.ts";
import { sessionName } from "./session-name.ts";
import { floorToWire, type GrantSigner, keptToWire, leaseToWire, sessionOf, signedToWire } from "./wire.ts";

export interface LeaseLogic {
  readonly leases: LeaseService;
  readonly store: LeaseStore;
  readonly signer: GrantSigner;
}

export function leaseRoute(logic: LeaseLogic): RpcRoute {
  return route(LeaseContract, { ...issuingCalls(logic), ...holderCalls(logic), ...receiverCalls(logic) });
}

function inForceOf({ signer }: LeaseLogic) {
  return ({ lease, nowWallMs }: LeaseAnswer) => ({
    lease: leaseToWire(lease, nowWallMs),
    signed: signedToWire(lease, signer),
  });
}

/** Calls that issue an epoch. */
function issuingCalls(logic: LeaseLogic) {
  const { leases } = logic;
  const inForce = inForceOf(logic);
  /** To a holder that is new to the session: where it may act already, and from when everywhere. */
  const issued = async (answer: LeaseAnswer) => {
    const floors = (await leases.floors(answer.lease.session)).map(floorToWire);
    const { oldRunsOutInMs, nowWallMs, repeated: repeatedRequest } = answer;
    const oldExpiresWallMs = BigInt(oldRunsOutInMs === 0 ? 0 : nowWallMs + oldRunsOutInMs);
    return { ...inForce(answer), floors, oldExpiresWallMs, repeatedRequest };
  };
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
        return issued(granted.value);
      }),
    transferLease: (ask) =>
      overStore(domain, async () => {
        if (ask.toHolderId === ask.fromHolderId) {
          const message = "must differ from from_holder_id; RotateLease is for the same holder";
          throw fieldError(domain, { field: "to_holder_id", rule: "other_holder", message });
        }
        const receivers = storedReceivers(ask.receivers);
        if (!receivers.ok) throw fieldError(domain, receivers.error);
        const transferred = await leases.transfer({
          session: sessionOf(ask.session),
          holder: ask.fromHolderId,
          epoch: Number(ask.expectedEpoch),
          toHolder: ask.toHolderId,
          receivers: receivers.value,
          consented: ask.consented,
          requestKey: ask.idempotencyKey,
        });
        if (!transferred.ok) throw leaseError(transferred.error);
        return issued(transferred.value);
      }),
    rotateLease: ({ session, holderId, epoch, lastSequence, idempotencyKey }) =>
      overStore(domain, async () => {
        const held = { session: sessionOf(session), holder: holderId, epoch: Number(epoch) };
        const sequence = { lastSequence: safeNumber("last_sequence", lastSequence), requestKey: idempotencyKey };
        const rotated = await leases.rotate({ ...held, ...sequence });
        if (!rotated.ok) throw leaseError(rotated.error);
        return { ...inForce(rotated.value), repeatedRequest: rotated.value.repeated };
      }),
    revokeLease: ({ session, epoch, reason }) =>
      overStore(domain, async () => {
        const revoked = await leases.revoke(sessionOf(session), Number(epoch));
        if (!revoked.ok) throw leaseError(revoked.error);
        return { lease: leaseToWire(revoked.value.lease, revoked.value.nowWallMs, false, reason) };
      }),
  } satisfies Parameters<typeof route<typeof LeaseContract>>[1];
}

/** Calls of whoever holds a lease, or wants to know who does. */
function holderCalls(logic: LeaseLogic) {
  const { leases, signer } = logic;
  const inForce = inForceOf(logic);
  return {
    renewLease: ({ session, holderId, epoch }) =>
      overStore(domain, async () => {
        const renewed = await leases.renew({ session: sessionOf(session), holder: holderId, epoch: Number(epoch) });
        if (!renewed.ok) throw leaseError(renewed.error);
        return inForce(renewed.value);
      }),
    keepAlive: (ask) =>
      overStore(domain, async () => {
        const held = ask.leases.map(({ session, epoch }) => ({ session: sessionOf(session), epoch: Number(epoch) }));
        checkNamedOnce(held);
        const answers = await leases.keepAlive(ask.holderId, held);
        return { leases: held.map((one, i) => keptToWire(answerAt(answers, i), one, signer)) };
      }),
    releaseLease: ({ session, holderId, epoch }) =>
      overStore(domain, async () => {
        const released = await leases.release({ session: sessionOf(session), holder: holderId, epoch: Number(epoch) });
        if (!released.ok) throw leaseError(released.error);
        return { lease: leaseToWire(released.value.lease, released.value.nowWallMs, true) };
      }),
    getLease: ({ session }) =>
      overStore(domain, async () => {
        const found = await leases.get(sessionOf(session));
        if (found === undefined) throw leaseError("unknown_session");
        return changeToWire(found, signer);
      }),
  } satisfies Parameters<typeof route<typeof LeaseContract>>[1];
}

function receiverCalls({ leases, store, signer }: LeaseLogic) {
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
        const published = (await signer.published?.()) ?? [{ keyId, publicKey, notAfterWallMs: 0 }];
        const keys = published.map(({ notAfterWallMs: end, ...key }) => {
          return { keyId: key.keyId, publicKey: new Uint8Array(key.publicKey), notAfterWallMs: BigInt(end) };
        });
        return { keys, storeIncarnation: await store.incarnation() };
      }),
    watchLeases: async function* (ask, { signal }) {
      try {
        const storeIncarnation = await store.incarnation();
        for await (const { changes, synced } of watchLeases(store, filterOf(ask), signal)) {
          yield { changes: changes.map((one) => changeToWire(one, signer)), synced, storeIncarnation };
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

/** Whether it ran out is told by the store's clock, at which it was read: this process's own may go wrong. */
function changeToWire({ lease, ended, nowWallMs }: LeaseFound, signer: GrantSigner) {
  const told = { lease: leaseToWire(lease, nowWallMs, ended) };
  const stands = !ended && (lease.revoked || lease.expiresWallMs > nowWallMs);
  return stands ? { ...told, signed: signedToWire(lease, signer) } : told;
}

function answerAt(answers: readonly KeptAnswer[], i: number): KeptAnswer {
  const answer = answers[i];
  invariant(answer !== undefined, "each lease asked for has an answer");
  return answer;
}

function checkNamedOnce(held: readonly { readonly session: SessionKey }[]): void {
  const seen = new Set<string>();
  for (const [i, { session }] of held.entries()) {
    const name = sessionName(session);
    if (seen.has(name)) {
      throw fieldError(domain, { field: `leases[${i}].session`, rule: "unique", message: "is named a second time" });
    }
    seen.add(name);
  }
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
