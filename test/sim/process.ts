import { asMonoNs, asWallMs, type MonoNs, msToNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { VirtualClock } from "@rspp/runtime/clock/virtual-clock";

/**
 * One process of the world. What reaches it, timers and messages alike, goes through `post`: a paused process does it all
 * when it goes on, a dead one never. Whatever belongs to an earlier life of it is dropped.
 */
export class SimProcess {
  readonly name: string;
  readonly clock: Clock;
  readonly #world: VirtualClock;
  /** Its own monotonic clock: where it began and how fast it goes, against the world's. */
  #rate = 1;
  #originNs = 0;
  /** How far its wall clock is off, milliseconds. */
  wallShiftMs = 0;
  #state: "up" | "paused" | "dead" = "up";
  #life = 1;
  #waiting: (() => void)[] = [];

  constructor(name: string, world: VirtualClock) {
    this.name = name;
    this.#world = world;
    this.clock = {
      nowNs: () => this.#localNs(world.nowNs()),
      wallMs: () => asWallMs(world.wallMs() + this.wallShiftMs),
      timerAt: (atNs, fire) => this.#timer(atNs, fire),
      hold: () => () => {},
    };
  }

  /** A clock of its own from here on: `ppm` fast or slow, `originNs` at the world's beginning. Before anything is timed. */
  skew(ppm: number, originNs: number): void {
    this.#rate = 1 + ppm / 1e6;
    this.#originNs = originNs;
  }

  /** The world's instant at which this process's clock stands at `localNs` or first passes it. */
  worldNs(localNs: number): number {
    if (this.#rate === 1) return localNs - this.#originNs;
    let at = Math.ceil((localNs - this.#originNs) / this.#rate);
    while (this.#localNs(at) < localNs) at += 1;
    return at;
  }

  get life(): number {
    return this.#life;
  }

  up(): boolean {
    return this.#state === "up";
  }

  dead(): boolean {
    return this.#state === "dead";
  }

  post(run: () => void): void {
    if (this.#state === "up") run();
    else if (this.#state === "paused") this.#waiting.push(run);
  }

  after(ms: number, run: () => void): TimerHandle {
    return this.clock.timerAt(asMonoNs(this.clock.nowNs() + msToNs(ms)), run);
  }

  /** In a later turn of its event loop, at the same instant. */
  defer = (run: () => void): void => {
    this.clock.timerAt(this.clock.nowNs(), run);
  };

  pause(): void {
    if (this.#state === "up") this.#state = "paused";
  }

  resume(): void {
    if (this.#state !== "paused") return;
    this.#state = "up";
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const run of waiting) this.post(run);
  }

  kill(): void {
    this.#state = "dead";
    this.#life += 1;
    this.#waiting = [];
  }

  restart(): void {
    this.#state = "up";
  }

  #localNs(worldNs: number): MonoNs {
    return asMonoNs(this.#originNs + Math.floor(worldNs * this.#rate));
  }

  #timer(atNs: MonoNs, fire: () => void): TimerHandle {
    const life = this.#life;
    let cleared = false;
    const handle = this.#world.timerAt(asMonoNs(this.worldNs(atNs)), () =>
      this.post(() => {
        if (!cleared && life === this.#life) fire();
      }),
    );
    return {
      clear() {
        cleared = true;
        handle.clear();
      },
    };
  }
}
