/** Sums sessions up when nothing more is expected of them, and enters whom it is told (F-075, X-06). */
import { createHash } from "node:crypto";
import { describeFailure, type Log } from "@rspp/rpc/log";
import type { EndedTimeline, NewWebhook, SessionEnds } from "@rspp/store/session-ends";
import type { SessionKey } from "@rspp/store/state-store";
import { limits } from "./limits.ts";
import { readSegments } from "./read-timeline.ts";
import type { SegmentStores } from "./segment-writer.ts";
import { type SessionSummary, SessionSummaryBuilder } from "./session-summary.ts";
import type { TenantDirectory } from "./tenant-settings.ts";

export interface SessionCloserOptions extends SegmentStores {
  readonly ends: SessionEnds;
  readonly tenants: TenantDirectory;
  readonly log: Log;
  readonly wallMs: () => number;
  readonly actor: string;
}

/** From its records as they are stored now. Rejects with a StoreError where the store is not there. */
export async function summarise(stores: SegmentStores, session: SessionKey): Promise<SessionSummary> {
  const builder = new SessionSummaryBuilder();
  for await (const { records, problem } of readSegments(stores, session)) {
    for (const record of records) builder.take(record);
    if (problem !== null) builder.damaged();
  }
  return builder.finish(session);
}

export class SessionCloser {
  readonly #options: SessionCloserOptions;

  constructor(options: SessionCloserOptions) {
    this.#options = options;
  }

  /** Some of those that are due. @returns how many were closed here. Rejects with a StoreError. */
  async step(): Promise<number> {
    const { ends, wallMs } = this.#options;
    const nowWallMs = wallMs();
    const due = await ends.due({
      endedBeforeMs: nowWallMs - limits.END_SETTLE_MS,
      silentBeforeMs: nowWallMs - limits.END_SILENT_MS,
      nowWallMs,
      limit: limits.SUMMARIES_AT_ONCE,
    });
    let closed = 0;
    for (const timeline of due) {
      try {
        if (await this.#close(timeline)) closed += 1;
      } catch (failure) {
        // One that the store refuses keeps no other waiting; it is tried again.
        this.#options.log.warn({ ...timeline.session, ...describeFailure(failure) }, "session not summed up yet");
      }
    }
    return closed;
  }

  async #close({ session, pipelineName }: EndedTimeline): Promise<boolean> {
    const { ends, tenants, wallMs, actor } = this.#options;
    const summary = await summarise(this.#options, session);
    const { config, webhooksOf } = await tenants.settings(session.tenantId);
    const webhooks = (config.webhooks ?? []).flatMap(({ url, secret, events }): NewWebhook[] =>
      events.map((event) => ({
        id: webhookId(session, event, url),
        session,
        event,
        url,
        secret,
        secretTenant: webhooksOf,
        body: bodyOf(event, summary),
      })),
    );
    const stored = { session, endedWallMs: summary.ended_wall_ms, pipelineName, summary: { ...summary } };
    return ends.close(stored, webhooks, { wallMs: wallMs(), queueMax: limits.WEBHOOK_QUEUE_MAX, actor });
  }
}

/** One event at one endpoint has one id, however often and by whomever it is entered or called. */
export function webhookId({ tenantId, sessionId }: SessionKey, event: string, url: string): string {
  const named = JSON.stringify([tenantId, sessionId, event, url]);
  return `msg_${createHash("sha256").update(named).digest("hex").slice(0, 32)}`;
}

/** Numbers, names and reasons: nothing that was said. */
function bodyOf(type: string, summary: SessionSummary): string {
  return JSON.stringify({ type, timestamp: new Date(summary.ended_wall_ms).toISOString(), data: summary });
}
