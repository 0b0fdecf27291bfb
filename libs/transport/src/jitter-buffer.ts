/**
 * Packets of a caller's audio into their order, with what was lost made up for (F-087): one that comes out of turn waits for
 * those before it, `waitMs` at most; then they count as lost. A short hole is the last packet fading out, a longer one
 * silence, so that media time stands still for nobody.
 */
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";

export interface JitterBufferOptions {
  readonly clock: Pick<Clock, "nowNs" | "timerAt">;
  /** How long a packet waits for those before it, milliseconds; 0: what is not there is lost. */
  readonly waitMs: number;
  /** Packets that wait; beyond it those before the first are lost. */
  readonly packetsMax?: number;
  /** A byte of silence, and how many bytes last a millisecond: packets hold samples of a byte each. */
  readonly silence: number;
  readonly bytesPerMs: number;
  /** The packet before the hole, quieter; `step` counts from 1. Absent: holes are silence. */
  fade?(last: Uint8Array, step: number): Uint8Array;
  /** Audio in order. `lost`: made up. */
  play(bytes: Uint8Array, lost: boolean): void;
  /** A hole too long to be made up, milliseconds. */
  skip(ms: number): void;
}

export interface Packet {
  /** Number in the order of sending, from 1. */
  readonly sequence: number;
  /** When its first sample was spoken, milliseconds on the sender's clock. */
  readonly timestampMs: number;
  readonly bytes: Uint8Array;
}

export interface JitterCounts {
  /** Packets that came before one that was sent earlier, and those that came too late or again. */
  reordered: number;
  late: number;
  /** Packets that never came in time, and how much was made up for them, milliseconds. */
  lost: number;
  concealedMs: number;
  /** The longest that a packet waited, milliseconds. */
  waitedMsMax: number;
}

const FADE_STEPS_MAX = 3;
const PACKETS_MAX = 64;
/** A longer hole is stepped over. */
const CONCEAL_MS_MAX = 500;
/** Timestamps are whole milliseconds, and senders' clocks are not exact. */
const GAP_MS_MIN = 5;

interface Waiting extends Packet {
  readonly sinceNs: number;
}

export class JitterBuffer {
  readonly counts: JitterCounts = { reordered: 0, late: 0, lost: 0, concealedMs: 0, waitedMsMax: 0 };
  readonly #options: JitterBufferOptions;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  /** When the sample after the last one played is due on the sender's clock. */
  #dueMs = 0;
  #last: Uint8Array = new Uint8Array(0);
  #timer: TimerHandle | null = null;

  constructor(options: JitterBufferOptions) {
    this.#options = options;
  }

  /** The bytes are kept while it waits, and may be overwritten by nobody. */
  push(packet: Packet): void {
    const { clock, waitMs, packetsMax = PACKETS_MAX } = this.#options;
    // A stream is joined where it is met.
    if (this.#next === 0) {
      this.#next = packet.sequence;
      this.#dueMs = packet.timestampMs;
    }
    if (packet.sequence < this.#next || this.#waiting.has(packet.sequence)) {
      this.counts.late += 1;
      return;
    }
    if (packet.sequence > this.#next) this.counts.reordered += 1;
    this.#waiting.set(packet.sequence, { ...packet, sinceNs: clock.nowNs() });
    this.#release();
    while (this.#waiting.size > (waitMs === 0 ? 0 : packetsMax)) this.#giveUp();
    this.#arm();
  }

  /** All that waits is played now, holes and all: the stream has ended, or what follows must come after it. */
  flush(): void {
    while (this.#waiting.size > 0) this.#giveUp();
    this.#arm();
  }

  /** The sender begins anew, with numbers of its own. */
  restart(): void {
    this.flush();
    this.#next = 0;
  }

  waiting(): number {
    return this.#waiting.size;
  }

  close(): void {
    this.#waiting.clear();
    this.#arm();
  }

  /** Plays what is next in order. */
  #release(): void {
    for (let next = this.#waiting.get(this.#next); next !== undefined; next = this.#waiting.get(this.#next)) {
      this.#waiting.delete(this.#next);
      this.#next += 1;
      this.#play(next);
    }
  }

  /** What was to come before the first that waits is lost. */
  #giveUp(): void {
    const first = this.#first();
    if (first === undefined) return;
    this.counts.lost += first.sequence - this.#next;
    this.#next = first.sequence;
    this.#release();
  }

  #first(): Waiting | undefined {
    let first: Waiting | undefined;
    for (const packet of this.#waiting.values())
      if (first === undefined || packet.sequence < first.sequence) first = packet;
    return first;
  }

  #play({ timestampMs, bytes, sinceNs }: Waiting): void {
    const { clock, bytesPerMs, play } = this.#options;
    this.counts.waitedMsMax = Math.max(this.counts.waitedMsMax, (clock.nowNs() - sinceNs) / 1e6);
    const gapMs = timestampMs - this.#dueMs;
    if (gapMs >= GAP_MS_MIN) this.#conceal(gapMs);
    this.#dueMs = timestampMs + bytes.length / bytesPerMs;
    this.#last = bytes;
    play(bytes, false);
  }

  #conceal(gapMs: number): void {
    const { bytesPerMs, silence, fade, play, skip } = this.#options;
    let leftMs = Math.min(gapMs, CONCEAL_MS_MAX);
    this.counts.concealedMs += leftMs;
    for (let step = 1; leftMs > 0; step++) {
      const faded = step <= FADE_STEPS_MAX && this.#last.length > 0 ? fade?.(this.#last, step) : undefined;
      const room = Math.round(leftMs * bytesPerMs);
      const filler = faded?.subarray(0, room) ?? new Uint8Array(Math.min(room, 20 * bytesPerMs)).fill(silence);
      if (filler.length === 0) break;
      play(filler, true);
      leftMs -= filler.length / bytesPerMs;
    }
    if (gapMs > CONCEAL_MS_MAX) skip(gapMs - CONCEAL_MS_MAX);
  }

  #arm(): void {
    this.#timer?.clear();
    this.#timer = null;
    let oldestNs = Number.POSITIVE_INFINITY;
    for (const { sinceNs } of this.#waiting.values()) oldestNs = Math.min(oldestNs, sinceNs);
    if (oldestNs === Number.POSITIVE_INFINITY) return;
    const { clock, waitMs } = this.#options;
    const inNs = Math.max(1, oldestNs + msToNs(waitMs) - clock.nowNs());
    this.#timer = clock.timerAt(monoPlusNs(clock.nowNs(), inNs), () => {
      this.#timer = null;
      this.#giveUp();
      this.#arm();
    });
  }
}
