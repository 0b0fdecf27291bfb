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
  #state: "up" | "paused" | "dead" = "up";
  #life = 1;
  #waiting: (() => void)[] = [];

  constructor(name: string, world: VirtualClock) {
    this.name = name;
    this.#world = world;
    this.clock = {
      nowNs: () => world.nowNs(),
      wallMs: () => asWallMs(world.wallMs()),
      timerAt: (atNs, fire) => this.#timer(atNs, fire),
      hold: () => () => {},
    };
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
    return this.clock.timerAt(asMonoNs(this.#world.nowNs() + msToNs(ms)), run);
  }

  /** In a later turn of its event loop, at the same instant. */
  defer = (run: () => void): void => {
    this.clock.timerAt(this.#world.nowNs(), run);
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

  #timer(atNs: MonoNs, fire: () => void): TimerHandle {
    const life = this.#life;
    let cleared = false;
    const handle = this.#world.timerAt(atNs, () =>
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
