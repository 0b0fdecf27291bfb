/** Frames of the runtime's own format: 20 ms of 16 kHz mono s16le. */
export const FRAME_MS = 20;
export const FRAME_US = 20_000;
export const FRAME_RATE_HZ = 16_000;
export const FRAME_SAMPLES = 320;
export const FRAME_BYTES = 640;

/** Frames that are handed out again and again: one packet seldom makes more. */
const REUSED_MAX = 4;

/** Cuts a stream of samples into exact 20 ms frames. Holds at most one frame. */
export class FrameSplitter {
  readonly #held = new Int16Array(FRAME_SAMPLES);
  readonly #heldBytes = new Uint8Array(this.#held.buffer);
  readonly #reused: Uint8Array[] = [];
  readonly #list: Uint8Array[] = [];
  #fill = 0;

  /** As {@link FrameSplitter.push}, but the list and its frames are those of the call before: who keeps them copies them. */
  peek(samples: Int16Array): readonly Uint8Array[] {
    const out = this.#list;
    out.length = 0;
    for (let at = 0; at < samples.length; ) {
      at += this.#fillFrom(samples, at);
      if (this.#fill < FRAME_SAMPLES) break;
      this.#fill = 0;
      const frame = this.#reused[out.length] ?? new Uint8Array(FRAME_BYTES);
      if (out.length < REUSED_MAX) this.#reused[out.length] = frame;
      frame.set(this.#heldBytes);
      out.push(frame);
    }
    return out;
  }

  /** Frames completed by these samples, each 640 bytes and a fresh copy, so that the caller may keep it. */
  push(samples: Int16Array): Uint8Array[] {
    const out: Uint8Array[] = [];
    for (let at = 0; at < samples.length; ) {
      at += this.#fillFrom(samples, at);
      if (this.#fill === FRAME_SAMPLES) out.push(this.#take());
    }
    return out;
  }

  /** The unfinished frame padded with silence, or undefined when nothing is held. */
  flush(): Uint8Array | undefined {
    if (this.#fill === 0) return undefined;
    this.#held.fill(0, this.#fill);
    return this.#take();
  }

  /** @returns samples taken. */
  #fillFrom(samples: Int16Array, at: number): number {
    const take = Math.min(FRAME_SAMPLES - this.#fill, samples.length - at);
    this.#held.set(take === samples.length ? samples : samples.subarray(at, at + take), this.#fill);
    this.#fill += take;
    return take;
  }

  #take(): Uint8Array {
    const copy = this.#held.slice();
    this.#fill = 0;
    return new Uint8Array(copy.buffer);
  }
}

/** Cuts a whole recording (16 kHz mono) into 20 ms frames; the last one is padded with silence. */
export function splitFrames(samples: Int16Array): Uint8Array[] {
  const splitter = new FrameSplitter();
  const frames = splitter.push(samples);
  const rest = splitter.flush();
  if (rest) frames.push(rest);
  return frames;
}
