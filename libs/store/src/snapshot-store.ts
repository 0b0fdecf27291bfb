/** Versions of the control plane's snapshots, one row per kind, agreed on by all replicas (kernel.md §7; F-102, F-159). */

export interface StoredSnapshot {
  readonly kind: string;
  /** From 1, rising. */
  readonly version: number;
  /** SHA-256 of the content, hexadecimal. */
  readonly digest: string;
  readonly content: Uint8Array;
  /** When this content was first taken. */
  readonly takenWallMs: number;
}

export interface ProviderReportRow {
  readonly provider: string;
  /** 1 closed, 2 open, 3 half open. */
  readonly circuit: number;
  readonly errorPermille: number;
  readonly p95FirstOutputMs: number;
  /** Null: not known. */
  readonly priceMicros: number | null;
  readonly available: boolean;
}

export interface StoredProviderReport extends ProviderReportRow {
  readonly instanceId: string;
  readonly reportedWallMs: number;
}

/** Every call may reject with a StoreError. */
export interface SnapshotStore {
  /** Those that were published, `newerThan` their version by kind; 0 or absent: any. */
  read(newerThan: Readonly<Record<string, number>>): Promise<readonly StoredSnapshot[]>;
  /**
   * Takes a kind for itself, has its content made and keeps it under the next version unless it is what stands. Null: another
   * replica is at it now, or `make` gave null.
   */
  publish(
    kind: string,
    make: (current: StoredSnapshot | null) => Promise<Uint8Array | null>,
    wallMs: number,
  ): Promise<{ readonly snapshot: StoredSnapshot; readonly changed: boolean } | null>;
  /** A watcher has a version this database has not given out, since it was set back: numbers go on after that one. */
  raise(kind: string, above: number): Promise<void>;
  /** Calls `wake` when a snapshot was published, by whichever replica, and after every reconnect. */
  onChange(wake: () => void): { close(): void };
  /** 0…256 of one gateway; those it does not name any more are gone. */
  reportProviders(instanceId: string, rows: readonly ProviderReportRow[], wallMs: number): Promise<void>;
  /** Told since; at most 16384. */
  providerReports(sinceWallMs: number): Promise<readonly StoredProviderReport[]>;
  /** Reports of before; says how many they were. */
  forgetProviders(beforeWallMs: number): Promise<number>;
}
