/** The lease of a session, asked for by the adapter on behalf of the runtime that will hold it (kernel.md §7). */
import { err, ok, type Result } from "@rspp/base/result";
import { type Grant, LeaseState, ReceiverKind, type SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import type { OpenRefusal, TokenClaims } from "@rspp/ports/session-opener";
import { type RpcConnection, rpcErrorOf } from "@rspp/rpc/clients";
import { refusalOf } from "./link-words.ts";

/** Who must know the floor of a session held by `instance`. Runtimes acknowledge under these names. */
export function leaseReceivers(adapterId: string, instance: string): { receiverId: string; kind: ReceiverKind }[] {
  return [
    { receiverId: adapterId, kind: ReceiverKind.ADAPTER },
    { receiverId: `${instance}/ingress`, kind: ReceiverKind.RUNTIME_INGRESS },
    { receiverId: `${instance}/egress`, kind: ReceiverKind.RUNTIME_EGRESS },
    { receiverId: "timeline", kind: ReceiverKind.TIMELINE },
  ];
}

export interface Leased {
  readonly grant: SignedGrant;
  readonly epoch: number;
  /**
   * Issued for this opening. Else the runtime holds it already, for a session that runs there: what becomes of this opening
   * is nothing to that one.
   */
  readonly fresh: boolean;
}

export interface LeaseAsk {
  readonly claims: TokenClaims;
  readonly adapterId: string;
  readonly instance: string;
  /** Milliseconds; 0: the lease service's own. */
  readonly termMs: number;
  /** The same over repeats of one opening, and of no other. */
  readonly idempotencyKey: string;
  /** Epoch that is taken over from its holder; default 0: none is in force. */
  readonly takeoverOf?: number;
}

/** Who holds the session's lease, and the epoch; null when nobody does, or it cannot be asked. */
export async function leaseHeld(
  lease: RpcConnection,
  { tenant, session }: TokenClaims,
): Promise<{ holder: string; epoch: number } | null> {
  try {
    const { lease: found } = await lease
      .client(LeaseService)
      .getLease({ session: { tenantId: tenant, sessionId: session } });
    const grant = found?.grant;
    return grant === undefined ? null : { holder: grant.holderId, epoch: Number(grant.epoch) };
  } catch {
    return null;
  }
}

/** Of a session that lives and that another adapter had. */
export async function leaseToAdopt(
  lease: RpcConnection,
  { tenant: tenantId, session: sessionId }: TokenClaims,
): Promise<Result<{ holder: string; epoch: number }, OpenRefusal>> {
  try {
    const { lease: found } = await lease.client(LeaseService).getLease({ session: { tenantId, sessionId } });
    const grant = found?.grant;
    const lives = found?.state === LeaseState.GRANTED || found?.state === LeaseState.EXPIRED;
    if (grant !== undefined && lives) return ok({ holder: grant.holderId, epoch: Number(grant.epoch) });
    return err({ reason: "not_found", remedy: "The session is over: open a new one with a new route." });
  } catch (failure) {
    return err(refusalOf(rpcErrorOf(failure, "lease").detail));
  }
}

export async function grantLease(lease: RpcConnection, ask: LeaseAsk): Promise<Result<Leased, OpenRefusal>> {
  const { claims, adapterId, instance, termMs, idempotencyKey, takeoverOf = 0 } = ask;
  try {
    const answer = await lease.client(LeaseService).grantLease({
      session: { tenantId: claims.tenant, sessionId: claims.session },
      holderId: instance,
      termMs,
      receivers: leaseReceivers(adapterId, instance),
      idempotencyKey,
      ...(takeoverOf === 0 ? {} : { takeover: true, expectedEpoch: BigInt(takeoverOf) }),
    });
    const epoch = Number(answer.lease?.grant?.epoch ?? 0n);
    if (answer.signed === undefined || epoch < 1) {
      return err({
        reason: "runtime_internal_error",
        remedy: "The lease service answered without a grant: report it.",
      });
    }
    return ok({ grant: answer.signed, epoch, fresh: isFresh(answer.lease?.grant) });
  } catch (failure) {
    return err(refusalOf(rpcErrorOf(failure, "lease").detail));
  }
}

/** A lease that stood before was only lengthened: it runs out later than a term after its issue. */
function isFresh(grant: Pick<Grant, "issuedWallMs" | "expiresWallMs" | "termMs"> | undefined): boolean {
  return grant !== undefined && grant.expiresWallMs - grant.issuedWallMs <= BigInt(grant.termMs);
}

/**
 * Gives back what no session stands on; whoever fails here lets it run out. A lease of a session that runs is nobody's here
 * to give back: its call would end.
 */
export async function giveBack(
  lease: RpcConnection,
  ask: LeaseAsk,
  { fresh, epoch }: Leased,
  refused?: OpenRefusal,
): Promise<void> {
  if (!fresh || refused?.reason === "already_exists") return;
  const session = { tenantId: ask.claims.tenant, sessionId: ask.claims.session };
  try {
    await lease.client(LeaseService).releaseLease({ session, holderId: ask.instance, epoch: BigInt(epoch) });
  } catch {
    // Its term ends it.
  }
}
