/**
 * The agent's audio on its way to a loudspeaker that plays in real time and cannot be overtaken: it is given little ahead of
 * what it plays, by the clock, so that little is to be taken back at a barge-in (kernel.md §6; F-033, F-087).
 */
import { type MonoNs, monoPlusNs, msToNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { Media } from "./audio-out.ts";
import { limits } from "./limits.ts";

export interface PacedOutputOptions {
  readonly clock: Pick<Clock, "nowNs" | "timerAt">;
  /** Audio given to the loudspeaker ahead of what it plays, milliseconds. */
  readonly leadMs: number;
  /** Gives a frame to the loudspeaker; the bytes are the frame's own. */
  play(media: Media): void;
}

export class PacedOutput {
  readonly #options: PacedOutputOptions;
  readonly #leadNs: number;
  #waiting: Media[] = [];
  /** When the loudspeaker will have played all it was given. */
  #playedOutNs = 0;
  #timer: TimerHandle | null = null;
  /** Turn of a hold, which stops it and those before; 0 all. */
  #heldTurn: number | null = null;
  #stopped = false;

  constructor(options: PacedOutputOptions) {
    this.#options = options;
    this.#leadNs = msToNs(options.leadMs);
  }

  /** Plays now or later, in order; copies what waits. False when nothing more can wait: the frame is lost. */
  push(media: Media): boolean {
    if (this.#waiting.length >= limits.PLAYOUT_FRAMES_MAX) return false;
    this.#waiting.push({ ...media, bytes: new Uint8Array(media.bytes) });
    this.#drain();
    return true;
  }

  /** Frames that the loudspeaker had and lost go first again. Call `emptied` then. */
  unshift(frames: readonly Media[]): void {
    this.#waiting.unshift(...frames);
  }

  /** Takes waiting frames out; @returns how many. A hold of a turn that is cut has no one to wait for. */
  cut(fenced: (turn: number, generation: number) => boolean): number {
    const before = this.#waiting.length;
    this.#waiting = this.#waiting.filter(({ turn, generation }) => !fenced(turn, generation));
    if (this.#heldTurn === 0 || (this.#heldTurn !== null && fenced(this.#heldTurn, 0))) this.resume();
    return before - this.#waiting.length;
  }

  /** The loudspeaker was emptied: it plays nothing from now on. */
  emptied(): void {
    this.#playedOutNs = this.#options.clock.nowNs();
    this.#rearm();
  }

  /** The caller may be interrupting (`output_hold`): what was given plays on, no more of the turn follows until `resume`. */
  hold(turn: number): void {
    this.#heldTurn = turn;
    this.#rearm();
  }

  resume(): void {
    this.#heldTurn = null;
    this.#rearm();
  }

  /** There is no loudspeaker for now: nothing is given until `restart`. */
  stop(): void {
    this.#stopped = true;
    this.#clear();
  }

  /** There is one again, which plays nothing yet. */
  restart(): void {
    this.#stopped = false;
    this.emptied();
  }

  waiting(): number {
    return this.#waiting.length;
  }

  /** What the loudspeaker still has to play, by the clock, milliseconds. */
  leadMs(): number {
    return Math.max(0, this.#playedOutNs - this.#options.clock.nowNs()) / 1e6;
  }

  close(): void {
    this.#clear();
    this.#waiting = [];
  }

  #drain(): void {
    const { clock, play } = this.#options;
    for (let next = this.#waiting[0]; next !== undefined && this.#may(next); next = this.#waiting[0]) {
      const nowNs: MonoNs = clock.nowNs();
      const startNs = Math.max(nowNs, this.#playedOutNs);
      const endNs = startNs + next.durationUs * 1_000;
      // A frame longer than the lead goes when nothing plays any more.
      const early = Math.min(endNs - nowNs - this.#leadNs, startNs - nowNs);
      if (early > 0) return this.#arm(early);
      this.#waiting.shift();
      this.#playedOutNs = endNs;
      play(next);
    }
  }

  #may({ turn }: Media): boolean {
    if (this.#stopped) return false;
    return this.#heldTurn === null || (this.#heldTurn !== 0 && turn > this.#heldTurn);
  }

  #arm(inNs: number): void {
    const { clock } = this.#options;
    this.#timer ??= clock.timerAt(monoPlusNs(clock.nowNs(), Math.ceil(inNs)), () => {
      this.#timer = null;
      this.#drain();
    });
  }

  #rearm(): void {
    this.#clear();
    this.#drain();
  }

  #clear(): void {
    this.#timer?.clear();
    this.#timer = null;
  }
}
