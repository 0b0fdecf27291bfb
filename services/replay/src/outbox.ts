/** A queue that is written from anywhere and read once, as the answers of a stream. */
export class Outbox<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  #ended = false;
  #failure: unknown = null;
  #wake: (() => void) | null = null;
  readonly #taken: () => void;

  /** @param taken called after each item that was read. */
  constructor(taken: () => void = () => undefined) {
    this.#taken = taken;
  }

  get size(): number {
    return this.#items.length;
  }

  push(item: T): void {
    if (this.#ended) return;
    this.#items.push(item);
    this.#wake?.();
  }

  /** What is queued is still read. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** What is queued is still read, then the reader gets `failure`. The first one counts. */
  fail(failure: unknown): void {
    if (this.#ended) return;
    this.#failure = failure;
    this.end();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        yield item;
        this.#taken();
      } else if (!this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve));
      else if (this.#failure !== null) throw this.#failure;
      else return;
    }
  }
}
