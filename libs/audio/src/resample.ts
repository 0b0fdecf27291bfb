import SpeexResampler from "@echogarden/speex-resampler-wasm/simd";

/** The part of the Emscripten module used here. */
interface SpeexModule {
  HEAP16: Int16Array;
  HEAPU32: Uint32Array;
  HEAP32: Int32Array;
  _malloc(bytes: number): number;
  _free(at: number): void;
  _speex_resampler_init(channels: number, inHz: number, outHz: number, quality: number, err: number): number;
  _speex_resampler_destroy(state: number): void;
  _speex_resampler_skip_zeros(state: number): number;
  _speex_resampler_get_input_latency(state: number): number;
  _speex_resampler_reset_mem(state: number): number;
  _speex_resampler_process_interleaved_int(s: number, i: number, iLen: number, o: number, oLen: number): number;
}

const blockFrames = 4096;
const minRateHz = 4000;
const maxRateHz = 192_000;
let loading: Promise<SpeexModule> | undefined;

export interface ResamplerSettings {
  inRateHz: number;
  outRateHz: number;
  /** Interleaved channels; default 1. */
  channels?: number;
  /** 0 (fast) to 10 (best); default 7, in real time 4. */
  quality?: number;
  /**
   * For streams that somebody waits for: each block gives its whole output at once, `latencyUs` late, instead of none of
   * it being late and the first block's end waiting for the second. What `flush` gives is longer by that much.
   */
  realTime?: boolean;
}

/**
 * A streaming resampler without added delay: the filter's lead-in is skipped at the start and its tail delivered by
 * `flush`, so that in all exactly round(frames × out / in) frames come out.
 */
export interface Resampler {
  /** How much later a sound comes out than it went in, microseconds; 0 but in real time. */
  readonly latencyUs: number;
  /** The output ready so far; a fresh array. */
  process(samples: Int16Array): Int16Array;
  /** The same, but a view that the next call of any resampler overwrites. */
  peek(samples: Int16Array): Int16Array;
  /** The tail; afterwards the resampler starts anew. */
  flush(): Int16Array;
  /** Frees its memory; the resampler must not be used afterwards. Idempotent. */
  close(): void;
}

/** Loads the WebAssembly module once. Throws RangeError for a rate outside 4 to 192 kHz or a bad channel count. */
export async function createResampler(settings: ResamplerSettings): Promise<Resampler> {
  const { inRateHz, outRateHz, channels = 1, realTime = false, quality = realTime ? 4 : 7 } = settings;
  for (const rate of [inRateHz, outRateHz]) {
    if (!Number.isInteger(rate) || rate < minRateHz || rate > maxRateHz) {
      throw new RangeError(`a sample rate is ${minRateHz} to ${maxRateHz} Hz, found ${rate}`);
    }
  }
  if (!Number.isInteger(channels) || channels < 1 || channels > 8) throw new RangeError(`1 to 8 channels: ${channels}`);
  if (inRateHz === outRateHz) return passThrough;
  loading ??= (SpeexResampler as unknown as () => Promise<SpeexModule>)();
  return new SpeexStream(await loading, { inRateHz, outRateHz, channels, quality, realTime });
}

/** Resamples a whole recording; the result is round(frames × out / in) frames long. */
export async function resample(samples: Int16Array, settings: ResamplerSettings): Promise<Int16Array> {
  const resampler = await createResampler(settings);
  const head = resampler.process(samples);
  const tail = resampler.flush();
  resampler.close();
  return concat([head, tail]);
}

const passThrough: Resampler = {
  latencyUs: 0,
  process: (samples) => samples.slice(),
  peek: (samples) => samples,
  flush: () => new Int16Array(0),
  close: () => {},
};

class SpeexStream implements Resampler {
  readonly latencyUs: number;
  readonly #realTime: boolean;
  readonly #module: SpeexModule;
  readonly #channels: number;
  readonly #ratio: number;
  readonly #outFrames: number;
  readonly #memory: number;
  #state: number;
  #framesIn = 0;
  #framesOut = 0;

  constructor(module: SpeexModule, settings: Required<ResamplerSettings>) {
    const { inRateHz: inHz, outRateHz: outHz, channels, quality, realTime } = settings;
    this.#module = module;
    this.#channels = channels;
    this.#ratio = outHz / inHz;
    this.#outFrames = Math.ceil(blockFrames * this.#ratio) + 64;
    // One block: two lengths and the error code (16 bytes), then input, then output.
    this.#memory = module._malloc(16 + (blockFrames + this.#outFrames) * channels * 2);
    this.#state = module._speex_resampler_init(channels, inHz, outHz, quality, this.#memory + 8);
    if (this.#state === 0) throw new RangeError(`the resampler refused ${inHz} -> ${outHz} Hz, quality ${quality}`);
    this.#realTime = realTime;
    if (!realTime) module._speex_resampler_skip_zeros(this.#state);
    const latency = module._speex_resampler_get_input_latency(this.#state);
    this.latencyUs = realTime ? Math.round((latency * 1e6) / inHz) : 0;
  }

  process(samples: Int16Array): Int16Array {
    const frames = Math.floor(samples.length / this.#channels);
    this.#framesIn += frames;
    const out = this.#run(samples.subarray(0, frames * this.#channels));
    this.#framesOut += out.length / this.#channels;
    return out;
  }

  peek(samples: Int16Array): Int16Array {
    const frames = samples.length / this.#channels;
    if (this.#state === 0 || frames > blockFrames || !Number.isInteger(frames)) return this.process(samples);
    const made = this.#convert(samples);
    const view = this.#module.HEAP16.subarray(this.#outAt, this.#outAt + made * this.#channels);
    const used = this.#used() * this.#channels;
    // The filter takes a frame in whole; where it does not, what is left is asked for in the plain way.
    const out = used === samples.length ? view : concat([view.slice(), this.#run(samples.subarray(used))]);
    this.#framesIn += frames;
    this.#framesOut += out.length / this.#channels;
    return out;
  }

  flush(): Int16Array {
    const latency = this.#module._speex_resampler_get_input_latency(this.#state);
    const framesIn = this.#framesIn + (this.#realTime && this.#framesIn > 0 ? latency : 0);
    const due = Math.round(framesIn * this.#ratio) - this.#framesOut;
    const tail = this.#run(new Int16Array((latency + Math.ceil(1 / this.#ratio) + 2) * this.#channels));
    this.#module._speex_resampler_reset_mem(this.#state);
    if (!this.#realTime) this.#module._speex_resampler_skip_zeros(this.#state);
    this.#framesIn = 0;
    this.#framesOut = 0;
    return tail.slice(0, Math.max(0, due) * this.#channels);
  }

  close(): void {
    if (this.#state === 0) return;
    this.#module._speex_resampler_destroy(this.#state);
    this.#module._free(this.#memory);
    this.#state = 0;
  }

  #run(samples: Int16Array): Int16Array {
    if (this.#state === 0) throw new Error("the resampler is closed");
    const parts: Int16Array[] = [];
    let at = 0;
    while (at < samples.length) {
      const block = samples.subarray(at, at + blockFrames * this.#channels);
      const { part, usedFrames } = this.#block(block);
      parts.push(part);
      if (usedFrames === 0 && part.length === 0) break;
      at += usedFrames * this.#channels;
    }
    return concat(parts);
  }

  #block(block: Int16Array): { part: Int16Array; usedFrames: number } {
    const made = this.#convert(block);
    const part = this.#module.HEAP16.slice(this.#outAt, this.#outAt + made * this.#channels);
    return { part, usedFrames: this.#used() };
  }

  /** Where the output stands, in samples from the start of the module's memory. */
  get #outAt(): number {
    return (this.#memory + 16 + blockFrames * this.#channels * 2) >> 1;
  }

  /** Frames of the last block that went in. */
  #used(): number {
    return this.#module.HEAPU32[this.#memory >> 2] ?? 0;
  }

  /** @returns frames made of at most one block. */
  #convert(block: Int16Array): number {
    const m = this.#module;
    const lengths = this.#memory;
    const input = this.#memory + 16;
    const output = input + blockFrames * this.#channels * 2;
    m.HEAP16.set(block, input >> 1);
    m.HEAPU32[lengths >> 2] = block.length / this.#channels;
    m.HEAPU32[(lengths >> 2) + 1] = this.#outFrames;
    m._speex_resampler_process_interleaved_int(this.#state, input, lengths, output, lengths + 4);
    return m.HEAPU32[(lengths >> 2) + 1] ?? 0;
  }
}

function concat(parts: readonly Int16Array[]): Int16Array {
  const [only] = parts;
  if (parts.length === 1 && only) return only;
  const out = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
