/** Sessions that have ended: their summaries (F-075), and whom their ends are told by webhook. */
import type { SessionKey } from "./state-store.ts";

/** A timeline that nothing is appended to any more, and that has no summary yet. */
export interface EndedTimeline {
  readonly session: SessionKey;
  readonly pipelineName: string;
  readonly lastWallMs: number;
  /** False: its runtime is gone without a word of the end, and nobody took the session over. */
  readonly ended: boolean;
}

export interface StoredSummary {
  readonly session: SessionKey;
  readonly endedWallMs: number;
  readonly pipelineName: string;
  readonly summary: Readonly<Record<string, unknown>>;
}

/** One event for one endpoint. */
export interface NewWebhook {
  /** The same for the same event and endpoint, so that a second entry is none, and a receiver recognises a repeat. */
  readonly id: string;
  readonly session: SessionKey;
  readonly event: string;
  readonly url: string;
  /** Reference of the secret, and whose configuration names it. */
  readonly secret: string;
  readonly secretTenant: string;
  readonly body: string;
}

/** A webhook that this process was given to call; `attempts` counts this one. */
export interface DueWebhook extends NewWebhook {
  readonly createdWallMs: number;
  readonly attempts: number;
}

/** What became of a call: `retryAtWallMs` null ends it. */
export interface WebhookOutcome {
  readonly delivered: boolean;
  readonly retryAtWallMs: number | null;
  /** Short words, no payload, no secret. */
  readonly outcome: string;
}

/** Every call may reject with a StoreError. */
export interface SessionEnds {
  /**
   * Oldest first: those whose end is recorded and that were quiet since `endedBeforeMs`, and the others since
   * `silentBeforeMs`. None whose session lives, by its row or by its lease: a runtime records an end, too, when another
   * takes the session over.
   */
  due(ask: {
    readonly endedBeforeMs: number;
    readonly silentBeforeMs: number;
    readonly nowWallMs: number;
    readonly limit: number;
  }): Promise<readonly EndedTimeline[]>;
  /**
   * Summary and webhooks in one transaction, once: false where another process was first. Past `queueMax` waiting webhooks of
   * the tenant they are entered as dead, with an audit entry each.
   */
  close(
    summary: StoredSummary,
    webhooks: readonly NewWebhook[],
    at: { readonly wallMs: number; readonly queueMax: number; readonly actor: string },
  ): Promise<boolean>;
  summary(session: SessionKey): Promise<StoredSummary | undefined>;
  /** Newest first, of one tenant. */
  summaries(ask: {
    readonly tenantId: string;
    readonly pipelineName?: string;
    readonly sinceWallMs?: number;
    readonly limit: number;
    readonly after?: string | null;
  }): Promise<{ readonly summaries: readonly StoredSummary[]; readonly next: string | null }>;
  /** The webhook that waits longest, of none of `except`'s tenants; nobody else is given it before `leaseMs` are over. */
  take(ask: {
    readonly nowWallMs: number;
    readonly leaseMs: number;
    readonly except: readonly string[];
  }): Promise<DueWebhook | undefined>;
  /** The end of an attempt. One that is dead stands in the audit log, in the same transaction. */
  settle(webhook: DueWebhook, outcome: WebhookOutcome, at: { wallMs: number; actor: string }): Promise<void>;
  /** Removes what was finished before. @returns how many. */
  forget(beforeWallMs: number): Promise<number>;
}
