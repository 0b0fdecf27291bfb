/** What a session at the adapter is made of, and what is counted over all of them. */
import type { SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import type { Clock } from "@rspp/ports/clock";
import type { SessionRequest, SessionSeen } from "@rspp/ports/session-opener";
import type { PooledLink } from "./link-pool.ts";
import type { GrantVerifier, OpenerNotice } from "./link-session-types.ts";
import type { TakeoverFrom } from "./link-takeover.ts";
import type { SessionMover } from "./session-mover.ts";

export interface AdapterSessionInit {
  readonly clock: Clock;
  readonly request: SessionRequest;
  readonly instance: string;
  readonly adapterId: string;
  readonly grant: SignedGrant;
  readonly epoch: number;
  readonly link: PooledLink;
  readonly grants: GrantVerifier;
  readonly readyMs: number;
  /** Finds another runtime; null: the session ends with its runtime. */
  readonly mover: SessionMover | null;
  /** A lost pair that is not back within it, milliseconds: the session goes on elsewhere. */
  readonly failoverAfterMs: number;
  readonly counts: AdapterCounts;
  /** The session lives, and another adapter had it: where, and what its client saw of it. */
  readonly adopts?: { readonly from: TakeoverFrom; readonly seen: SessionSeen };
  readonly notice: (notice: OpenerNotice) => void;
  onOver(): void;
}

/** Counted over all sessions of an opener. */
export interface AdapterCounts {
  reattached: number;
  /** Went on on another runtime: for the loss of theirs, or as it asked. */
  failedOver: number;
  migrated: number;
  adopted: number;
  lost: number;
  duplicates: number;
  readonly unsent: Map<string, number>;
}
