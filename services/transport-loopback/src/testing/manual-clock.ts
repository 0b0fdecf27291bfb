import { asMonoNs, asWallMs, type MonoNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";

/** A clock for tests that moves only when told; timers fire by (instant, order of setting). */
export class ManualClock implements Clock {
  #now = 0;
  #order = 0;
  #timers: { at: number; order: number; fire: () => void }[] = [];

  nowNs(): MonoNs {
    return asMonoNs(this.#now);
  }

  wallMs() {
    return asWallMs(Math.floor(this.#now / 1e6));
  }

  timerAt(atNs: MonoNs, fire: () => void): TimerHandle {
    const timer = { at: Math.max(atNs, this.#now), order: this.#order++, fire };
    this.#timers.push(timer);
    return {
      clear: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  hold(): () => void {
    return () => {};
  }

  pending(): number {
    return this.#timers.length;
  }

  advanceTo(ns: number): void {
    for (;;) {
      const due = this.#timers.filter((t) => t.at <= ns).sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#now = Math.max(this.#now, due.at);
      due.fire();
    }
    this.#now = ns;
  }

  /** The process stands still: time passes, and timers are late. */
  stallMs(ms: number): void {
    this.#now += Math.round(ms * 1e6);
  }

  advanceMs(ms: number): void {
    this.advanceTo(this.#now + Math.round(ms * 1e6));
  }
}
