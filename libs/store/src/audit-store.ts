/** Who did what to what; never changed, never removed. */
export interface AuditEntry {
  readonly tenantId: string;
  readonly atWallMs: number;
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  /** No secrets, no personal data. At most 16 KiB as JSON. */
  readonly detail: Readonly<Record<string, unknown>>;
}

export interface AuditStore {
  append(entry: AuditEntry): Promise<void>;
  /** Newest first; `before` is the id of the last entry seen. */
  list(ask: {
    readonly tenantId: string;
    readonly limit: number;
    readonly before?: number;
  }): Promise<readonly (AuditEntry & { readonly id: number })[]>;
}
