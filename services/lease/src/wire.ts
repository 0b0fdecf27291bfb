/** Between the store's rows and the contracts' messages. */
import { create, toBinary } from "@bufbuild/protobuf";
import type { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import type { SessionKey as WireSessionKey } from "@rspp/gen/rspp/common/v1/reference_pb";
import {
  type Grant,
  GrantSchema,
  type Lease,
  LeaseSchema,
  LeaseState,
  type ReceiverFloor,
  ReceiverFloorSchema,
  type SignedGrant,
  SignedGrantSchema,
} from "@rspp/gen/rspp/lease/v1/lease_pb";
import { KeepAliveOutcome, type KeptLease, KeptLeaseSchema } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import type { LeaseRow, ReceiverFloorRow } from "@rspp/store/lease-store";
import type { SessionKey } from "@rspp/store/state-store";
import type { KeptAnswer } from "./keep-alive.ts";
import { wireReceivers } from "./receivers.ts";

/** Signs the bytes of a grant; the key stays where the process is wired. */
export interface GrantSigner {
  readonly keyId: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Ed25519, 64 bytes; by the key of `keyId` as it is at this moment. */
  sign(bytes: Uint8Array): Uint8Array;
  /** Every key whose signatures are good now, newest first; default this one alone. */
  published?(): Promise<readonly { readonly keyId: string; readonly publicKey: Uint8Array; notAfterWallMs: number }[]>;
}

const epochSpan = 2 ** 32;

export function sessionOf(key: WireSessionKey | undefined): SessionKey {
  return { tenantId: key?.tenantId ?? "", sessionId: key?.sessionId ?? "" };
}

export function grantToWire(row: LeaseRow): Grant {
  return create(GrantSchema, {
    session: row.session,
    epoch: BigInt(row.epoch),
    storeIncarnation: Math.floor(row.epoch / epochSpan),
    holderId: row.holder ?? "",
    termMs: row.termMs,
    issuedWallMs: BigInt(row.issuedWallMs),
    expiresWallMs: BigInt(row.expiresWallMs),
    receivers: wireReceivers(row.receivers),
    grantId: `grant-${row.epoch}`,
    lastSequence: BigInt(row.lastSequence ?? 0),
  });
}

/** The epoch is the version: whatever but the term changes comes with another one. */
export function leaseToWire(row: LeaseRow, nowWallMs: number, ended = false, reason?: Reason): Lease {
  return create(LeaseSchema, {
    grant: grantToWire(row),
    state: stateOf(row, nowWallMs, ended),
    version: BigInt(row.epoch),
    ...(reason === undefined ? {} : { reason }),
  });
}

function stateOf(row: LeaseRow, nowWallMs: number, ended: boolean): LeaseState {
  if (row.revoked) return LeaseState.REVOKED;
  if (ended) return LeaseState.RELEASED;
  return row.expiresWallMs <= nowWallMs ? LeaseState.EXPIRED : LeaseState.GRANTED;
}

/** Of a lease in force, or of a revocation: a floor nobody stands on. Receivers check it without asking anybody. */
export function signedToWire(row: LeaseRow, signer: GrantSigner): SignedGrant {
  const grant = toBinary(GrantSchema, grantToWire(row));
  return create(SignedGrantSchema, { grant, keyId: signer.keyId, signature: signer.sign(grant) });
}

export function floorToWire({ receiverId, session, floorEpoch, acknowledgedWallMs }: ReceiverFloorRow): ReceiverFloor {
  return create(ReceiverFloorSchema, {
    receiverId,
    session,
    floorEpoch: BigInt(floorEpoch),
    acknowledgedWallMs: BigInt(acknowledgedWallMs),
  });
}

const outcomes = {
  not_found: KeepAliveOutcome.NOT_FOUND,
  fenced: KeepAliveOutcome.FENCED,
  reissue: KeepAliveOutcome.REISSUE,
} as const;

export function keptToWire(
  answer: KeptAnswer,
  asked: { readonly session: SessionKey; readonly epoch: number },
  signer: GrantSigner,
): KeptLease {
  const { session } = asked;
  if (answer.kind !== "renewed") {
    return create(KeptLeaseSchema, { session, outcome: outcomes[answer.kind], epoch: BigInt(answer.epoch) });
  }
  const { lease } = answer;
  return create(KeptLeaseSchema, {
    session,
    outcome: KeepAliveOutcome.RENEWED,
    epoch: BigInt(lease.epoch),
    termMs: lease.termMs,
    expiresWallMs: BigInt(lease.expiresWallMs),
    // Signing is work: only where the holder lacks the grant.
    ...(lease.epoch === asked.epoch ? {} : { signed: signedToWire(lease, signer) }),
  });
}
