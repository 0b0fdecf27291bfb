import type { SessionKey } from "./state-store.ts";

/** Why timelines go: who says so, and from when on they are kept. Written into the audit log as it is. */
export interface RetentionAsk {
  readonly tenantId: string;
  /** Timelines whose last record is older go. */
  readonly beforeWallMs: number;
  readonly nowWallMs: number;
  /** Timelines at once; at most 64. */
  readonly limit: number;
  readonly actor: string;
  /** The document and what it asks for, e.g. `tenant_config/default@3`. */
  readonly reason: Readonly<Record<string, string | number>>;
}

export interface ExpiredTimelines {
  readonly sessions: readonly SessionKey[];
  /** Objects that held something of them; others' records may stand there too. */
  readonly objectKeys: readonly string[];
  readonly records: number;
  readonly bytes: number;
}

/** What ends by age (F-116). Every call may reject with a StoreError. */
export interface TimelineRetention {
  /** Tenants with timelines, in order, after `after`. */
  tenants(after: string, limit: number): Promise<readonly string[]>;
  /**
   * Removes the oldest timelines that are past their time, with the durable state of their sessions, and says so in the
   * audit log: all in one transaction. A session that lives (by its row, or by a lease that runs) is never among them.
   */
  expire(ask: RetentionAsk): Promise<ExpiredTimelines>;
}
