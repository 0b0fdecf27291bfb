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

  /** Forgets what the present binding's peer has acted on. */
  trim(acked: Readonly<LaneMarks>): void {
    const { frames } = this.#audio;
    let through = 0;
    for (const frame of frames) {
      if (frame.payload.linkSeq === 0 || frame.payload.linkSeq > acked.data) break;
      through = frame.seq;
    }
    if (through > 0) callerAudioCommitted(this.#audio, through);
    let done = 0;
    for (const { linkSeq } of this.#signals) {
      if (linkSeq === 0 || linkSeq > acked.control) break;
      done += 1;
    }
    if (done > 0) this.#signals.splice(0, done);
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
    callerAudioCommitted(this.#audio, known);
    const report = callerAudioTakeover(this.#audio, { highWater: known, openTurn: null, openGeneration: 0 });
    const frames = report.frames.map((frame) => frame.payload);
    this.#signals = this.#signals.filter((kept) => kept.number > control);
    if ((this.#signals[0]?.number ?? this.#numbers + 1) !== control + 1) return null;
    const ordered: (KeptAudio | KeptSignal)[] = [];
    let next = 0;
    for (const signal of this.#signals) {
      const { message } = signal;
      const before = message.kind === "control" ? (message.lastMediaSequence ?? 0) : 0;
      for (let frame = frames[next]; frame !== undefined && frame.message.sequence <= before; frame = frames[++next]) {
        ordered.push(frame);
      }
      ordered.push(signal);
    }
    ordered.push(...frames.slice(next));
    return ordered;
  }
}
