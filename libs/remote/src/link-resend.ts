/**
 * What an adapter has said for its caller and the runtime has not acted on yet, kept for the binding that takes the place of
 * one whose pair died (libs/protocol reattach, kernel.md §7): signals and reports by their number, audio as frames.
 */
import { asMediaUs } from "@rspp/base/brand";
import type { SessionNote } from "@rspp/ports/session-opener";
import type { TransportIngress } from "@rspp/ports/transport";
import type { LaneMarks } from "@rspp/protocol/link-types";
import {
  type CallerAudioState,
  callerAudioCapture,
  callerAudioCommitted,
  callerAudioTakeover,
  createCallerAudio,
} from "@rspp/protocol/reattach-audio";
import { limits } from "./link-limits.ts";

export type Audio = Extract<TransportIngress, { kind: "audio" }>;
export type Signal =
  | Exclude<TransportIngress, { kind: "audio" }>
  | { readonly kind: "floor_ack"; readonly epoch: number }
  | { readonly kind: "observe"; readonly kinds: readonly SessionNote["kind"][] };

/** A message and its sequence on the present binding; 0 not sent yet, -1 not to be sent. */
export interface KeptAudio {
  readonly message: Audio;
  linkSeq: number;
}
export interface KeptSignal {
  readonly message: Signal;
  /** From 1 over all bindings; with the base of a binding it follows from the link's own sequence. */
  readonly number: number;
  linkSeq: number;
}

export class Resend {
  readonly #audio: CallerAudioState<KeptAudio> = createCallerAudio<KeptAudio>();
  #signals: KeptSignal[] = [];
  #numbers = 0;
  /** Audio up to here is of a turn that has committed; Infinity where no successor will ask for it. */
  #settled: number;
  /** Positioned signals that were acted on, behind the settled audio: a successor is told them again. */
  #acted: KeptSignal[] = [];

  /** @param keeps what a successor on another runtime may need: audio since the last commit (kernel.md §7). */
  constructor(keeps = false) {
    this.#settled = keeps ? 0 : Number.POSITIVE_INFINITY;
  }

  get lastNumber(): number {
    return this.#numbers;
  }

  get availableMs(): number {
    return this.#audio.audioUs / 1_000;
  }

  /** Frames the bounds threw away before the runtime had them. */
  get lostUpTo(): number {
    return this.#audio.lostUpTo;
  }

  audio(message: Audio): KeptAudio {
    const kept: KeptAudio = { message, linkSeq: 0 };
    const { durationUs: audioUs, bytes, mediaUs } = message;
    callerAudioCapture(this.#audio, {
      mediaUs: asMediaUs(mediaUs),
      audioUs,
      bytes: bytes.byteLength,
      payload: kept,
    });
    return kept;
  }

  /** Null when more waits than is kept. Of what was sent the oldest goes: the session cannot go on without it, should its pair die now. */
  signal(message: Signal): KeptSignal | null {
    if (this.#signals.length >= limits.LINK_CONTROL_KEPT_MAX) {
      if (this.#signals[0]?.linkSeq === 0) return null;
      this.#signals.shift();
    }
    const kept: KeptSignal = { message, number: ++this.#numbers, linkSeq: 0 };
    this.#signals.push(kept);
    return kept;
  }

  /** It was never to be sent: its number goes to the next, unless there is one already. */
  takeBack(kept: KeptSignal): boolean {
    if (this.#signals.at(-1) !== kept) return false;
    this.#signals.pop();
    this.#numbers -= 1;
    return true;
  }

  /** Audio up to frame `sequence` has become words of a turn that committed. */
  settle(sequence: number): void {
    if (sequence <= this.#settled) return;
    this.#settled = sequence;
    this.#acted = this.#acted.filter(({ message }) => mediaBefore(message) > sequence);
  }

  /** First and last frame that can be sent again; 0 for none. */
  get frames(): { from: number; through: number } {
    const { frames } = this.#audio;
    return { from: frames[0]?.payload.message.sequence ?? 0, through: frames.at(-1)?.payload.message.sequence ?? 0 };
  }

  /** Forgets what the present binding's peer has acted on. */
  trim(acked: Readonly<LaneMarks>): void {
    const { frames } = this.#audio;
    let through = 0;
    for (const frame of frames) {
      const { linkSeq, message } = frame.payload;
      if (linkSeq === 0 || linkSeq > acked.data || message.sequence > this.#settled) break;
      through = frame.seq;
    }
    if (through > 0) callerAudioCommitted(this.#audio, through);
    let done = 0;
    for (const { linkSeq } of this.#signals) {
      if (linkSeq === 0 || linkSeq > acked.control) break;
      done += 1;
    }
    if (done === 0) return;
    for (const kept of this.#signals.splice(0, done)) {
      if (isPositioned(kept.message) && mediaBefore(kept.message) > this.#settled) this.#acted.push(kept);
    }
    if (this.#acted.length > limits.LINK_ACTED_KEPT_MAX) this.#acted.shift();
  }

  /** The binding is gone. */
  detached(): void {
    for (const frame of this.#audio.frames) frame.payload.linkSeq = 0;
    for (const kept of this.#signals) kept.linkSeq = 0;
  }

  /**
   * What follows what the runtime has, in the order in which it was said: a positioned signal after the audio before it. Null
   * when a signal is missing between: the session cannot go on.
   */
  after(control: number, audio: number): (KeptAudio | KeptSignal)[] | null {
    const known = this.#audio.frames.filter((frame) => frame.payload.message.sequence <= audio).at(-1)?.seq ?? 0;
    if (this.#settled === Number.POSITIVE_INFINITY) callerAudioCommitted(this.#audio, known);
    else for (const frame of this.#audio.frames) if (frame.seq <= known) frame.payload.linkSeq = -1;
    const frames = this.#framesAfter(known);
    this.#signals = this.#signals.filter((kept) => kept.number > control);
    if ((this.#signals[0]?.number ?? this.#numbers + 1) !== control + 1) return null;
    return this.#ordered(frames);
  }

  /**
   * What a successor is told that starts with the audio after `audio`: `first`, then the signals and frames behind it, under
   * numbers of its own. What was said about the predecessor's turns is nothing to it.
   */
  again(audio: number, first: readonly Signal[]): (KeptAudio | KeptSignal)[] {
    const known = this.#audio.frames.filter((frame) => frame.payload.message.sequence <= audio).at(-1)?.seq ?? 0;
    for (const frame of this.#audio.frames) frame.payload.linkSeq = frame.seq <= known ? -1 : 0;
    const behind = this.#acted.map(({ message }) => message).filter((message) => mediaBefore(message) > audio);
    const waiting = this.#signals
      .map(({ message }) => message)
      .filter((it) => isPositioned(it) || it.kind === "observe");
    this.#numbers = 0;
    this.#signals = [];
    this.#acted = [];
    for (const message of [...first, ...behind, ...waiting]) this.signal(message);
    return this.#ordered(this.#framesAfter(known));
  }

  /** What was not sent yet, in order. */
  unsent(): (KeptAudio | KeptSignal)[] {
    const frames = this.#audio.frames.map((frame) => frame.payload).filter(({ linkSeq }) => linkSeq === 0);
    return this.#ordered(frames, (kept) => kept.linkSeq === 0);
  }

  #framesAfter(known: number): KeptAudio[] {
    const report = callerAudioTakeover(this.#audio, { highWater: known, openTurn: null, openGeneration: 0 });
    return report.frames.map((frame) => frame.payload);
  }

  #ordered(
    frames: readonly KeptAudio[],
    wanted: (kept: KeptSignal) => boolean = () => true,
  ): (KeptAudio | KeptSignal)[] {
    const ordered: (KeptAudio | KeptSignal)[] = [];
    let next = 0;
    for (const signal of this.#signals.filter(wanted)) {
      const before = mediaBefore(signal.message);
      for (let frame = frames[next]; frame !== undefined && frame.message.sequence <= before; frame = frames[++next]) {
        ordered.push(frame);
      }
      ordered.push(signal);
    }
    ordered.push(...frames.slice(next));
    return ordered;
  }
}

function isPositioned(message: Signal): boolean {
  return message.kind === "control" && message.controlClass === "positioned";
}

/** Frame that a positioned signal comes after. */
function mediaBefore(message: Signal): number {
  return message.kind === "control" ? (message.lastMediaSequence ?? 0) : 0;
}
