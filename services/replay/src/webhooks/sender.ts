/**
 * Calls the webhooks that wait in the database: at least once, each with the same id and body at every attempt, later
 * and later, until one is answered with 2xx or the attempts are used up. Any number of processes may do so; one that dies
 * in a call leaves it to be made again.
 */
import { describeFailure, type Log } from "@rspp/rpc/log";
import type { DueWebhook, SessionEnds, WebhookOutcome } from "@rspp/store/session-ends";
import { StoreError } from "@rspp/store/store-error";
import { limits } from "../limits.ts";
import { refusalOf, type WebhookAccess } from "./access.ts";
import type { PostWebhook } from "./post.ts";
import { keysOf, signedHeaders } from "./signature.ts";

export interface WebhookSenderOptions {
  readonly ends: SessionEnds;
  readonly access: WebhookAccess;
  readonly post: PostWebhook;
  readonly log: Log;
  readonly wallMs: () => number;
  /** From 0 up to 1, without it. */
  readonly random: () => number;
  /** Who stands in the audit log. */
  readonly actor: string;
}

export class WebhookSender {
  readonly #options: WebhookSenderOptions;
  /** Calls under way, by tenant. */
  readonly #running = new Map<string, number>();
  readonly #abort = new AbortController();
  #calls = new Set<Promise<void>>();
  #taking: Promise<void> | null = null;

  constructor(options: WebhookSenderOptions) {
    this.#options = options;
  }

  /** Begins as many calls as may be under way. @returns how many. Rejects with a StoreError. */
  async step(): Promise<number> {
    let begun = 0;
    while (this.#taking !== null) await this.#taking;
    let done: () => void = () => undefined;
    this.#taking = new Promise((resolve) => {
      done = resolve;
    });
    try {
      while (this.#calls.size < limits.WEBHOOK_CALLS_MAX && !this.#abort.signal.aborted) {
        const except = [...this.#running].filter(([, n]) => n >= limits.WEBHOOK_TENANT_CALLS_MAX).map(([id]) => id);
        const nowWallMs = this.#options.wallMs();
        const found = await this.#options.ends.take({ nowWallMs, leaseMs: limits.WEBHOOK_LEASE_MS, except });
        if (found === undefined) break;
        begun += 1;
        this.#begin(found);
      }
    } finally {
      this.#taking = null;
      done();
    }
    return begun;
  }

  /** Settles when no call is under way. */
  async idle(): Promise<void> {
    while (this.#calls.size > 0) await Promise.all(this.#calls);
  }

  /** What is under way is cut off, and made again by whoever is there after this process. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.idle();
  }

  #begin(webhook: DueWebhook): void {
    const { tenantId } = webhook.session;
    const running = this.#running;
    running.set(tenantId, (running.get(tenantId) ?? 0) + 1);
    const call = this.#call(webhook).finally(() => {
      const left = (running.get(tenantId) ?? 1) - 1;
      if (left === 0) running.delete(tenantId);
      else running.set(tenantId, left);
      this.#calls.delete(call);
    });
    this.#calls.add(call);
  }

  /** Never rejects. */
  async #call(webhook: DueWebhook): Promise<void> {
    const { ends, log, wallMs, actor } = this.#options;
    const { id, attempts, session, event } = webhook;
    try {
      const outcome = await this.#attempt(webhook);
      if (this.#abort.signal.aborted && !outcome.delivered) return;
      await ends.settle(webhook, outcome, { wallMs: wallMs(), actor });
      const told = { webhook: id, event, tenantId: session.tenantId, attempts, outcome: outcome.outcome };
      if (outcome.delivered) log.debug(told, "webhook delivered");
      else if (outcome.retryAtWallMs !== null) log.info(told, "webhook not delivered yet");
      else log.warn(told, "webhook given up: see the audit log");
    } catch (failure) {
      // The lease of this attempt ends, and somebody makes the next.
      log.warn({ webhook: id, ...describeFailure(failure) }, "webhook's outcome not stored");
    }
  }

  async #attempt(webhook: DueWebhook): Promise<WebhookOutcome> {
    const { access, post, wallMs } = this.#options;
    const url = new URL(webhook.url);
    const refusal = refusalOf(url, access);
    if (refusal !== "") return { delivered: false, retryAtWallMs: null, outcome: refusal };
    const keys = await this.#keys(webhook);
    if (typeof keys === "string") return this.#later(webhook, keys);
    const { status, problem } = await post({
      url,
      headers: signedHeaders(webhook, keys, wallMs()),
      body: webhook.body,
      deadlineMs: limits.WEBHOOK_DEADLINE_MS,
      anyAddress: access.anyAddress(url),
      signal: this.#abort.signal,
    });
    if (status >= 200 && status < 300) return { delivered: true, retryAtWallMs: null, outcome: `HTTP ${status}` };
    const outcome = status === 0 ? problem : `HTTP ${status}`;
    // Standard Webhooks: gone for good. And where a name leads is not mended by another try of ours.
    if (status === 410 || problem === "private address") return { delivered: false, retryAtWallMs: null, outcome };
    return this.#later(webhook, outcome);
  }

  /** Read anew for each attempt, so that a rotated secret is met; words when there is none. */
  async #keys({ secret, secretTenant }: DueWebhook): Promise<readonly Uint8Array[] | string> {
    try {
      const value = await this.#options.access.secret(secretTenant, secret);
      if (value === null) return "secret not allowed: see webhook_secrets";
      return keysOf(value) ?? "secret is not whsec_ and base64 of 24 to 64 bytes";
    } catch (failure) {
      if (failure instanceof StoreError) return "secret missing";
      throw failure;
    }
  }

  #later({ attempts }: DueWebhook, outcome: string): WebhookOutcome {
    const pause = limits.WEBHOOK_RETRY_MS[attempts - 1];
    if (pause === undefined) return { delivered: false, retryAtWallMs: null, outcome };
    const jitter = 1 + limits.WEBHOOK_JITTER * (2 * this.#options.random() - 1);
    return { delivered: false, retryAtWallMs: Math.round(this.#options.wallMs() + pause * jitter), outcome };
  }
}
