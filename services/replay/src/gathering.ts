/**
 * When what waits of one tenant is written: together and not often. What comes while an object is being written goes into
 * the next one, which begins when that is done and {@link limits.GATHER_MS} have passed since its first record came, or
 * sooner when there is enough of it or a session has ended.
 */
import { limits } from "./limits.ts";

export class Gathering<C> {
  readonly #after: (ms: number, fire: () => void) => void;
  readonly #ready: () => void;
  /** With records that wait, in the order they came. */
  #chains: Set<C> = new Set<C>();
  #records = 0;
  #bytes = 0;
  #writing = false;
  /** Told that it is ready, and not begun yet. */
  #queued = false;
  #due = false;
  #urgent = false;
  #rested = true;
  /** Counts objects: timers of earlier ones say nothing. */
  #object = 0;
  #armed = false;

  /** @param ready called when an object is to be begun; then {@link begin} is, sooner or later. */
  constructor(after: (ms: number, fire: () => void) => void, ready: () => void) {
    this.#after = after;
    this.#ready = ready;
  }

  get idle(): boolean {
    return this.#chains.size === 0 && !this.#writing;
  }

  /** Nothing of it is remembered. */
  get spent(): boolean {
    return this.idle && this.#rested;
  }

  /** One more record of `chain`, of so many bytes. */
  add(chain: C, bytes: number, urgent: boolean): void {
    this.#chains.add(chain);
    this.#records += 1;
    this.#bytes += bytes;
    this.#urgent ||= urgent || this.#bytes >= limits.GATHER_BYTES || this.#records >= limits.GATHER_RECORDS;
    this.#look();
  }

  /** What waits goes as soon as it may. */
  hurry(): void {
    if (this.#chains.size === 0) return;
    this.#urgent = true;
    this.#look();
  }

  /** Those that have waited longest come first. {@link done} must follow. */
  begin(): readonly C[] {
    this.#queued = false;
    this.#writing = true;
    this.#due = false;
    this.#urgent = false;
    this.#armed = false;
    this.#rested = false;
    this.#object += 1;
    const chains = [...this.#chains];
    this.#chains.clear();
    this.#records = 0;
    this.#bytes = 0;
    this.#after(limits.GATHER_LEAST_MS, () => {
      this.#rested = true;
      this.#look();
    });
    return chains;
  }

  /** The object is written, or given up; `more`: of these something was left over, which goes first. */
  done(more: readonly C[]): void {
    this.#writing = false;
    this.#chains = new Set([...more, ...this.#chains]);
    if (more.length > 0) this.#urgent = true;
    this.#look();
  }

  #look(): void {
    if (this.#chains.size === 0) return;
    if (!this.#armed) {
      this.#armed = true;
      const object = this.#object;
      this.#after(limits.GATHER_MS, () => {
        if (object !== this.#object) return;
        this.#due = true;
        this.#look();
      });
    }
    if (this.#writing || this.#queued || !(this.#due || (this.#urgent && this.#rested))) return;
    this.#queued = true;
    this.#ready();
  }
}
