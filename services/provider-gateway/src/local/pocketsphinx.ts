import type { Clock } from "@rspp/ports/clock";
import type { AudioFormat, Invocation, InvocationInput, InvocationSink } from "@rspp/ports/provider";
import { Attempt, endedInvocation, type ManagedProvider } from "../attempt.ts";
import { readSettings } from "../settings.ts";
import { type Decoder, findPocketsphinx, startDecoder } from "./pocketsphinx-decoder.ts";

const specs = {
  /** JSGF text; its words must be in the CMU dictionary. */
  grammar: { type: "string", default: "" },
  /** A partial after each so much audio, at 0.1 s of a core each; 0: none. */
  partial_ms: { type: "number", default: 0, min: 0, max: 60_000 },
  /** False: the audio is decoded when all of it is there, without partials. */
  streaming: { type: "boolean", default: true },
} as const;

const grammarBytesMax = 64 * 1024;
const audioUsMax = 120_000_000;
const sparesMax = 2;
/** Decoding processes at one time, of all utterances, partials and spares. */
const defaultProcessesMax = 32;
/** Partials and spares leave this share of the places to utterances. */
const utterancesOnlyDivisor = 4;
const notInstalled =
  "pocketsphinx is not installed; `apt-get install pocketsphinx pocketsphinx-en-us`, or use sim/stt with a transcript";

/** Whether the program and its English model are installed. */
export function isPocketsphinxAvailable(path?: string): boolean {
  return findPocketsphinx(path) !== undefined;
}

export interface PocketsphinxOptions {
  clock: Clock;
  /** Search path for the program; default PATH. */
  path?: string;
  /** How long the program may take after the last audio, in real milliseconds; default 10000. */
  finalTimeoutMs?: number;
  /** Processes at one time, spares and partials included; past it the outcome is `overload`. At least 1, default 32. */
  processesMax?: number;
}

export interface Pocketsphinx extends ManagedProvider {
  /** Processes running now, spares included. */
  processes(): number;
  /** Starts a process for this grammar ahead of the first utterance; does nothing where it is not installed. */
  prepare(grammar: string): void;
}

/**
 * `local/pocketsphinx`: recognition by Debian's pocketsphinx, one process an utterance, decoding while audio comes in;
 * the next utterance's process is started ahead. Settings: `grammar` (JSGF, required), `partial_ms`, `streaming`.
 */
export function createPocketsphinx(options: PocketsphinxOptions): Pocketsphinx {
  const { clock, finalTimeoutMs = 10_000, processesMax = defaultProcessesMax } = options;
  const decoders = new DecoderPool(findPocketsphinx(options.path), processesMax);
  return {
    name: "local/pocketsphinx",
    modality: "stt",
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      if (!decoders.installed) return endedInvocation(clock, sink, "error", notInstalled);
      const { grammar, streaming } = read.values;
      const partialUs = streaming ? read.values.partial_ms * 1000 : 0;
      const bytes = Buffer.byteLength(grammar);
      if (bytes === 0 || bytes > grammarBytesMax) {
        return endedInvocation(clock, sink, "error", "setting `grammar` must hold a JSGF grammar of at most 64 KiB");
      }
      const decoder = decoders.take(grammar);
      if (decoder === undefined) {
        const detail = `pocketsphinx is at its maximum of ${processesMax} processes; try again when an utterance has ended`;
        return endedInvocation(clock, sink, "overload", detail);
      }
      return new Recognition({ clock, decoders, decoder, grammar, partialUs, streaming, finalTimeoutMs }, sink);
    },
    available: () => decoders.installed,
    processes: () => decoders.size,
    prepare: (grammar) => decoders.prepare(grammar),
    close: () => decoders.close(),
  };
}

/** Starts processes, keeps count and never passes its maximum; one spare for each of the grammars used last. */
class DecoderPool {
  readonly #file: string | undefined;
  readonly #processesMax: number;
  readonly #spares = new Map<string, Decoder>();
  readonly #all = new Set<Decoder>();
  #closed = false;

  constructor(file: string | undefined, processesMax: number) {
    this.#file = file;
    this.#processesMax = processesMax;
  }

  get installed(): boolean {
    return this.#file !== undefined;
  }

  get size(): number {
    return this.#all.size;
  }

  /** A process for one utterance, undefined when there are too many; a spare for the next is started if there is room. */
  take(grammar: string): Decoder | undefined {
    const spare = this.#spares.get(grammar);
    this.#spares.delete(grammar);
    const decoder = spare?.alive ? spare : this.#start(grammar, this.#processesMax);
    if (decoder === undefined) this.#dropSpares(0);
    else this.prepare(grammar);
    return decoder;
  }

  prepare(grammar: string): void {
    if (this.#closed || this.#file === undefined || this.#spares.has(grammar)) return;
    const spare = this.startAhead(grammar);
    if (spare === undefined) return;
    this.#spares.set(grammar, spare);
    this.#dropSpares(sparesMax);
  }

  /** A process no utterance waits for, a partial's or a spare; undefined when the places left are for utterances. */
  startAhead(grammar: string): Decoder | undefined {
    return this.#start(grammar, this.#processesMax - Math.floor(this.#processesMax / utterancesOnlyDivisor));
  }

  #dropSpares(leave: number): void {
    for (const [key, old] of this.#spares) {
      if (this.#spares.size <= leave) break;
      this.#spares.delete(key);
      old.kill();
    }
  }

  /** A killed process counts until it is gone, so that a burst of starts and kills is bounded too. */
  #start(grammar: string, max: number): Decoder | undefined {
    if (this.#all.size >= max) return undefined;
    const decoder = startDecoder(this.#file ?? "", grammar);
    this.#all.add(decoder);
    void decoder.result.then(() => this.#all.delete(decoder));
    return decoder;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#spares.clear();
    const all = [...this.#all];
    for (const decoder of all) decoder.kill();
    await Promise.all(all.map((decoder) => decoder.result));
  }
}

interface RecognitionOptions {
  clock: Clock;
  decoders: DecoderPool;
  decoder: Decoder;
  grammar: string;
  partialUs: number;
  streaming: boolean;
  finalTimeoutMs: number;
}

class Recognition implements Invocation {
  readonly #options: RecognitionOptions;
  readonly #attempt: Attempt;
  readonly #decoder: Decoder;
  readonly #heard: Uint8Array[] = [];
  #partial: Decoder | undefined;
  #partialAtUs = 0;
  #lastPartial = "";
  #audioUs = 0;
  #revision = 0;
  #finished = false;

  constructor(options: RecognitionOptions, sink: InvocationSink) {
    this.#options = options;
    this.#attempt = new Attempt(sink);
    this.#decoder = options.decoder;
    this.#attempt.onEnd(() => this.#decoder.kill());
    this.#attempt.onEnd(() => this.#partial?.kill());
    void this.#decoder.result.then((result) => this.#conclude(result));
  }

  push(input: InvocationInput): void {
    if (input.kind !== "audio" || this.#finished || this.#attempt.done) return;
    if (!isExpected(input.format)) {
      this.#attempt.end("error", "local/pocketsphinx takes pcm_s16le, 16000 Hz, 1 channel");
      return;
    }
    this.#audioUs += input.durationUs;
    if (this.#audioUs > audioUsMax) {
      this.#attempt.end("error", "an utterance is at most 120 s long");
      return;
    }
    // Copied, because the caller may use its buffer again while the pipe is full.
    const bytes = new Uint8Array(input.bytes);
    if (!this.#options.streaming) this.#heard.push(bytes);
    else this.#decoder.write(bytes);
    if (this.#options.partialUs > 0) this.#keepForPartial(bytes);
  }

  finish(): void {
    if (this.#finished || this.#attempt.done) return;
    this.#finished = true;
    this.#partial?.kill();
    const { clock, finalTimeoutMs } = this.#options;
    if (this.#audioUs === 0) {
      const timer = clock.timerAt(clock.nowNs(), () => this.#attempt.end("empty", "finished without audio"));
      this.#attempt.onEnd(() => timer.clear());
      return;
    }
    this.#attempt.onEnd(clock.hold());
    // A guard against a hung program, in real time since virtual time stands still meanwhile.
    const guard = setTimeout(() => this.#attempt.end("timeout", "pocketsphinx did not answer in time"), finalTimeoutMs);
    this.#attempt.onEnd(() => clearTimeout(guard));
    if (!this.#options.streaming) for (const part of this.#heard.splice(0)) this.#decoder.write(part);
    this.#decoder.end();
  }

  cancel(): void {
    this.#attempt.end("cancelled", "cancelled");
  }

  #conclude(result: { text: string; problem?: string }): void {
    if (result.problem === "refused") {
      this.#attempt.end("error", "pocketsphinx refused the grammar; check its JSGF and that its words are in cmudict");
    } else if (result.problem !== undefined) {
      this.#attempt.end("error", "the pocketsphinx process could not run or was ended");
    } else if (result.text === "") {
      this.#attempt.end("empty", "no words recognised", { audioUs: this.#audioUs });
    } else {
      this.#text(result.text, true);
      this.#attempt.end("success", "", { audioUs: this.#audioUs });
    }
  }

  #text(text: string, final: boolean): void {
    this.#attempt.chunk({ kind: "text", text, segment: 0, revision: this.#revision++, final, language: "en-US" });
  }

  /** The program tells nothing before its input ends, so a partial is a second process over the audio so far. */
  #keepForPartial(bytes: Uint8Array): void {
    this.#heard.push(bytes);
    const due = this.#audioUs - this.#partialAtUs >= this.#options.partialUs;
    if (!due || this.#partial?.alive) return;
    this.#partialAtUs = this.#audioUs;
    const partial = this.#options.decoders.startAhead(this.#options.grammar);
    if (partial === undefined) return;
    this.#partial = partial;
    for (const part of this.#heard) partial.write(part);
    partial.end();
    void partial.result.then(({ text, problem }) => {
      if (problem || text === "" || text === this.#lastPartial || this.#finished) return;
      this.#lastPartial = text;
      this.#text(text, false);
    });
  }
}

function isExpected(format: AudioFormat): boolean {
  return format.codec === "pcm_s16le" && format.rateHz === 16_000 && format.channels === 1;
}
