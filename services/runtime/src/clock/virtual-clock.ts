import { asMonoNs, asWallMs, type MonoNs, NS_PER_MS } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import type { Clock } from "@rspp/ports/clock";

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
  const heap = createHeap();
  const wallOriginMs = options.wallOriginMs ?? 0;
  let now = 0;
  let order = 0;
  let holds = 0;
  let waiters: (() => void)[] = [];

  const fireNext = (): void => {
    const timer = heap.take();
    if (timer === undefined) return;
    now = Math.max(now, timer.atNs);
    const fire = timer.fire;
    timer.fire = null;
    fire?.();
  };
  const next = (): number | null => heap.peek()?.atNs ?? null;
  const release = (): void => {
    holds -= 1;
    if (holds > 0) return;
    const ready = waiters;
    waiters = [];
    for (const resolve of ready) resolve();
  };

  return {
    nowNs: () => asMonoNs(now),
    wallMs: () => asWallMs(wallOriginMs + Math.floor(now / NS_PER_MS)),
    timerAt(atNs, fire) {
      const timer: Timer = { atNs: Math.max(atNs, now), order: order++, fire };
      heap.add(timer);
      return {
        clear() {
          if (timer.fire === null) return;
          timer.fire = null;
          heap.cleared();
        },
      };
    },
    hold() {
      holds += 1;
      let mine = true;
      return () => {
        if (!mine) return;
        mine = false;
        release();
      };
    },
    advanceTo(atNs) {
      invariant(atNs >= now, "a clock never goes back", { now, atNs });
      for (let at = next(); at !== null && at <= atNs; at = next()) fireNext();
      now = Math.max(now, atNs);
    },
    runUntilIdle({ maxNs }) {
      let fired = 0;
      for (let at = next(); at !== null && at <= maxNs && holds === 0; at = next()) {
        fireNext();
        fired += 1;
      }
      return fired;
    },
    jump() {
      const at = next();
      if (at === null) return false;
      for (let due: number | null = at; due !== null && due <= at; due = next()) fireNext();
      return true;
    },
    nextNs() {
      const at = next();
      return at === null ? null : asMonoNs(at);
    },
    held: () => holds > 0,
    released: () => (holds === 0 ? Promise.resolve() : new Promise((resolve) => waiters.push(resolve))),
    timers: () => heap.size(),
  };
}

/** A binary heap by (instant, insertion). Cleared timers stay until they surface, or until they are the greater part. */
function createHeap() {
  let items: Timer[] = [];
  let dead = 0;
  const before = (a: Timer, b: Timer): boolean => a.atNs < b.atNs || (a.atNs === b.atNs && a.order < b.order);
  const up = (from: number): void => {
    let at = from;
    const item = items[at] as Timer;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(item, items[parent] as Timer)) break;
      items[at] = items[parent] as Timer;
      at = parent;
    }
    items[at] = item;
  };
  const down = (from: number): void => {
    let at = from;
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
  };
  const pop = (): Timer | undefined => {
    const top = items[0];
    const last = items.pop();
    if (top !== undefined && last !== undefined && items.length > 0) {
      items[0] = last;
      down(0);
    }
    return top;
  };
  const skipDead = (): void => {
    while (items.length > 0 && (items[0] as Timer).fire === null) {
      pop();
      dead -= 1;
    }
  };
  return {
    add(timer: Timer): void {
      items.push(timer);
      up(items.length - 1);
    },
    peek(): Timer | undefined {
      skipDead();
      return items[0];
    },
    take(): Timer | undefined {
      skipDead();
      return pop();
    },
    cleared(): void {
      dead += 1;
      if (dead < 64 || dead * 2 < items.length) return;
      const alive = items.filter((timer) => timer.fire !== null);
      items = [];
      dead = 0;
      for (const timer of alive) {
        items.push(timer);
        up(items.length - 1);
      }
    },
    size: () => items.length - dead,
  };
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
