/**
 * Audio that comes all at once, after a cut or a bad stretch of network, is handed on a few times faster than it was
 * spoken. The runtime listens in real time: voice detection must have looked at a frame before the pre-roll has moved past
 * it, and its edges hold a second (kernel.md §4; F-091).
 */
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import { limits } from "./limits.ts";

interface Waiting {
  readonly durationUs: number;
  readonly send: () => void;
}

export class AudioPace {
  readonly #clock: Pick<Clock, "nowNs" | "timerAt">;
  #waiting: Waiting[] = [];
  /** Audio that may go on at once, microseconds. */
  #creditUs: number = limits.PACE_BURST_MS * 1_000;
  #creditAtNs: number;
  #timer: TimerHandle | null = null;

  constructor(clock: Pick<Clock, "nowNs" | "timerAt">) {
    this.#clock = clock;
    this.#creditAtNs = clock.nowNs();
  }

  /** True where nothing waits and there is room: what lasts so long may go on at once, and is counted. */
  passes(durationUs: number): boolean {
    if (this.#waiting.length > 0) return false;
    this.#earn(this.#clock.nowNs());
    return this.#fits(durationUs);
  }

  /** Calls `send` now or, behind what waits, later. What has no length of its own waits only for what came before it. */
  push(durationUs: number, send: () => void): void {
    this.#waiting.push({ durationUs, send });
    if (this.#waiting.length > limits.PACE_ITEMS_MAX) return this.flush();
    this.#drain();
  }

  /** Everything that waits goes on now. */
  flush(): void {
    this.#timer?.clear();
    this.#timer = null;
    for (const { send } of this.#waiting.splice(0)) send();
  }

  waiting(): number {
    return this.#waiting.length;
  }

  close(): void {
    this.#waiting = [];
    this.#timer?.clear();
    this.#timer = null;
  }

  #earn(nowNs: number): void {
    const earnedUs = ((nowNs - this.#creditAtNs) / 1_000) * limits.PACE_SPEED;
    this.#creditUs = Math.min(limits.PACE_BURST_MS * 1_000, this.#creditUs + earnedUs);
    this.#creditAtNs = nowNs;
  }

  #fits(durationUs: number): boolean {
    // A frame longer than the whole allowance goes when that is full.
    if (durationUs > this.#creditUs && this.#creditUs < limits.PACE_BURST_MS * 1_000) return false;
    this.#creditUs = Math.max(0, this.#creditUs - durationUs);
    return true;
  }

  #drain(): void {
    const nowNs = this.#clock.nowNs();
    this.#earn(nowNs);
    let ready = 0;
    for (const { durationUs } of this.#waiting) {
      if (!this.#fits(durationUs)) break;
      ready += 1;
    }
    for (const { send } of this.#waiting.splice(0, ready)) send();
    if (this.#waiting.length === 0 || this.#timer !== null) return;
    this.#timer = this.#clock.timerAt(monoPlusNs(nowNs, msToNs(limits.PACE_TICK_MS)), () => {
      this.#timer = null;
      this.#drain();
    });
  }
}
