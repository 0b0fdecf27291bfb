import type { SessionKey } from "./state-store.ts";

/** A lease as it is kept; instants by the database's clock, which all replicas share. */
export interface LeaseRow {
  readonly session: SessionKey;
  readonly epoch: number;
  /** First epoch of the holder's unbroken hold; rotations go on from it. */
  readonly heldSinceEpoch: number;
  /** Null: revoked, a floor nobody stands on. */
  readonly holder: string | null;
  readonly receivers: readonly string[];
  readonly termMs: number;
  readonly lastSequence: number | null;
  readonly signature: string;
  readonly expiresWallMs: number;
  readonly oldRunsOutWallMs: number;
  readonly revoked: boolean;
  readonly issuedWallMs: number;
  /** Of the request that issued it, so that a repeat is recognised. */
  readonly requestKey: string;
}

export interface LeaseStoreState {
  readonly incarnation: number;
  /** The next epoch is one more; in a `renew` the last one given. */
  readonly lastEpoch: number;
  /** After a restore: until when leases that the backup does not know may live. */
  readonly lostRunOutWallMs: number;
  /** About as many as are alive: a bound, counted every few seconds. */
  readonly sessionCount: number;
}

/** A request that was granted, remembered so that its repeat is answered and not carried out again (F-158). */
export interface LeaseRequest {
  readonly kind: string;
  readonly holder: string;
  /** The epoch it was asked under, 0 none. */
  readonly askedEpoch: number;
  /** The epoch it was answered with. */
  readonly epoch: number;
}

/** What a decision is taken on: one session and the store, nobody else changing either meanwhile. */
export interface LeaseView {
  readonly store: LeaseStoreState;
  readonly lease: LeaseRow | undefined;
  /** The request of this key, where it was granted before. */
  readonly request: LeaseRequest | undefined;
  readonly nowWallMs: number;
}

/** What the decision changed. `lease` null ends the session. */
export interface LeaseDecision<T> {
  readonly answer: T;
  /** Set where something was issued or ended. A store that keeps epochs by itself takes only the lease's from it. */
  readonly store?: LeaseStoreState;
  readonly lease?: LeaseRow | null;
  /** To be remembered under the key of the request. */
  readonly request?: LeaseRequest;
}

/** A lease as it was read, and when, by the store's clock. */
export interface LeaseFound {
  readonly lease: LeaseRow;
  readonly ended: boolean;
  readonly nowWallMs: number;
}

/** Renewals of one transaction, so that no lock is held for long. */
export const renewAllMax = 512;

/** `renew` may only lengthen the term and leaves the store alone; renewals of different sessions do not wait for each other. */
export type LeaseMode = "issue" | "renew";

export interface LeaseChangeRow {
  /** Position in the order that watchers are told; rises with each change, ends included, renewals not. */
  readonly seq: number;
  readonly lease: LeaseRow;
  readonly ended: boolean;
  /** When it was read, by the store's clock. */
  readonly nowWallMs: number;
}

export interface LeaseFilter {
  readonly holder?: string;
  readonly receiver?: string;
  readonly tenantId?: string;
}

export interface ReceiverFloorRow {
  readonly session: SessionKey;
  readonly receiverId: string;
  readonly floorEpoch: number;
  readonly acknowledgedWallMs: number;
}

/** Leases of all sessions, linearizable over replicas (kernel.md §7). Every call may reject with a StoreError. */
export interface LeaseStore {
  /** `decide` is pure and may be called again; what it returns is stored in the transaction it looked in. */
  update<T>(
    session: SessionKey,
    mode: LeaseMode,
    decide: (view: LeaseView) => LeaseDecision<T>,
    requestKey?: string,
  ): Promise<T>;
  /**
   * Renewals of many sessions, each named once, each decided by itself as `update` in mode `renew` does: the answers in
   * the order asked. At most {@link renewAllMax}.
   */
  renewAll<T>(
    sessions: readonly SessionKey[],
    decide: (view: LeaseView, index: number) => LeaseDecision<T>,
  ): Promise<readonly T[]>;
  get(session: SessionKey): Promise<LeaseFound | undefined>;
  /** Live leases that name `receiver`, and how far the issue had come: one consistent picture. */
  ofReceiver(receiver: string): Promise<{ readonly store: LeaseStoreState; readonly leases: readonly LeaseRow[] }>;
  /** Where a watch that begins now stands. */
  head(): Promise<number>;
  /** Live leases in order of their last change, for the beginning of a watch. */
  live(filter: LeaseFilter, after: number, upTo: number, limit: number): Promise<readonly LeaseChangeRow[]>;
  /** Sessions changed after `after`, each once, with its newest state, oldest first. */
  changes(filter: LeaseFilter, after: number, limit: number): Promise<readonly LeaseChangeRow[]>;
  /** Live leases that ran out before `beforeWallMs`, longest ago first. */
  expired(beforeWallMs: number, limit: number): Promise<readonly LeaseRow[]>;
  /** Called when there may be changes; now and then for nothing. */
  onChange(wake: () => void): { close(): void };
  /**
   * A floor never goes down, save to 0 when the receiver restarted. Floors of sessions that are not alive, of receivers
   * that the lease does not name, or above its epoch are passed over.
   */
  acknowledgeFloors(floors: readonly Omit<ReceiverFloorRow, "acknowledgedWallMs">[]): Promise<void>;
  floors(session: SessionKey): Promise<readonly ReceiverFloorRow[]>;
  /** A restored store under a higher incarnation (`atLeast` or one more than it had). @returns the new one. */
  reopen(termMs: number, atLeast?: number): Promise<number>;
  /** Holds every new grant to a whole term's wait: the shared clock cannot be trusted about the old leases. */
  distrustClock(termMs: number): Promise<void>;
  incarnation(): Promise<number>;
  /** Forgets ended sessions, their epochs stay used, and requests as old. @returns how many sessions. */
  purgeEnded(beforeWallMs: number, limit: number): Promise<number>;
}
