/** Side-effecting calls that have been begun, by session and idempotency key: none is made a second time (X-03, F-158). */
import type { InvocationOpen } from "@rspp/ports/provider";

const KEYS_MAX = 10_000;

export class ExecutedCalls {
  readonly #seen = new Set<string>();
  readonly #max: number;

  /** @param max keys remembered; the oldest is forgotten. Default 10000. */
  constructor(max: number = KEYS_MAX) {
    this.#max = max;
  }

  /** False when this very call has been begun before, whatever became of it. */
  begin({ tenantId = "", sessionId, idempotencyKey }: InvocationOpen): boolean {
    const key = JSON.stringify([tenantId, sessionId, idempotencyKey]);
    if (this.#seen.has(key)) return false;
    const [oldest] = this.#seen;
    if (this.#seen.size >= this.#max && oldest !== undefined) this.#seen.delete(oldest);
    this.#seen.add(key);
    return true;
  }
}
