/**
 * A loudspeaker without a device: it hands each frame out when it is due and reports what was played, by the clock. Its
 * queue is what a barge-in empties; a program that writes frames to a short device buffer needs no other player.
 */
import type { ClientHost, Cut, OutputFrame, Played, Player } from "./types.ts";

export interface PacedPlayerOptions {
  host: ClientHost;
  /** A frame that is heard from now on. */
  onFrame(frame: OutputFrame): void;
  /** What was played; give it to the client's `played`. */
  onPlayed(played: Played): void;
  /** Audio gathered before a turn begins, milliseconds; default 40. */
  bufferMs?: number;
}

const QUEUE_MS_MAX = 60_000;
const PROGRESS_US = 200_000;

interface Output {
  turn: number;
  generation: number;
  playedUs: number;
  reportedUs: number;
  started: boolean;
}

export class PacedPlayer implements Player {
  readonly #options: PacedPlayerOptions;
  readonly #bufferMs: number;
  #queue: OutputFrame[] = [];
  #queuedUs = 0;
  /** The frame being heard, and when it ends, milliseconds. */
  #current: { frame: OutputFrame; endMs: number; output: Output } | null = null;
  #startMs = 0;
  #outputs: Output[] = [];
  #timer: unknown = null;
  #holdTurn: number | null = null;
  #closed = false;
  /** Frames refused because more than a minute was queued. */
  overflowed = 0;

  constructor(options: PacedPlayerOptions) {
    this.#options = options;
    this.#bufferMs = options.bufferMs ?? 40;
  }

  play(frame: OutputFrame): void {
    this.#advance();
    if (this.#queuedUs + frame.durationUs > QUEUE_MS_MAX * 1_000 && !frame.end) {
      this.overflowed += 1;
      return;
    }
    if (this.#queue.length === 0 && this.#current === null) this.#startMs = this.#now() + this.#bufferMs;
    this.#queue.push(frame);
    this.#queuedUs += frame.durationUs;
    if (frame.end) this.#startMs = Math.min(this.#startMs, this.#now());
    this.#step();
  }

  flush(cut: Cut): { playedUs: number; flushedFrames: number } {
    this.#advance();
    const gone = (turn: number, generation: number): boolean =>
      (turn === cut.turn && generation < cut.generation) || (cut.allEarlier && turn > 0 && turn < cut.turn);
    const before = this.#queue.length;
    this.#queue = this.#queue.filter((f) => !gone(f.turn, f.generation));
    this.#queuedUs = this.#queue.reduce((sum, f) => sum + f.durationUs, 0);
    const current = this.#current;
    if (current !== null && gone(current.frame.turn, current.frame.generation)) {
      const leftUs = Math.max(0, (current.endMs - this.#now()) * 1_000);
      const untilUs = current.frame.offsetUs + Math.max(0, Math.round(current.frame.durationUs - leftUs));
      current.output.playedUs = Math.max(current.output.playedUs, untilUs);
      this.#current = null;
    }
    const output = this.#outputs.findLast((o) => o.turn === cut.turn && o.generation < cut.generation);
    const playedUs = output?.playedUs ?? 0;
    this.#outputs = this.#outputs.filter((o) => !gone(o.turn, o.generation));
    if (this.#holdTurn !== null && this.#holdTurn <= cut.turn) this.#holdTurn = null;
    const flushedFrames = before - this.#queue.length;
    this.#step();
    return { playedUs, flushedFrames };
  }

  hold(turn: number): void {
    this.#holdTurn = turn;
  }

  resume(): void {
    this.#holdTurn = null;
    this.#startMs = Math.max(this.#startMs, this.#now());
    this.#step();
  }

  close(): void {
    this.#closed = true;
  }

  /** Frames and microseconds not yet handed out. */
  queued(): { frames: number; us: number } {
    return { frames: this.#queue.length, us: this.#queuedUs };
  }

  #now(): number {
    return this.#options.host.nowMs();
  }

  #step(): void {
    this.#advance();
    if (this.#timer !== null) this.#options.host.clearTimer(this.#timer);
    this.#timer = null;
    const dueMs = this.#current?.endMs ?? (this.#startable() ? this.#startMs : null);
    if (dueMs === null) return;
    const wait = Math.max(0, dueMs - this.#now());
    this.#timer = this.#options.host.setTimer(() => {
      this.#timer = null;
      this.#step();
    }, wait);
  }

  #startable(): boolean {
    const head = this.#queue[0];
    if (head === undefined) return false;
    return this.#holdTurn === null || (this.#holdTurn !== 0 && head.turn > this.#holdTurn);
  }

  /** Everything that is due by now is handed out; a late timer makes up for itself, without drift. */
  #advance(): void {
    const nowMs = this.#now();
    for (;;) {
      if (this.#current !== null) {
        if (this.#current.endMs > nowMs) return;
        this.#finish(this.#current);
      }
      if (!this.#startable() || this.#startMs > nowMs) return;
      const frame = this.#queue.shift();
      if (frame === undefined) return;
      this.#queuedUs -= frame.durationUs;
      // After a pause sound begins now; within a turn it goes on where the last frame ended.
      const beginMs = Math.max(this.#startMs, nowMs - 100);
      const output = this.#outputOf(frame);
      this.#current = { frame, endMs: beginMs + frame.durationUs / 1_000, output };
      if (!this.#closed) this.#options.onFrame(frame);
      if (!output.started) {
        output.started = true;
        this.#report(output, "playing");
      }
    }
  }

  #finish(current: { frame: OutputFrame; endMs: number; output: Output }): void {
    const { frame, endMs, output } = current;
    this.#current = null;
    this.#startMs = endMs;
    output.playedUs = Math.max(output.playedUs, frame.offsetUs + frame.durationUs);
    if (frame.end) {
      this.#outputs = this.#outputs.filter((o) => o !== output);
      this.#report(output, "completed");
    } else if (output.playedUs - output.reportedUs >= PROGRESS_US) this.#report(output, "playing");
  }

  #report(output: Output, state: "playing" | "completed"): void {
    output.reportedUs = output.playedUs;
    const { turn, generation, playedUs } = output;
    this.#options.onPlayed({ turn, generation, state, playedUs });
  }

  #outputOf(frame: OutputFrame): Output {
    const known = this.#outputs.find((o) => o.turn === frame.turn && o.generation === frame.generation);
    if (known !== undefined) return known;
    const { turn, generation } = frame;
    const made = { turn, generation, playedUs: 0, reportedUs: 0, started: false };
    this.#outputs.push(made);
    if (this.#outputs.length > 64) this.#outputs.shift();
    return made;
  }
}

export function createPacedPlayer(options: PacedPlayerOptions): PacedPlayer {
  return new PacedPlayer(options);
}
