import type { RuntimeSession } from "./runtime.ts";

interface Calls {
  readonly answers: Map<string, Promise<string>>;
  last: Promise<unknown>;
}

/** Answers by idempotency key, per session, as long as it lives; the oldest are forgotten first. */
export class IdempotencyKeys {
  readonly #max: number;
  readonly #calls = new WeakMap<RuntimeSession["ended"], Calls>();

  constructor(max: number) {
    this.#max = max;
  }

  /** What `work` gave when it first ran under this key; works of one session run one after another. */
  once(session: RuntimeSession, key: string, work: () => Promise<string>): Promise<string> {
    const calls = this.#calls.get(session.ended) ?? { answers: new Map(), last: Promise.resolve() };
    this.#calls.set(session.ended, calls);
    const known = calls.answers.get(key);
    if (known !== undefined) return known;
    const answer = calls.last.then(work);
    calls.last = answer.catch(() => undefined);
    calls.answers.set(key, answer);
    // What was refused may be asked again.
    answer.catch(() => calls.answers.delete(key));
    const [oldest] = calls.answers.keys();
    if (calls.answers.size > this.#max && oldest !== undefined) calls.answers.delete(oldest);
    return answer;
  }
}
