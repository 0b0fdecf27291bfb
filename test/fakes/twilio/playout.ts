/** What a carrier does with the audio it is sent: it plays in real time, in order, and sends marks back when they are reached. */

const BYTES_PER_MS = 8;

type Item = { readonly bytes: Uint8Array; readonly n: number } | { readonly mark: string; readonly n: number };

/** A stretch that the callee's ear has heard. */
export interface Heard {
  /** Number of the message that brought it. */
  readonly n: number;
  readonly bytes: Uint8Array;
  readonly atMs: number;
}

export class Playout {
  readonly heard: Heard[] = [];
  /** Messages in the order they came: `media` by length, `mark` by name, `clear`. */
  readonly got: { kind: "media" | "mark" | "clear"; name: string; ms: number; atMs: number }[] = [];
  readonly #queue: Item[] = [];
  readonly #sendMark: (name: string) => void;
  /** When the sample at the head of the queue is played. */
  #headMs = 0;
  #offset = 0;

  constructor(sendMark: (name: string) => void) {
    this.#sendMark = sendMark;
  }

  media(bytes: Uint8Array): void {
    const nowMs = performance.now();
    if (this.#queue.length === 0) this.#headMs = nowMs;
    this.#queue.push({ bytes, n: this.got.length });
    this.got.push({ kind: "media", name: "", ms: bytes.length / BYTES_PER_MS, atMs: nowMs });
  }

  mark(name: string): void {
    this.#queue.push({ mark: name, n: this.got.length });
    this.got.push({ kind: "mark", name, ms: 0, atMs: performance.now() });
    this.advance();
  }

  /** What was not heard is dropped, and its marks come back at once. @returns milliseconds dropped */
  clear(): number {
    this.advance();
    this.got.push({ kind: "clear", name: "", ms: 0, atMs: performance.now() });
    let bytes = -this.#offset;
    this.#offset = 0;
    for (const item of this.#queue.splice(0)) {
      if ("mark" in item) this.#sendMark(item.mark);
      else bytes += item.bytes.length;
    }
    return Math.max(0, bytes) / BYTES_PER_MS;
  }

  /** Plays up to now. */
  advance(): void {
    const nowMs = performance.now();
    for (let item = this.#queue[0]; item !== undefined; item = this.#queue[0]) {
      if ("mark" in item) {
        this.#queue.shift();
        this.#sendMark(item.mark);
        continue;
      }
      const due = Math.min(item.bytes.length, Math.floor((nowMs - this.#headMs) * BYTES_PER_MS) + this.#offset);
      if (due > this.#offset) {
        this.heard.push({ n: item.n, bytes: item.bytes.subarray(this.#offset, due), atMs: nowMs });
        this.#headMs += (due - this.#offset) / BYTES_PER_MS;
        this.#offset = due;
      }
      if (this.#offset < item.bytes.length) return;
      this.#queue.shift();
      this.#offset = 0;
    }
  }

  /** All of it, in one piece. */
  voice(fromMs = 0): Uint8Array {
    return Buffer.concat(this.heard.filter(({ atMs }) => atMs >= fromMs).map(({ bytes }) => bytes));
  }
}
