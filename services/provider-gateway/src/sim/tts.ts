import { FRAME_BYTES, FRAME_RATE_HZ, FRAME_SAMPLES, FRAME_US } from "@rspp/audio/frames";
import type { Clock } from "@rspp/ports/clock";
import type {
  AudioFormat,
  Invocation,
  InvocationChunk,
  InvocationOpen,
  InvocationSink,
  WordTiming,
} from "@rspp/ports/provider";
import { Attempt, endedInvocation, type ManagedProvider } from "../attempt.ts";
import { readSettings, type SettingValues } from "../settings.ts";
import { Pace, sendPaced, simSpecs } from "./pace.ts";

const specs = {
  ...simSpecs,
  /** How long one character sounds; a space is silence of that length. */
  ms_per_char: { type: "number", default: 60, min: 1, max: 1000 },
  tone_hz: { type: "number", default: 440, min: 50, max: 4000 },
  /** False: a clause's frames come all at once, when the last would have. */
  streaming: { type: "boolean", default: true },
  /** Whether chunks carry word timings. */
  words: { type: "boolean", default: true },
  /** `word=phonetic letters`: such a word lasts as long as its letters. */
  pronunciations: { type: "strings", default: [] },
} as const;

type Values = SettingValues<typeof specs>;
const format: AudioFormat = { codec: "pcm_s16le", rateHz: FRAME_RATE_HZ, channels: 1 };
const clausesMax = 1000;
const charsMax = 2000;

/**
 * `sim/tts`: a tone per word, silence per space, with exact word timings (from the characters), in 20 ms frames.
 * `chunk_ms` is the wait between frames, `first_chunk_ms` the wait before each clause.
 */
export function createSimTts(options: { clock: Clock }): ManagedProvider {
  const { clock } = options;
  return {
    name: "sim/tts",
    modality: "tts",
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      return new SimSpeech(clock, request, sink, read.values);
    },
  };
}

class SimSpeech implements Invocation {
  readonly #sink: InvocationSink;
  readonly #attempt: Attempt;
  readonly #pace: Pace;
  readonly #values: Values;
  readonly #queue: { text: string; segment: number }[] = [];
  #speaking = false;
  #finished = false;
  #clauses = 0;
  #characters = 0;
  #audioUs = 0;

  constructor(clock: Clock, request: InvocationOpen, sink: InvocationSink, values: Values) {
    this.#sink = sink;
    this.#attempt = new Attempt(sink);
    this.#pace = new Pace(clock, this.#attempt, request, values);
    this.#values = values;
  }

  push(input: Parameters<Invocation["push"]>[0]): void {
    if (input.kind !== "text" || this.#attempt.done || this.#finished) return;
    if (this.#clauses === 0 && this.#pace.failsAtOnce()) this.#speaking = true;
    this.#clauses++;
    if (input.text.length > charsMax || this.#clauses > clausesMax) {
      this.#attempt.end("error", `at most ${clausesMax} clauses of ${charsMax} characters`);
      return;
    }
    this.#queue.push({ text: input.text, segment: input.segment });
    this.#next();
  }

  finish(): void {
    this.#finished = true;
    if (this.#clauses === 0) this.#pace.after(0, () => this.#attempt.end("empty", "finished without text"));
    else this.#next();
  }

  cancel(): void {
    this.#attempt.end("cancelled", "cancelled");
  }

  #next(): void {
    if (this.#speaking || (!this.#pace.streaming && !this.#finished)) return;
    if (!this.#pace.streaming && this.#pace.fault === "none") return this.#whole();
    const clause = this.#queue.shift();
    if (clause === undefined) {
      if (this.#finished) this.#succeed();
      return;
    }
    this.#speaking = true;
    this.#characters += clause.text.length;
    const frames = clauseChunks(clause.text, clause.segment, this.#values, this.#pace.fault === "silent_audio");
    const { streaming } = this.#values;
    sendPaced(
      this.#pace,
      frames,
      (frame) => {
        if (streaming) this.#send(frame);
      },
      () => {
        if (!streaming) for (const frame of frames) this.#send(frame);
        this.#speaking = false;
        this.#next();
      },
    );
  }

  /** All clauses in one request, its audio once all of it is made. */
  #whole(): void {
    this.#speaking = true;
    const clauses = this.#queue.splice(0);
    const frames = clauses.flatMap(({ text, segment }) => clauseChunks(text, segment, this.#values));
    this.#characters += clauses.reduce((sum, { text }) => sum + text.length, 0);
    this.#pace.afterAll(frames.length, () => {
      for (const frame of frames) this.#send(frame);
      this.#succeed();
    });
  }

  #send(frame: InvocationChunk): void {
    this.#audioUs += FRAME_US;
    if (this.#pace.fault === "late_data") this.#sink.chunk(frame);
    else this.#attempt.chunk(frame);
  }

  #succeed(): void {
    this.#attempt.end("success", "", { audioUs: this.#audioUs, characters: this.#characters });
    if (this.#pace.fault === "chunk_after_terminal") {
      const [frame] = clauseChunks("x", 0, this.#values);
      if (frame) this.#sink.chunk(frame);
    }
  }
}

/** Word timings of a clause: each character lasts `msPerChar`; words of `spoken` as many as that has. */
export function simWordTimings(
  text: string,
  msPerChar: number,
  spoken: ReadonlyMap<string, string> = new Map(),
): WordTiming[] {
  let more = 0;
  return [...text.matchAll(/\S+/g)].map((match) => {
    const [word] = match;
    const startUs = (match.index + more) * msPerChar * 1000;
    const plain = word.toLowerCase().replace(/[^\p{L}\p{N}']+/gu, "");
    more += (spoken.get(plain)?.length ?? plain.length) - plain.length;
    const to = match.index + word.length;
    return { from: match.index, to, startUs, endUs: (to + more) * msPerChar * 1000 };
  });
}

function spokenWords(pronunciations: readonly string[]): Map<string, string> {
  const entries = pronunciations.map((entry) => entry.split("=", 2));
  return new Map(entries.map(([word = "", letters = ""]) => [word.toLowerCase(), letters]));
}

function clauseChunks(text: string, segment: number, values: Values, silent = false): InvocationChunk[] {
  const words = simWordTimings(text, values.ms_per_char, spokenWords(values.pronunciations));
  const plainUs = text.length * values.ms_per_char * 1000;
  const last = words.at(-1);
  const moreUs = last === undefined ? 0 : last.endUs - last.to * values.ms_per_char * 1000;
  const frames = Math.max(1, Math.ceil((plainUs + moreUs) / FRAME_US));
  const voiced = (us: number) => !silent && words.some((word) => us >= word.startUs && us < word.endUs);
  return Array.from({ length: frames }, (_, n) => {
    const chunk: InvocationChunk = {
      kind: "audio",
      bytes: toneFrame(n, values.tone_hz, voiced),
      format,
      durationUs: FRAME_US,
      segment,
      segmentEnd: n === frames - 1,
      segmentChars: text.length,
    };
    if (n === 0 && values.words) chunk.words = words;
    return chunk;
  });
}

function toneFrame(n: number, hz: number, voiced: (us: number) => boolean): Uint8Array {
  const bytes = new Uint8Array(FRAME_BYTES);
  const samples = new Int16Array(bytes.buffer);
  for (let i = 0; i < FRAME_SAMPLES; i++) {
    const at = n * FRAME_SAMPLES + i;
    if (voiced((at * 1e6) / FRAME_RATE_HZ)) {
      samples[i] = Math.round(8000 * Math.sin((2 * Math.PI * hz * at) / FRAME_RATE_HZ));
    }
  }
  return bytes;
}
