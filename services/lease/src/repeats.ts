/** Requests that come again, since their answer was lost: they are answered, not carried out a second time (F-158). */
import { err, ok, type Result } from "@rspp/base/result";
import { epochParts } from "@rspp/protocol/lease-epoch";
import type { LeaseRequest, LeaseRow, LeaseView } from "@rspp/store/lease-store";

/** What two requests of one key must have in common. */
export type Request = Omit<LeaseRequest, "epoch">;

/**
 * Undefined when this key is new. Its lease as it stands now where its holder still has it, rotations included, so that a
 * healthy holder learns the epoch it has; `superseded` where it was taken, revoked or given back since: a request that was
 * late on its way must not raise a lease that is over.
 */
export function repeatOf(
  { store, lease, request }: LeaseView,
  asked: Request,
): Result<LeaseRow, "superseded" | "key_reused"> | undefined {
  // What was granted before a restore binds nobody any more.
  if (request === undefined || epochParts(request.epoch).storeIncarnation !== store.incarnation) return undefined;
  const { kind, holder, askedEpoch, epoch } = request;
  if (kind !== asked.kind || holder !== asked.holder || askedEpoch !== asked.askedEpoch) return err("key_reused");
  const stands =
    lease !== undefined &&
    !lease.revoked &&
    lease.holder === holder &&
    lease.heldSinceEpoch <= epoch &&
    epoch <= lease.epoch;
  return stands ? ok(lease) : err("superseded");
}
