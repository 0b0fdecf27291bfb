/** Brings records of the guard into the audit log, many at a time, so that the chain's lock is taken seldom (F-097). */
import { randomUUID } from "node:crypto";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { AuditService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import type { AuditSink, CallRecord } from "@rspp/rpc/call-audit";
import { type RpcConnection, rpcErrorOf } from "@rspp/rpc/clients";
import { describeFailure, type Log } from "@rspp/rpc/log";
import type { AuditEntry, AuditStore } from "@rspp/store/audit-store";
import { StoreError } from "@rspp/store/store-error";

export interface AuditWriterOptions {
  /** Durable when it resolves; a repeat under the same key writes nothing. */
  write(entries: readonly AuditEntry[], key: string): Promise<void>;
  readonly log: Log;
  wallMs?(): number;
  /** From one attempt to the next; default 250, doubled up to 5000. */
  readonly retryMs?: number;
  /** A caller whose change is done waits no longer for its record; default 2000, 0 not at all. */
  readonly waitMs?: number;
}

interface Waiting {
  readonly entry: AuditEntry;
  readonly done: () => void;
}

const queueMax = 4_096;
const batchMax = 128;
const waitMsDefault = 2_000;
const retryMsMax = 5_000;
const closeMs = 1_000;

export class AuditWriter implements AuditSink {
  readonly #options: AuditWriterOptions;
  readonly #queue: Waiting[] = [];
  #running: Promise<void> | null = null;
  #closing = false;
  /** Ends a wait between two attempts. */
  #wake: () => void = () => undefined;
  #lost = 0;
  /** The last attempt failed: told once, not at each. */
  #away = false;

  constructor(options: AuditWriterOptions) {
    this.#options = options;
  }

  /** Records that could not be kept: the queue was full, or nobody took them before the end. */
  get lost(): number {
    return this.#lost;
  }

  record(record: CallRecord): Promise<void> {
    const { log, wallMs = Date.now, waitMs = waitMsDefault } = this.#options;
    if (this.#queue.length >= queueMax || this.#closing) {
      this.#lost++;
      if (this.#lost === 1) log.error({ action: record.action }, "audit record lost: the audit log cannot be written");
      return Promise.resolve();
    }
    const entry = { ...clean(record), atWallMs: wallMs() };
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      timer.unref();
      const done = (): void => {
        clearTimeout(timer);
        resolve();
      };
      if (waitMs === 0) done();
      this.#queue.push({ entry, done });
      this.#running ??= this.#run();
    });
  }

  /** What waits is tried for a moment more. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#wake();
    const late = new Promise((resolve) => setTimeout(resolve, closeMs).unref());
    await Promise.race([this.#running ?? Promise.resolve(), late]);
    this.#lost += this.#queue.length;
    if (this.#lost > 0) this.#options.log.error({ records: this.#lost }, "audit records lost");
    for (const { done } of this.#queue.splice(0)) done();
  }

  /** Until nothing waits; its end is seen in the same moment, so that what comes next begins anew. */
  async #run(): Promise<void> {
    do await this.#drain();
    while (this.#queue.length > 0 && !this.#closing);
    this.#running = null;
  }

  async #drain(): Promise<void> {
    const { write, log, retryMs = 250 } = this.#options;
    let pauseMs = retryMs;
    // Others of the same moment come along.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch = this.#queue.slice(0, batchMax);
      const entries = batch.map(({ entry }) => entry);
      // One key for all attempts, so that a lost answer doubles nothing.
      const key = randomUUID();
      for (;;) {
        const failure = await write(entries, key).then(
          () => null,
          (thrown: unknown) => thrown ?? "nothing",
        );
        if (failure === null) {
          if (this.#away) log.info({ waiting: this.#queue.length }, "audit log is written again");
          this.#away = false;
          break;
        }
        if (!mayPass(failure)) {
          this.#lost += batch.length;
          log.error({ records: batch.length, ...describeFailure(failure) }, "audit records refused");
          break;
        }
        if (!this.#away) {
          log.warn({ waiting: this.#queue.length, ...describeFailure(failure) }, "audit log cannot be written yet");
        }
        this.#away = true;
        if (this.#closing) return;
        await this.#pause(pauseMs);
        pauseMs = Math.min(retryMsMax, pauseMs * 2);
      }
      pauseMs = retryMs;
      this.#queue.splice(0, batch.length);
      for (const { done } of batch) done();
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      timer.unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

export function writeToStore(store: AuditStore): AuditWriterOptions["write"] {
  return (entries, key) => store.appendMany(entries, entries.length > 1 ? key : undefined);
}

/** For services without a database: the registry keeps it. */
export function writeToRegistry(registry: RpcConnection): AuditWriterOptions["write"] {
  return async (entries, idempotencyKey) => {
    const reports = entries.map(({ tenantId, atWallMs, actor, action, subject, detail }) => {
      const detailJson = JSON.stringify(detail);
      return { tenantId, atWallMs: BigInt(atWallMs), actor, action, subject, detailJson };
    });
    await registry.client(AuditService).reportAudit({ reports, idempotencyKey });
  };
}

const lasting = new Set([ErrorReason.SCHEMA_VALIDATION_ERROR, ErrorReason.MESSAGE_TOO_LARGE]);

function mayPass(failure: unknown): boolean {
  if (failure instanceof StoreError) return failure.code !== "invalid";
  return !lasting.has(rpcErrorOf(failure, "registry").reason);
}

/** Texts that a database can hold: no NUL, no half of a surrogate pair. */
function clean({ tenantId, actor, action, subject, detail }: CallRecord): Omit<AuditEntry, "atWallMs"> {
  const text = (value: string, max: number): string => value.slice(0, max).toWellFormed().replaceAll("\0", "\uFFFD");
  const whole: unknown = JSON.parse(JSON.stringify(detail), (_key, value: unknown) =>
    typeof value === "string" ? text(value, 1_024) : value,
  );
  return {
    tenantId: text(tenantId, 64) || "*",
    actor: text(actor, 512) || "unknown",
    action: text(action, 256),
    subject: text(subject, 1_024),
    detail: whole as AuditEntry["detail"],
  };
}
