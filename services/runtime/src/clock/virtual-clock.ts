import { asMonoNs, asWallMs, type MonoNs, NS_PER_MS, type WallMs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import type { Clock, TimerHandle } from "@rspp/ports/clock";

interface Timer {
  atNs: number;
  order: number;
  fire: (() => void) | null;
}

export interface VirtualClock extends Clock {
  /** Fires every timer due until then, in order of (instant, insertion), and stands at `atNs`. Synchronous; ignores holds. */
  advanceTo(atNs: MonoNs): void;
  /** Fires timers until none is left, or the next lies past `maxNs`. Stops early while held. @returns timers fired. */
  runUntilIdle(options: { maxNs: MonoNs }): number;
  /** Jumps to the next instant that has a timer and fires all that are due there. False when there is none. */
  jump(): boolean;
  /** The next timer's instant; null when there is none. */
  nextNs(): MonoNs | null;
  held(): boolean;
  /** Settles when nothing holds the clock any longer; at once when nothing does. */
  released(): Promise<void>;
  timers(): number;
}

/**
 * A clock that moves only when told. Deterministic: timers fire by (instant, insertion).
 * @param options.wallOriginMs wall time at instant 0, default 0.
 */
export function createVirtualClock(options: { wallOriginMs?: number } = {}): VirtualClock {
  return new ManualClock(options.wallOriginMs ?? 0);
}

class ManualClock implements VirtualClock {
  private readonly heap = new TimerHeap();
  private readonly wallOriginMs: number;
  private now = 0;
  private order = 0;
  private holds = 0;
  private waiters: (() => void)[] = [];

  constructor(wallOriginMs: number) {
    this.wallOriginMs = wallOriginMs;
  }

  nowNs(): MonoNs {
    return asMonoNs(this.now);
  }

  wallMs(): WallMs {
    return asWallMs(this.wallOriginMs + Math.floor(this.now / NS_PER_MS));
  }

  timerAt(atNs: MonoNs, fire: () => void): TimerHandle {
    const timer: Timer = { atNs: Math.max(atNs, this.now), order: this.order++, fire };
    this.heap.add(timer);
    return {
      clear: () => {
        if (timer.fire === null) return;
        timer.fire = null;
        this.heap.cleared();
      },
    };
  }

  hold(): () => void {
    this.holds += 1;
    let mine = true;
    return () => {
      if (!mine) return;
      mine = false;
      this.release();
    };
  }

  advanceTo(atNs: MonoNs): void {
    invariant(atNs >= this.now, "a clock never goes back", { now: this.now, atNs });
    this.fireUntil(atNs);
    this.now = Math.max(this.now, atNs);
  }

  runUntilIdle({ maxNs }: { maxNs: MonoNs }): number {
    let fired = 0;
    for (let at = this.nextNs(); at !== null && at <= maxNs && this.holds === 0; at = this.nextNs()) {
      this.fireNext();
      fired += 1;
    }
    return fired;
  }

  jump(): boolean {
    const at = this.nextNs();
    if (at === null) return false;
    this.fireUntil(at);
    return true;
  }

  nextNs(): MonoNs | null {
    const at = this.heap.peek()?.atNs;
    return at === undefined ? null : asMonoNs(at);
  }

  held(): boolean {
    return this.holds > 0;
  }

  released(): Promise<void> {
    if (this.holds === 0) return Promise.resolve();
    return new Promise((resolve) => this.waiters.push(resolve));
  }

  timers(): number {
    return this.heap.size();
  }

  private fireUntil(atNs: MonoNs): void {
    for (let at = this.nextNs(); at !== null && at <= atNs; at = this.nextNs()) this.fireNext();
  }

  private fireNext(): void {
    const timer = this.heap.take();
    if (timer === undefined) return;
    this.now = Math.max(this.now, timer.atNs);
    const { fire } = timer;
    timer.fire = null;
    fire?.();
  }

  private release(): void {
    this.holds -= 1;
    if (this.holds > 0) return;
    const ready = this.waiters;
    this.waiters = [];
    for (const resolve of ready) resolve();
  }
}

/** A binary heap by (instant, insertion). Cleared timers stay until they surface, or until they are the greater part. */
class TimerHeap {
  private items: Timer[] = [];
  private dead = 0;

  add(timer: Timer): void {
    this.items.push(timer);
    this.up(this.items.length - 1);
  }

  peek(): Timer | undefined {
    this.skipDead();
    return this.items[0];
  }

  take(): Timer | undefined {
    this.skipDead();
    return this.pop();
  }

  cleared(): void {
    this.dead += 1;
    if (this.dead < 64 || this.dead * 2 < this.items.length) return;
    const alive = this.items.filter((timer) => timer.fire !== null);
    this.items = [];
    this.dead = 0;
    for (const timer of alive) this.add(timer);
  }

  size(): number {
    return this.items.length - this.dead;
  }

  private skipDead(): void {
    while (this.items.length > 0 && (this.items[0] as Timer).fire === null) {
      this.pop();
      this.dead -= 1;
    }
  }

  private pop(): Timer | undefined {
    const top = this.items[0];
    const last = this.items.pop();
    if (top !== undefined && last !== undefined && this.items.length > 0) {
      this.items[0] = last;
      this.down();
    }
    return top;
  }

  private up(from: number): void {
    const { items } = this;
    let at = from;
    const item = items[at] as Timer;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(item, items[parent] as Timer)) break;
      items[at] = items[parent] as Timer;
      at = parent;
    }
    items[at] = item;
  }

  private down(): void {
    const { items } = this;
    let at = 0;
    const item = items[at] as Timer;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1] as Timer, items[child] as Timer)) child += 1;
      if (!before(items[child] as Timer, item)) break;
      items[at] = items[child] as Timer;
      at = child;
    }
    items[at] = item;
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.atNs < b.atNs || (a.atNs === b.atNs && a.order < b.order);
}

/** Why {@link runFast} came back. `idle`: nothing left to wait for, though `until` does not hold. */
export type RunFastEnd = "done" | "idle" | "limit";

/**
 * Runs virtual time as fast as the real work allows: while somebody holds the clock the real event loop turns; when
 * nobody does, it has one more turn, and then time jumps to the next timer.
 * @param options.until checked between jumps. @param options.maxNs virtual instant past which no timer is fired.
 */
export async function runFast(
  clock: VirtualClock,
  options: { until: () => boolean; maxNs: MonoNs },
): Promise<RunFastEnd> {
  for (;;) {
    if (options.until()) return "done";
    if (clock.held()) {
      await clock.released();
      continue;
    }
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (clock.held() || options.until()) continue;
    const at = clock.nextNs();
    if (at === null) return "idle";
    if (at > options.maxNs) return "limit";
    clock.jump();
  }
}
