import { asMonoNs, type MonoNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";

interface Timer {
  readonly atNs: number;
  readonly fire: () => void;
}

/** A clock that is set on by hand. */
export class HandClock implements Pick<Clock, "nowNs" | "timerAt"> {
  #now = 0;
  readonly #timers = new Set<Timer>();

  nowNs(): MonoNs {
    return asMonoNs(this.#now);
  }

  timerAt(atNs: number, fire: () => void): TimerHandle {
    const timer = { atNs, fire };
    this.#timers.add(timer);
    return { clear: () => void this.#timers.delete(timer) };
  }

  /** Timers that have not fired. */
  pending(): number {
    return this.#timers.size;
  }

  pass(ms: number): void {
    const endNs = this.#now + ms * 1e6;
    for (let next = this.#due(endNs); next !== undefined; next = this.#due(endNs)) {
      this.#now = Math.max(this.#now, next.atNs);
      this.#timers.delete(next);
      next.fire();
    }
    this.#now = endNs;
  }

  #due(endNs: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers)
      if (timer.atNs <= endNs && (first === undefined || timer.atNs < first.atNs)) first = timer;
    return first;
  }
}
