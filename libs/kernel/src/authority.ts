/** The session's lease as the kernel knows it (kernel.md §7, F-156). Receivers are the safety; this is the holder's side. */
import type { MonoNs } from "@rspp/base/brand";

export interface Authority {
  /** The epoch this holder was granted; never falls. */
  epoch: number;
  /** The highest epoch heard of: above `epoch` once the lease was granted elsewhere. */
  knownEpoch: number;
  /** Incarnation of the lease store; a restored store cannot repeat an epoch under the same one. */
  incarnation: string;
  deadlineNs: MonoNs;
  held: "held" | "revoked" | "expired" | "superseded";
}

export interface AuthorityUpdate {
  readonly kind: "renewed" | "rotated" | "revoked" | "granted_elsewhere";
  /** renewed, revoked: the epoch concerned; rotated, granted_elsewhere: the new one. */
  readonly epoch: number;
  readonly deadlineNs?: MonoNs;
}

export interface AuthorityChange {
  readonly changed: boolean;
  /** True once, when this update ended a lease that was held: the T8 trigger. */
  readonly lost: boolean;
  /** The epoch before a rotation to this same holder. */
  readonly rotatedFrom?: number;
}

const unchanged: AuthorityChange = { changed: false, lost: false };
const changedOnly: AuthorityChange = { changed: true, lost: false };
const changedAndLost: AuthorityChange = { changed: true, lost: true };

export function authorityCreate(epoch: number, incarnation: string, deadlineNs: MonoNs): Authority {
  return { epoch, knownEpoch: epoch, incarnation, deadlineNs, held: "held" };
}

/**
 * Applies what the shell learned (and verified) about the lease, in place. Updates about an older epoch change nothing. A
 * revoked or superseded lease never comes back; an expired one does, when the grantor renews that same epoch or rotates
 * it, since that proves nobody else had it (a late renewal must not fence a healthy owner).
 */
export function authorityApply(a: Authority, update: AuthorityUpdate): AuthorityChange {
  const wasHeld = a.held === "held";
  const final = a.held === "revoked" || a.held === "superseded";
  switch (update.kind) {
    case "renewed": {
      if (final || update.epoch !== a.epoch || update.deadlineNs === undefined) return unchanged;
      if (update.deadlineNs <= a.deadlineNs) return unchanged;
      a.deadlineNs = update.deadlineNs;
      a.held = "held";
      return changedOnly;
    }
    case "rotated": {
      if (final || update.epoch <= a.epoch) return unchanged;
      // Without a new deadline a lapsed lease would be held by name and fenced again at the next check.
      if (!wasHeld && update.deadlineNs === undefined) return unchanged;
      const rotatedFrom = a.epoch;
      a.epoch = update.epoch;
      a.knownEpoch = update.epoch;
      if (update.deadlineNs !== undefined) a.deadlineNs = update.deadlineNs;
      a.held = "held";
      return { changed: true, lost: false, rotatedFrom };
    }
    case "revoked": {
      if (final || update.epoch < a.epoch) return unchanged;
      a.held = "revoked";
      return wasHeld ? changedAndLost : changedOnly;
    }
    case "granted_elsewhere": {
      if (a.held === "superseded" || update.epoch <= a.epoch) return unchanged;
      a.held = "superseded";
      a.knownEpoch = update.epoch;
      return wasHeld ? changedAndLost : changedOnly;
    }
  }
}

/**
 * What an event's or output's epoch means here: of the current lease; stale (older, or of a lease revoked or granted
 * elsewhere); or above what is known, which is believed only with the lease service's grant.
 */
export function checkEpoch(a: Authority, epoch: number): "ok" | "stale" | "unknown" {
  if (epoch > a.epoch) return "unknown";
  if (epoch < a.epoch) return "stale";
  return a.held === "revoked" || a.held === "superseded" ? "stale" : "ok";
}

/** Whether effects may be caused at `nowNs`: every step asks this of its own stamp, since machines can be suspended. */
export function authorityHeldAt(a: Authority, nowNs: MonoNs): boolean {
  return a.held === "held" && nowNs < a.deadlineNs;
}

/** Marks a held lease whose deadline has passed. True once, when it lapsed just now: the T8 trigger. */
export function authorityExpire(a: Authority, nowNs: MonoNs): boolean {
  if (a.held !== "held" || nowNs < a.deadlineNs) return false;
  a.held = "expired";
  return true;
}
