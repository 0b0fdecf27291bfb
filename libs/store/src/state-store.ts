export interface SessionKey {
  readonly tenantId: string;
  readonly sessionId: string;
}

export interface StateEntry {
  readonly key: string;
  /** At most 1 MiB; never read by the store. */
  readonly value: Uint8Array;
  readonly schema: string;
}

export interface SessionState {
  readonly session: SessionKey;
  /** Of the last write; 0 before the first. */
  readonly epoch: number;
  /** Rises by one per write; 0 nothing was written. */
  readonly version: number;
  readonly writtenWallMs: number;
  readonly entries: readonly StateEntry[];
}

export interface StateWrite {
  readonly session: SessionKey;
  readonly epoch: number;
  readonly expectedVersion: number;
  readonly put: readonly StateEntry[];
  readonly remove: readonly string[];
  /** The last write repeated under its key is answered again and not done again. */
  readonly requestKey: string;
}

/** kernel.md §7: the store of session state is a receiver like any other. */
export type StateRefusal =
  /** Below the floor: the session's lease, or what wrote last. `floor` goes back so that the writer fences itself. */
  | { readonly kind: "stale_epoch"; readonly floor: number }
  /** Above anything that was granted. */
  | { readonly kind: "unproved_epoch"; readonly floor: number }
  | { readonly kind: "version_conflict"; readonly version: number };

export type StateOutcome =
  | { readonly kind: "written"; readonly version: number; readonly repeated: boolean }
  | StateRefusal;

/** Session-durable state (kernel.md §8): compare-and-set on (session, epoch, version). Calls may reject with StoreError. */
export interface StateStore {
  /** `keys` empty: all. */
  get(session: SessionKey, keys?: readonly string[]): Promise<SessionState>;
  compareAndSet(write: StateWrite): Promise<StateOutcome>;
  /** Under the same epoch check; nothing is kept but the floor. */
  delete(session: SessionKey, epoch: number): Promise<{ readonly kind: "deleted" } | StateRefusal>;
}
