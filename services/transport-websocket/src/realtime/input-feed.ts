/**
 * The client's audio on its way to the line: appended in pieces of any length and as fast as it likes, held until a commit
 * where the client detects turns itself (F-042), handed on little ahead of real time. Bounded.
 */
import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import { limits as shared } from "@rspp/transport/limits";
import { realtimeLimits as limits } from "./limits.ts";

/** Sound, or something to do once all before it was handed on (`us` 0). */
interface Waiting {
  readonly us: number;
  readonly hand: () => void;
}

export interface InputFeedOptions {
  readonly clock: Pick<Clock, "nowNs" | "timerAt">;
  /** A piece for the line. */
  take(bytes: Uint8Array, durationUs: number): void;
}

export class InputFeed {
  readonly #options: InputFeedOptions;
  #waiting: Waiting[] = [];
  #held: Waiting[] = [];
  #waitingUs = 0;
  #heldUs = 0;
  #aheadUs = 0;
  #aheadAtNs = -1;
  #timer: TimerHandle | null = null;
  /** All that was appended, and what of it came since the last commit, microseconds. */
  appendedUs = 0;
  sinceCommitUs = 0;

  constructor(options: InputFeedOptions) {
    this.#options = options;
  }

  /** False when there is no room for it: nothing of it is taken. `hold`: until {@link release}. */
  push(bytes: Uint8Array, bytesPerMs: number, hold: boolean): boolean {
    const us = (bytes.length / bytesPerMs) * 1_000;
    if (this.#waitingUs + this.#heldUs + us > limits.INPUT_WAITING_MS_MAX * 1_000) return false;
    const piece = limits.INPUT_PIECE_MS * bytesPerMs;
    for (let at = 0; at < bytes.length; at += piece) {
      const part = bytes.subarray(at, at + piece);
      const partUs = (part.length / bytesPerMs) * 1_000;
      const hand = (): void => this.#options.take(part, Math.round(partUs));
      (hold ? this.#held : this.#waiting).push({ us: partUs, hand });
    }
    if (hold) this.#heldUs += us;
    else this.#waitingUs += us;
    this.appendedUs += us;
    this.sinceCommitUs += us;
    this.#drain();
    return true;
  }

  /** What was held goes on. */
  release(): void {
    this.#waiting.push(...this.#held);
    this.#waitingUs += this.#heldUs;
    this.#held = [];
    this.#heldUs = 0;
    this.#drain();
  }

  /** What is held is dropped. */
  clear(): void {
    this.#held = [];
    this.#heldUs = 0;
    this.sinceCommitUs = 0;
  }

  /** Once all that waits now was handed on. */
  after(act: () => void): void {
    this.#waiting.push({ us: 0, hand: act });
    this.#drain();
  }

  close(): void {
    this.#timer?.clear();
    this.#timer = null;
    this.#waiting = [];
    this.clear();
  }

  #drain(): void {
    if (this.#timer !== null) return;
    const { clock } = this.#options;
    const nowNs = clock.nowNs();
    const elapsedUs = this.#aheadAtNs < 0 ? 0 : (nowNs - this.#aheadAtNs) / 1_000;
    this.#aheadAtNs = nowNs;
    // Time that passed without sound is credit, as much as the line itself gives: what was held is as old as that.
    this.#aheadUs = Math.max(-shared.RESUME_WITHIN_MS * 1_000, this.#aheadUs - elapsedUs);
    let handed = 0;
    for (const { us, hand } of this.#waiting) {
      if (us > 0 && this.#aheadUs + us > limits.INPUT_AHEAD_MS * 1_000) break;
      handed += 1;
      this.#aheadUs += us;
      this.#waitingUs -= us;
      hand();
    }
    this.#waiting.splice(0, handed);
    if (this.#waiting.length === 0) return;
    this.#timer = clock.timerAt(asMonoNs(nowNs + msToNs(limits.INPUT_TICK_MS)), () => {
      this.#timer = null;
      this.#drain();
    });
  }
}
