/** The caller's lanes into the runtime: audio through the codec, control in its two classes (kernel.md §6). */
import type { Clock } from "@rspp/ports/clock";
import type { TransportIngress } from "@rspp/ports/transport";
import { type CallerCodec, RUNTIME_FORMAT } from "./caller-codec.ts";
import { FRAME_MS } from "./limits.ts";
import type { CallerFrame, Microphone } from "./microphone.ts";

const FRAME_US = FRAME_MS * 1_000;

export interface CallerCounts {
  /** Audio frames given to the runtime; the last data-lane sequence. */
  framesSent: number;
  /** Frames made while there was no connection, and packets that would not decode. */
  framesLost: number;
  framesSkipped: number;
  controlsSent: number;
  /** Packets transcoded and the time it took by the clock, nanoseconds (F-090). */
  transcoded: number;
  transcodeNs: number;
  transcodeNsMax: number;
}

export interface CallerLineOptions {
  clock: Clock;
  codec: CallerCodec;
  epoch(): number;
  deliver(message: TransportIngress): void;
}

export interface ControlExtras {
  reason?: string;
  turn?: number;
  fields?: Readonly<Record<string, string | number>>;
}

export class CallerLine {
  readonly #clock: Clock;
  readonly #codec: CallerCodec;
  readonly #epoch: () => number;
  readonly #deliver: (message: TransportIngress) => void;
  /** Frames inside the codec's filter: their indexes, oldest first. */
  readonly #inCodec: number[] = [];
  #sequence = 0;
  #controls = 0;
  #lost = 0;
  #transcoded = 0;
  #transcodeNs = 0;
  #transcodeNsMax = 0;

  constructor(options: CallerLineOptions) {
    this.#clock = options.clock;
    this.#codec = options.codec;
    this.#epoch = options.epoch;
    this.#deliver = options.deliver;
  }

  /** Sends a frame, or loses it when the caller is not `online`. */
  frame(frame: CallerFrame, online: boolean): void {
    if (!online) {
      this.#lost += 1;
      return;
    }
    for (const bytes of this.#transcode(frame)) {
      const mediaUs = (this.#inCodec.shift() ?? frame.index) * FRAME_US;
      this.#sequence += 1;
      this.#deliver({
        kind: "audio",
        epoch: this.#epoch(),
        sequence: this.#sequence,
        mediaUs,
        durationUs: FRAME_US,
        format: RUNTIME_FORMAT,
        bytes,
      });
    }
  }

  /** Acts at once, past all audio. */
  overtaking(signal: string, extras: ControlExtras): void {
    this.#control(signal, "overtaking", extras, undefined);
  }

  /** Acts after the audio that had begun when it was given, the frame in the making included while `online`. */
  positioned(signal: string, extras: ControlExtras, microphone: Microphone | undefined, online: boolean): void {
    const { frames, skipped } = microphone?.counts() ?? { frames: 0, skipped: 0 };
    const making = online && microphone !== undefined ? microphone.begun() - frames - skipped : 0;
    this.#control(signal, "positioned", extras, this.#sequence + this.#inCodec.length + making);
  }

  counts(): Omit<CallerCounts, "framesSkipped"> {
    return {
      framesSent: this.#sequence,
      framesLost: this.#lost,
      controlsSent: this.#controls,
      transcoded: this.#transcoded,
      transcodeNs: this.#transcodeNs,
      transcodeNsMax: this.#transcodeNsMax,
    };
  }

  #transcode(frame: CallerFrame): Uint8Array[] {
    const packet = this.#codec.encode(frame.samples);
    this.#inCodec.push(frame.index);
    const startNs = this.#clock.nowNs();
    try {
      return this.#codec.decode(packet);
    } catch {
      // A damaged packet is dropped and the next one taken, as a telephone does.
      this.#inCodec.pop();
      this.#lost += 1;
      return [];
    } finally {
      const tookNs = this.#clock.nowNs() - startNs;
      this.#transcoded += 1;
      this.#transcodeNs += tookNs;
      this.#transcodeNsMax = Math.max(this.#transcodeNsMax, tookNs);
    }
  }

  #control(
    signal: string,
    controlClass: "overtaking" | "positioned",
    extras: ControlExtras,
    lastMediaSequence: number | undefined,
  ): void {
    this.#controls += 1;
    const position = lastMediaSequence === undefined ? {} : { lastMediaSequence };
    const head = { kind: "control", epoch: this.#epoch(), sequence: this.#controls, signal, controlClass } as const;
    this.#deliver({ ...head, ...position, ...extras });
  }
}
