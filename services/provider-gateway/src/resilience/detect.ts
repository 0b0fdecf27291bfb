/**
 * What no adapter has to find for itself (F3): a stream that says nothing more while something is due, a voice that gives
 * only silence, an answer without a word. Nothing of a silent clause or a blank answer has left when it is told, so that
 * another candidate can go on. An answer that only calls tools is not empty.
 */
import { decodeAlaw, decodeMulaw } from "@rspp/audio/g711";
import { bytesToS16 } from "@rspp/audio/pcm";
import { type MonoNs, monoPlusNs, msToNs, nsToMs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type {
  Invocation,
  InvocationChunk,
  InvocationInput,
  InvocationOpen,
  InvocationOutcome,
  InvocationSink,
} from "@rspp/ports/provider";

export const detectLimits = {
  /** Default of setting `stall_ms`: less than the kernel's own patience, so that the reason is told. */
  STALL_MS: 4_000,
  STALL_MS_MAX: 600_000,
  /** Silence at the beginning of a clause; more is no pause any more. */
  SILENT_MS: 2_000,
  /** Samples no louder than this are silence: dither, not sound. */
  SILENT_PEAK: 32,
  /** Held of a blank answer. */
  BLANK_CHARS_MAX: 256,
} as const;

type Audio = Extract<InvocationChunk, { kind: "audio" }>;

/** The provider under watch. */
export function openWatched(
  clock: Clock,
  request: InvocationOpen,
  sink: InvocationSink,
  open: (sink: InvocationSink) => Invocation,
): Invocation {
  if (request.modality === "tool") return open(sink);
  return new Watched(clock, request, sink, open);
}

class Watched implements Invocation {
  readonly #clock: Clock;
  readonly #request: InvocationOpen;
  readonly #sink: InvocationSink;
  readonly #stallMs: number;
  #inner: Invocation | undefined;
  readonly #clauses: { segment: number; spoken: boolean }[] = [];
  #held: InvocationChunk[] = [];
  #heldUs = 0;
  #heldChars = 0;
  /** Segment that has sounded; -1: none. */
  #voiced = -1;
  #said = false;
  #finished = false;
  #begun = false;
  #done = false;
  #cut = false;
  #lastNs: MonoNs;
  #timer: TimerHandle | null = null;

  constructor(clock: Clock, request: InvocationOpen, sink: InvocationSink, open: (sink: InvocationSink) => Invocation) {
    this.#clock = clock;
    this.#request = request;
    this.#sink = sink;
    const asked = request.settings.stall_ms;
    const valid = typeof asked === "number" && asked >= 1 && asked <= detectLimits.STALL_MS_MAX;
    this.#stallMs = valid ? asked : detectLimits.STALL_MS;
    this.#lastNs = clock.nowNs();
    this.#inner = open({ chunk: (chunk) => this.#chunk(chunk), outcome: (outcome) => this.#outcome(outcome) });
  }

  push(input: InvocationInput): void {
    if (this.#done) return;
    if (input.kind === "text") {
      const spoken = /[\p{L}\p{N}]/u.test(input.text);
      this.#clauses.push({ segment: input.segment, spoken });
    }
    this.#lastNs = this.#clock.nowNs();
    this.#inner?.push(input);
    this.#due();
  }

  finish(): void {
    if (this.#done) return;
    this.#finished = true;
    this.#lastNs = this.#clock.nowNs();
    this.#inner?.finish();
    this.#due();
  }

  cancel(reason: string): void {
    this.#inner?.cancel(reason);
  }

  #chunk(chunk: InvocationChunk): void {
    // What comes after the end is the gateway's to refuse and count.
    if (this.#done) return this.#sink.chunk(chunk);
    this.#lastNs = this.#clock.nowNs();
    this.#begun = true;
    if (chunk.kind === "audio") this.#audio(chunk);
    else if (chunk.kind === "tool_call") this.#speak(chunk);
    else this.#text(chunk);
    this.#due();
  }

  #text(chunk: Extract<InvocationChunk, { kind: "text" }>): void {
    const blank = !this.#said && chunk.text.trim() === "";
    if (this.#request.modality === "stt") {
      if (chunk.final && !blank) this.#said = true;
      return this.#sink.chunk(chunk);
    }
    this.#heldChars += chunk.text.length;
    if (blank && this.#heldChars <= detectLimits.BLANK_CHARS_MAX) this.#held.push(chunk);
    else this.#speak(chunk);
  }

  #audio(chunk: Audio): void {
    while (this.#clauses[0] !== undefined && this.#clauses[0].segment < chunk.segment) this.#clauses.shift();
    const [clause] = this.#clauses;
    const spoken = clause === undefined || clause.segment !== chunk.segment || clause.spoken;
    if (chunk.segmentEnd && clause?.segment === chunk.segment) this.#clauses.shift();
    if (this.#voiced === chunk.segment || !spoken || !silent(chunk)) {
      this.#voiced = chunk.segment;
      return this.#speak(chunk);
    }
    this.#held.push(chunk);
    this.#heldUs += chunk.durationUs;
    if (!chunk.segmentEnd && this.#heldUs < detectLimits.SILENT_MS * 1_000) return;
    this.#end({ kind: "empty", detail: "silent_audio: the voice gave only silence" });
  }

  #speak(chunk: InvocationChunk): void {
    this.#said = true;
    this.#heldUs = 0;
    if (this.#held.length > 0) for (const held of this.#held.splice(0)) this.#sink.chunk(held);
    this.#sink.chunk(chunk);
  }

  #outcome(outcome: InvocationOutcome): void {
    if (this.#cut) return;
    if (this.#done) return this.#sink.outcome(outcome);
    this.#done = true;
    this.#timer?.clear();
    const nothing = outcome.kind === "success" && this.#begun && !this.#said;
    this.#sink.outcome(nothing ? { ...outcome, kind: "empty", detail: "blank: the answer holds no word" } : outcome);
  }

  /** Looks again when the time is up, not per chunk. */
  #due(): void {
    if (!this.#done && this.#timer === null && this.#isDue()) this.#arm(this.#stallMs);
  }

  #arm(ms: number): void {
    this.#timer = this.#clock.timerAt(monoPlusNs(this.#clock.nowNs(), msToNs(ms)), () => {
      this.#timer = null;
      if (this.#done || !this.#isDue()) return;
      const quietMs = nsToMs(this.#clock.nowNs()) - nsToMs(this.#lastNs);
      if (quietMs < this.#stallMs) return this.#arm(this.#stallMs - quietMs);
      this.#end({ kind: "timeout", detail: `stalled: no chunk for ${this.#stallMs} ms` });
    });
  }

  #isDue(): boolean {
    const { modality } = this.#request;
    if (modality === "stt") return this.#finished;
    // Till the first chunk the kernel's own timer decides, by the budget of the attempt.
    if (!this.#begun) return false;
    return modality === "llm" || this.#finished || this.#clauses.length > 0;
  }

  #end(outcome: InvocationOutcome): void {
    this.#done = true;
    this.#timer?.clear();
    this.#held = [];
    // What the provider says of being cancelled is not the outcome.
    this.#cut = true;
    this.#inner?.cancel(outcome.detail);
    this.#sink.outcome(outcome);
  }
}

function silent({ bytes, format }: Audio): boolean {
  if (format.codec === "opus") return false;
  const samples =
    format.codec === "pcm_s16le" ? bytesToS16(bytes) : (format.codec === "mulaw" ? decodeMulaw : decodeAlaw)(bytes);
  const peak = detectLimits.SILENT_PEAK;
  for (const sample of samples) if (sample > peak || sample < -peak) return false;
  return true;
}
