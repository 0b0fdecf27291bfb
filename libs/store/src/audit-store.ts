/** Who did what to what; never changed, never removed, each entry chained to the one before (F-097, F-170). */
export interface AuditEntry {
  readonly tenantId: string;
  readonly atWallMs: number;
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  /** No secrets, no personal data. At most 16 KiB as JSON. */
  readonly detail: Readonly<Record<string, unknown>>;
}

/** An entry in its place. */
export interface AuditLink extends AuditEntry {
  /** From 1, without a gap. */
  readonly id: number;
  /** 32 bytes. */
  readonly previous: Uint8Array;
  /** SHA-256 of `previous` and `row`. */
  readonly digest: Uint8Array;
  /** The text the digest is taken over, made of the fields as they stand now. */
  readonly row: string;
}

export interface AuditHead {
  readonly id: number;
  readonly digest: Uint8Array;
}

export interface AuditStore {
  append(entry: AuditEntry): Promise<void>;
  /**
   * In one transaction, in order. With `report`, a key under which a repeat is recognised: the second time nothing is written.
   */
  appendMany(entries: readonly AuditEntry[], report?: string): Promise<void>;
  /** Newest first; `before` is the id of the last entry seen. */
  list(ask: {
    readonly tenantId: string;
    readonly limit: number;
    readonly before?: number;
    /** Only actions that hold this text. */
    readonly action?: string;
  }): Promise<readonly AuditLink[]>;
  /** Of all tenants, in the order of the chain, from `fromId` on. */
  read(ask: { readonly fromId: number; readonly limit: number }): Promise<readonly AuditLink[]>;
  /** Where the chain ends; id 0 when there is nothing. */
  head(): Promise<AuditHead>;
}
