import { asMonoNs, asWallMs, type MonoNs, msToNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";

/** A clock for tests whose time moves only when told to. */
export class ManualClock implements Clock {
  #now = 0;
  #sequence = 0;
  #holds = 0;
  #timers: { at: number; sequence: number; fire: () => void }[] = [];

  nowNs(): MonoNs {
    return asMonoNs(this.#now);
  }

  wallMs() {
    return asWallMs(Math.floor(this.#now / 1e6));
  }

  timerAt(atNs: MonoNs, fire: () => void): TimerHandle {
    const timer = { at: Math.max(atNs, this.#now), sequence: this.#sequence++, fire };
    this.#timers.push(timer);
    return {
      clear: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  hold(): () => void {
    this.#holds++;
    let held = true;
    return () => {
      if (held) this.#holds--;
      held = false;
    };
  }

  get holds(): number {
    return this.#holds;
  }

  get pending(): number {
    return this.#timers.length;
  }

  /** Fires what is due within `ms`, in order of time, then of registration. */
  advance(ms: number): void {
    const end = this.#now + msToNs(ms);
    for (;;) {
      const [next] = this.#timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at || a.sequence - b.sequence);
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#now = next.at;
      next.fire();
    }
    this.#now = end;
  }
}

/** The operating system's clock, for tests of adapters that do real work. */
export function systemClock(): Clock {
  const origin = performance.now();
  return {
    nowNs: () => asMonoNs(Math.round((performance.now() - origin) * 1e6)),
    wallMs: () => asWallMs(Date.now()),
    timerAt(atNs, fire) {
      const timer = setTimeout(fire, Math.max(0, atNs / 1e6 - (performance.now() - origin)));
      return { clear: () => clearTimeout(timer) };
    },
    hold: () => () => {},
  };
}
