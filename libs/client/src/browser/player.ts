/**
 * The browser's loudspeaker (F-084): each frame of the agent's voice is put on the audio clock ahead of its time, so that
 * a busy page does not stutter, and taken off it again at a barge-in. What was heard is said by the same clock.
 */
import { globalHost } from "../host.ts";
import type { ClientHost, Cut, OutputFrame, Played, Player } from "../types.ts";
import type { AudioContextLike, AudioNodeLike, BufferSourceLike } from "./web-audio.ts";

export interface WebAudioPlayerOptions {
  /** Ask for output at its `sampleRate`, else each frame is resampled for itself, which is heard. */
  context: AudioContextLike;
  /** What was heard; give it to the client's `played`. */
  onPlayed(played: Played): void;
  /** Where the voice goes, e.g. a volume control; default the context's destination. */
  destination?: AudioNodeLike;
  /** Audio gathered before sound begins and after it ran dry, milliseconds; default 80. */
  bufferMs?: number;
  host?: ClientHost;
}

const QUEUE_US_MAX = 60_000_000;
const PROGRESS_US = 200_000;
/** How far ahead of its time a frame is put on the clock, seconds; and how often the clock is looked at, milliseconds. */
const AHEAD_S = 2;
const LOOK_MS = 40;
/** A source must be started a little before it is due. */
const LEAD_S = 0.01;

interface Output {
  readonly turn: number;
  readonly generation: number;
  playedUs: number;
  reportedUs: number;
  started: boolean;
}

interface Scheduled {
  readonly frame: OutputFrame;
  readonly source: BufferSourceLike | null;
  readonly startS: number;
  readonly endS: number;
}

export class WebAudioPlayer implements Player {
  readonly #context: AudioContextLike;
  readonly #options: WebAudioPlayerOptions;
  readonly #host: ClientHost;
  #queue: OutputFrame[] = [];
  #scheduled: Scheduled[] = [];
  /** Where the sound on the clock ends, seconds. */
  #untilS = 0;
  #outputs: Output[] = [];
  #holdTurn: number | null = null;
  #timer: unknown = null;
  #closed = false;
  /** Frames refused because more than a minute was held. */
  overflowed = 0;
  /** Times that sound ran dry within a turn. */
  underruns = 0;

  constructor(options: WebAudioPlayerOptions) {
    this.#options = options;
    this.#context = options.context;
    this.#host = options.host ?? globalHost();
  }

  /** A frame that is not pcm_s16le is reported as lost. */
  play(frame: OutputFrame): void {
    if (this.#closed) return;
    const { turn, generation, format, durationUs, end } = frame;
    if (format.codec !== "pcm_s16le" && frame.data.length > 0) {
      return this.#options.onPlayed({ turn, generation, state: "lost", playedUs: 0 });
    }
    const heldUs = [...this.#queue, ...this.#scheduled.map((s) => s.frame)].reduce((us, f) => us + f.durationUs, 0);
    if (heldUs + durationUs > QUEUE_US_MAX && !end) {
      this.overflowed += 1;
      return;
    }
    this.#queue.push(frame);
    this.#step();
  }

  flush(cut: Cut): { playedUs: number; flushedFrames: number } {
    this.#settle();
    const gone = ({ turn, generation }: { turn: number; generation: number }): boolean =>
      (turn === cut.turn && generation < cut.generation) || (cut.allEarlier && turn > 0 && turn < cut.turn);
    const heardS = this.#heardS();
    const cutOff = this.#scheduled.filter((s) => gone(s.frame));
    this.#scheduled = this.#scheduled.filter((s) => !gone(s.frame));
    for (const { frame, source, startS } of cutOff) {
      source?.stop();
      if (startS >= heardS) continue;
      const output = this.#outputOf(frame);
      const partUs = Math.min(frame.durationUs, Math.floor((heardS - startS) * 1e6));
      output.playedUs = Math.max(output.playedUs, frame.offsetUs + partUs);
    }
    const unheard = [...cutOff.filter((s) => s.startS >= heardS).map((s) => s.frame), ...this.#queue.filter(gone)];
    this.#takeBack(this.#context.currentTime);
    this.#queue = this.#queue.filter((frame) => !gone(frame));
    const output = this.#outputs.findLast((o) => o.turn === cut.turn && o.generation < cut.generation);
    this.#outputs = this.#outputs.filter((o) => !gone(o));
    if (this.#holdTurn !== null && this.#holdTurn <= cut.turn) this.#holdTurn = null;
    this.#step();
    return { playedUs: output?.playedUs ?? 0, flushedFrames: unheard.length };
  }

  hold(turn: number): void {
    this.#holdTurn = turn;
    this.#takeBack(this.#context.currentTime);
    this.#step();
  }

  resume(): void {
    this.#holdTurn = null;
    this.#step();
  }

  close(): void {
    this.#closed = true;
    for (const { source } of this.#scheduled) source?.stop();
    this.#scheduled = [];
    this.#queue = [];
    if (this.#timer !== null) this.#host.clearTimer(this.#timer);
    this.#timer = null;
  }

  /** Frames that are held and have not begun to be heard. */
  held(): number {
    const heardS = this.#heardS();
    return this.#queue.length + this.#scheduled.filter((s) => s.startS >= heardS).length;
  }

  /** The place on the clock that is in the listener's ear now. */
  #heardS(): number {
    return this.#context.currentTime - (this.#context.outputLatency ?? 0);
  }

  /** What begins from `fromS` on waits in the queue again, ahead of the rest. */
  #takeBack(fromS: number): void {
    const back = this.#scheduled.filter((s) => s.startS >= fromS);
    for (const { source } of back) source?.stop();
    this.#scheduled = this.#scheduled.filter((s) => s.startS < fromS);
    this.#queue = [...back.map((s) => s.frame), ...this.#queue];
    this.#untilS = this.#scheduled.at(-1)?.endS ?? 0;
  }

  #step(): void {
    if (this.#closed) return;
    this.#settle();
    this.#schedule();
    if (this.#timer !== null) this.#host.clearTimer(this.#timer);
    this.#timer = null;
    if (this.#scheduled.length === 0) return;
    this.#timer = this.#host.setTimer(() => {
      this.#timer = null;
      this.#step();
    }, LOOK_MS);
  }

  #schedule(): void {
    const nowS = this.#context.currentTime;
    for (;;) {
      const frame = this.#queue[0];
      if (frame === undefined || !this.#startable(frame) || this.#untilS - nowS > AHEAD_S) return;
      this.#queue.shift();
      if (this.#untilS < nowS + LEAD_S) this.#untilS = this.#beginS(frame, nowS);
      const startS = this.#untilS;
      const source = frame.data.length === 0 ? null : this.#source(frame, startS);
      this.#untilS = this.#onGrid(startS + frame.durationUs / 1e6);
      this.#scheduled.push({ frame, source, startS, endS: this.#untilS });
    }
  }

  /** Sound begins, or begins again: a little is gathered first, unless nothing more can come. */
  #beginS(frame: OutputFrame, nowS: number): number {
    const known = this.#outputs.some((o) => o.turn === frame.turn && o.generation === frame.generation);
    if (known && frame.data.length > 0) this.underruns += 1;
    const gatherS = frame.end ? LEAD_S : Math.max(LEAD_S, (this.#options.bufferMs ?? 80) / 1_000);
    return this.#onGrid(nowS + gatherS);
  }

  /** Between two samples a source would be interpolated. */
  #onGrid(seconds: number): number {
    const rateHz = this.#context.sampleRate;
    return Math.round(seconds * rateHz) / rateHz;
  }

  #source({ data, format }: OutputFrame, startS: number): BufferSourceLike {
    const bytes = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const samples = Float32Array.from({ length: data.byteLength >> 1 }, (_, i) => bytes.getInt16(2 * i, true) / 32_768);
    const buffer = this.#context.createBuffer(1, samples.length, format.rateHz);
    buffer.copyToChannel(samples, 0);
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect((this.#options.destination ?? this.#context.destination) as never);
    source.start(startS);
    return source;
  }

  #startable(frame: OutputFrame): boolean {
    return this.#holdTurn === null || (this.#holdTurn !== 0 && frame.turn > this.#holdTurn);
  }

  /** Says what was heard since it last looked. */
  #settle(): void {
    const heardS = this.#heardS();
    for (const { frame } of this.#scheduled.filter((s) => s.startS <= heardS)) {
      const output = this.#outputOf(frame);
      if (output.started) continue;
      output.started = true;
      this.#report(output, "playing");
    }
    for (let first = this.#scheduled[0]; first !== undefined && first.endS <= heardS; first = this.#scheduled[0]) {
      this.#scheduled.shift();
      const { frame } = first;
      const output = this.#outputOf(frame);
      output.playedUs = Math.max(output.playedUs, frame.offsetUs + frame.durationUs);
      if (frame.end) {
        this.#outputs = this.#outputs.filter((o) => o !== output);
        this.#report(output, "completed");
      } else if (output.playedUs - output.reportedUs >= PROGRESS_US) this.#report(output, "playing");
    }
  }

  #report(output: Output, state: "playing" | "completed"): void {
    const { turn, generation, playedUs } = output;
    output.reportedUs = playedUs;
    this.#options.onPlayed({ turn, generation, state, playedUs });
  }

  #outputOf({ turn, generation }: OutputFrame): Output {
    const known = this.#outputs.find((o) => o.turn === turn && o.generation === generation);
    if (known !== undefined) return known;
    const made = { turn, generation, playedUs: 0, reportedUs: 0, started: false };
    this.#outputs.push(made);
    if (this.#outputs.length > 64) this.#outputs.shift();
    return made;
  }
}

export function createWebAudioPlayer(options: WebAudioPlayerOptions): WebAudioPlayer {
  return new WebAudioPlayer(options);
}
