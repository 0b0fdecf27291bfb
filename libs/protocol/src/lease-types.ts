import type { MonoNs } from "@rspp/base/brand";

// Authority (kernel.md §7) as three machines: the grantor (lease service), the holder (runtime) and the floor each
// receiver keeps (runtime ingress and egress, adapter, gateway, external node, timeline, state store). Safety rests on
// the receivers alone; the grantor orders epochs, the holder is polite.

/** What the lease service signs. `holder` is null for a revocation: a floor nobody stands on. */
export interface Grant {
  session: string;
  /**
   * Ordered by number: store incarnation first, counter second (lease-epoch.ts). Issued in one order over all sessions of
   * the store, so that it rises per session even past the session's end, and tells which grants are older than a sync.
   */
  epoch: number;
  holder: string | null;
  receivers: string[];
  termMs: number;
  /** Last sequence under the old epoch when the lease was rotated to the same holder; null otherwise. */
  lastSequence: number | null;
}

export interface SignedGrant {
  grant: Grant;
  signature: string;
}

/** Injected, pure: the service's key never reaches these machines. */
export type SignGrant = (grant: Grant) => string;
export type VerifyGrant = (signed: SignedGrant) => boolean;

// --- grantor ---

/** `holder` names one life of one process, so that a restarted one never goes on under its predecessor's epoch. */
export interface LeaseRecord {
  signed: SignedGrant;
  /** First epoch of this holder's unbroken hold: rotations to itself go on from it. */
  heldSinceEpoch: number;
  /** By the grantor's clock. A lease past it may be granted elsewhere; until then it may still be renewed. */
  expiresAtNs: MonoNs;
  /** When the last lease of another holder before this one runs out. */
  oldRunsOutAtNs: MonoNs;
  revoked: boolean;
}

export interface GrantorState {
  storeIncarnation: number;
  /** The last epoch issued, for whatever session; counter 0 before the first. */
  lastEpoch: number;
  /** After a restore: when every lease the backup does not know has run out. */
  lostRunOutAtNs: MonoNs;
  sessionsMax: number;
  leases: Record<string, LeaseRecord>;
  sessionCount: number;
}

export type GrantRefusal =
  | "held"
  | "unknown_session"
  | "not_holder"
  | "stale_epoch"
  | "revoked"
  /** The store was restored since: ask for a lease again, which the old epoch does not prevent. */
  | "reissue"
  | "sessions_full"
  | "too_many_receivers"
  | "epochs_exhausted";

/** A new lease for its holder. `oldRunsOutInMs`: how long the lease before it may still be acted on; 0 when none. */
export interface Granted {
  signed: SignedGrant;
  oldRunsOutInMs: number;
}

/** A lengthened lease. `epoch` is later than the one asked under where a rotation's answer was lost; `signed` proves it. */
export interface Renewed {
  epoch: number;
  termMs: number;
  signed: SignedGrant;
}

/** What a restarted receiver is given: the current grants that name it, and how far the store's issue had come. */
export interface SyncAnswer {
  nonce: number;
  asOfEpoch: number;
  grants: SignedGrant[];
}

// --- holder ---

export type HolderPhase =
  /** No lease, or one given back. */
  | "none"
  | "held"
  /** Past the deadline while the lease service is known to be out: calls go on (kernel.md §7), bounded, marked. */
  | "overrun"
  /** Fenced by its own clock, by a revocation or by a receiver that knows better. Only a new grant leads out. */
  | "fenced";

export type FenceReason = "expired" | "revoked" | "stale_epoch" | "renew_refused" | "released";

export interface ReceiverView {
  acked: boolean;
  /** When the floor was last announced; null before the first time. */
  announcedAtNs: MonoNs | null;
}

export interface HolderState {
  holder: string;
  session: string;
  phase: HolderPhase;
  fencedBy: FenceReason | null;
  epoch: number;
  signed: SignedGrant | null;
  deadlineNs: MonoNs;
  renewAtNs: MonoNs;
  /** The lease before this one has surely run out then. */
  oldRunsOutAtNs: MonoNs;
  receivers: Record<string, ReceiverView>;
  serviceReachable: boolean;
}

export type HolderInput =
  /** `requestedAtNs`: when the request left; the term counts from there, so that the answer's delay never adds to it. */
  | { kind: "granted"; signed: SignedGrant; requestedAtNs: MonoNs; oldRunsOutInMs: number }
  | { kind: "renewed"; epoch: number; termMs: number; requestedAtNs: MonoNs }
  | { kind: "renew_refused"; epoch: number; reason: GrantRefusal }
  | { kind: "service"; reachable: boolean }
  | { kind: "floor_acked"; receiver: string; epoch: number }
  /** A receiver refused us, naming its floor. */
  | { kind: "stale"; receiver: string; floor: number }
  | { kind: "receiver_restarted"; receiver: string }
  | { kind: "revoked"; epoch: number }
  | { kind: "release" }
  /** Others are renewed now in one call: this one comes along instead of a little later. */
  | { kind: "renew_now" }
  | { kind: "tick" };

export type HolderOutput =
  | { kind: "announce"; receiver: string; signed: SignedGrant }
  | { kind: "renew"; session: string; epoch: number }
  /** To be answered by a `granted` or by nothing. */
  | { kind: "reacquire"; session: string }
  | { kind: "acquired"; epoch: number; previousEpoch: number; rotated: boolean }
  | { kind: "fenced"; epoch: number; reason: FenceReason }
  | { kind: "overrun"; epoch: number }
  | { kind: "recovered"; epoch: number }
  | { kind: "receiver_ready"; receiver: string; epoch: number };

/** `attachGrant`: the receiver has not acknowledged, so the first messages must carry the signed grant. */
export type MayAct =
  | { ok: true; epoch: number; attachGrant: boolean; stale: boolean }
  | { ok: false; reason: "no_lease" | "fenced" | "awaiting_ack" | "not_a_receiver" };

// --- receiver ---

export interface Floor {
  epoch: number;
  holder: string | null;
  /** Highest sequence accepted under `epoch`; 0 before the first. */
  lastSequence: number;
}

export interface ReceiverState {
  receiver: string;
  synced: boolean;
  /** Echoed by the sync that may end this start's silence; an answer to an earlier start is refused. */
  syncNonce: number;
  sessionsMax: number;
  floors: Record<string, Floor>;
  floorCount: number;
  tombstones: { session: string; epoch: number }[];
  /** Grants of unknown sessions issued up to here are older than what this receiver once knew. */
  refuseUpToEpoch: number;
}

export type ReceiverRefusal =
  | "unsynced"
  | "unknown_session"
  | "stale_epoch"
  | "unproved_epoch"
  | "bad_signature"
  | "not_named"
  | "stale_grant"
  | "revoked"
  | "sessions_full";

/** `missing`: after a rotation, the sequences under the old epoch that this receiver never saw. */
export type FloorAnswer =
  | { ok: true; session: string; epoch: number; raised: boolean; missing: { fromSeq: number; toSeq: number } | null }
  | { ok: false; session: string; reason: ReceiverRefusal; floor: number };

export type EventAnswer =
  | { ok: true; epoch: number; raised: boolean }
  /** `floor`: the receiver's own, 0 when it has none; goes back so that a stale holder fences itself. */
  | { ok: false; reason: ReceiverRefusal; floor: number };
