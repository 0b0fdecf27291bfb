import { FRAME_RATE_HZ, FRAME_US, splitFrames } from "@rspp/audio/frames";
import type { Clock } from "@rspp/ports/clock";
import type { AudioFormat, Invocation, InvocationInput, InvocationSink } from "@rspp/ports/provider";
import { Attempt, endedInvocation, type ManagedProvider } from "../attempt.ts";
import { readSettings } from "../settings.ts";
import { defaultFliteVoice, fliteVoices, type Speech } from "./flite-synth.ts";
import { FliteThread, type SpeechJob } from "./flite-thread.ts";

const specs = {
  voice: { type: "string", default: defaultFliteVoice, oneOf: fliteVoices },
  /** Speaking rate; 1 is the voice's own. */
  rate: { type: "number", default: 1, min: 0.5, max: 2 },
} as const;

const format: AudioFormat = { codec: "pcm_s16le", rateHz: FRAME_RATE_HZ, channels: 1 };
const charsMax = 2000;
const clausesMax = 1000;

/**
 * `local/flite`: speech synthesis in WebAssembly, each pushed clause as 20 ms frames of 16 kHz mono with word timings.
 * Clauses are spoken in a thread shared by all sessions. Settings: `voice`, `rate`.
 */
export function createFlite(options: { clock: Clock }): ManagedProvider {
  const { clock } = options;
  const thread = new FliteThread();
  return {
    name: "local/flite",
    modality: "tts",
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      const { voice, rate } = read.values;
      return new FliteInvocation(clock, thread, sink, voice, rate);
    },
    warm: () => thread.warm(),
    close: () => thread.close(),
  };
}

class FliteInvocation implements Invocation {
  readonly #clock: Clock;
  readonly #thread: FliteThread;
  readonly #attempt: Attempt;
  readonly #voice: string;
  readonly #rate: number;
  readonly #jobs = new Set<SpeechJob>();
  #finished = false;
  #clauses = 0;
  #characters = 0;
  #audioUs = 0;

  constructor(clock: Clock, thread: FliteThread, sink: InvocationSink, voice: string, rate: number) {
    this.#clock = clock;
    this.#thread = thread;
    this.#attempt = new Attempt(sink);
    this.#voice = voice;
    this.#rate = rate;
  }

  push(input: InvocationInput): void {
    if (input.kind !== "text" || this.#finished || this.#attempt.done) return;
    this.#clauses++;
    if (input.text.length > charsMax || this.#clauses > clausesMax) {
      this.#attempt.end("error", `at most ${clausesMax} clauses of ${charsMax} characters`);
      return;
    }
    this.#characters += input.text.length;
    const { text, segment } = input;
    const release = this.#clock.hold();
    this.#attempt.onEnd(release);
    const job = this.#thread.speak({ text, voice: this.#voice, rate: this.#rate }, (result) => {
      this.#jobs.delete(job);
      if ("problem" in result) this.#attempt.end(result.overload ? "overload" : "error", result.problem);
      else this.#emit(result, segment, text.length);
      release();
      this.#settle();
    });
    this.#jobs.add(job);
    this.#attempt.onEnd(() => job.cancel());
  }

  finish(): void {
    this.#finished = true;
    this.#settle();
  }

  cancel(): void {
    this.#attempt.end("cancelled", "cancelled");
  }

  #emit(speech: Speech, segment: number, segmentChars: number): void {
    // A clause without a sound still marks its end, with one frame of silence.
    const frames = splitFrames(speech.samples.length > 0 ? speech.samples : new Int16Array(1));
    frames.forEach((bytes, i) => {
      const words = i === 0 && speech.words ? { words: speech.words } : {};
      const segmentEnd = i === frames.length - 1;
      this.#audioUs += FRAME_US;
      this.#attempt.chunk({
        kind: "audio",
        bytes,
        format,
        durationUs: FRAME_US,
        segment,
        segmentEnd,
        segmentChars,
        ...words,
      });
    });
  }

  #settle(): void {
    if (!this.#finished || this.#jobs.size > 0) return;
    if (this.#clauses === 0) {
      const timer = this.#clock.timerAt(this.#clock.nowNs(), () => this.#attempt.end("empty", "finished without text"));
      this.#attempt.onEnd(() => timer.clear());
    } else {
      this.#attempt.end("success", "", { audioUs: this.#audioUs, characters: this.#characters });
    }
  }
}
