/**
 * The caps an invocation was opened with (F-058): what fits is done and the outcome says which cap was met, or it is refused.
 * Tokens are counted by characters, as the runtime's budgets do, since not every model tells its own.
 */
import {
  CAP_REACHED,
  type Invocation,
  type InvocationChunk,
  type InvocationInput,
  type InvocationOpen,
  type InvocationOutcome,
  type InvocationSink,
} from "@rspp/ports/provider";

const CHARS_PER_TOKEN = 4;
const PRICE_UNIT = 1_000;
const MS_PER_MINUTE = 60_000;

/** Millionths of money for 1000 tokens or characters, or a minute of audio; undefined: not known. */
export type PriceOf = (provider: string) => number | undefined;

type Unit = "tokens" | "audio_seconds" | "tts_characters" | "cost";

interface Bound {
  readonly unit: Unit;
  /** Characters (llm, tts) or milliseconds (stt). */
  readonly max: number;
}

/** The provider behind its caps; itself where there are none for its modality. */
export function openCapped(
  request: InvocationOpen,
  sink: InvocationSink,
  priceOf: PriceOf,
  open: (request: InvocationOpen, sink: InvocationSink) => Invocation,
): Invocation {
  const bound = boundOf(request, priceOf);
  if (bound === null) return open(request, sink);
  const capped = new CappedInvocation(request, sink, bound);
  capped.start(open);
  return capped;
}

/** The tightest, in the unit that is counted. */
function boundOf({ caps, modality, provider }: InvocationOpen, priceOf: PriceOf): Bound | null {
  if (caps === undefined || modality === "tool") return null;
  const bounds: Bound[] = [];
  const price = priceOf(provider);
  const affordable = caps.costMicros === undefined || !price ? undefined : caps.costMicros / price;
  if (modality === "llm") {
    if (caps.tokens !== undefined) bounds.push({ unit: "tokens", max: caps.tokens * CHARS_PER_TOKEN });
    if (affordable !== undefined) bounds.push({ unit: "cost", max: affordable * PRICE_UNIT * CHARS_PER_TOKEN });
  } else if (modality === "tts") {
    if (caps.ttsCharacters !== undefined) bounds.push({ unit: "tts_characters", max: caps.ttsCharacters });
    if (affordable !== undefined) bounds.push({ unit: "cost", max: affordable * PRICE_UNIT });
  } else {
    if (caps.audioMs !== undefined) bounds.push({ unit: "audio_seconds", max: caps.audioMs });
    if (affordable !== undefined) bounds.push({ unit: "cost", max: affordable * MS_PER_MINUTE });
  }
  return bounds.sort((a, b) => a.max - b.max)[0] ?? null;
}

class CappedInvocation implements Invocation {
  readonly #request: InvocationOpen;
  readonly #sink: InvocationSink;
  readonly #bound: Bound;
  #inner: Invocation | undefined;
  #used = 0;
  #asked = 0;
  #met = false;
  #done = false;

  constructor(request: InvocationOpen, sink: InvocationSink, bound: Bound) {
    this.#request = request;
    this.#sink = sink;
    this.#bound = bound;
  }

  start(open: (request: InvocationOpen, sink: InvocationSink) => Invocation): void {
    this.#inner = open(this.#request, {
      chunk: (chunk) => this.#chunk(chunk),
      outcome: (outcome) => this.#outcome(outcome),
    });
  }

  push(input: InvocationInput): void {
    if (this.#done) return;
    if (input.kind === "text") return this.#pushText(input.text, input.segment);
    if (input.kind === "audio") {
      this.#used += input.durationUs / 1_000;
      if (this.#used <= this.#bound.max) return this.#inner?.push(input);
      return this.#meet();
    }
    for (const { text } of input.messages) this.#asked += text.length;
    this.#used += this.#asked;
    // Nothing could be answered within it: asking would cost all the same.
    if (this.#used >= this.#bound.max) return this.#refuse();
    this.#inner?.push(input);
  }

  finish(): void {
    if (!this.#done) this.#inner?.finish();
  }

  cancel(reason: string): void {
    this.#inner?.cancel(reason);
  }

  /** A clause, or as many of its words as fit; what comes after it is left out. */
  #pushText(text: string, segment: number): void {
    if (this.#met) return;
    const left = Math.floor(this.#bound.max - this.#used);
    if (text.length <= left) {
      this.#used += text.length;
      this.#inner?.push({ kind: "text", text, segment });
      return;
    }
    this.#meet();
    if (this.#done) return;
    const fits = text.slice(0, left).replace(/\S*$/, "").trimEnd();
    this.#used += fits.length;
    if (fits !== "") this.#inner?.push({ kind: "text", text: fits, segment });
  }

  #chunk(chunk: InvocationChunk): void {
    if (this.#done) return;
    const answer = this.#request.modality === "llm" && chunk.kind === "text";
    if (!answer) return this.#sink.chunk(chunk);
    const left = Math.floor(this.#bound.max - this.#used);
    this.#used += chunk.text.length;
    if (chunk.text.length <= left) return this.#sink.chunk(chunk);
    this.#met = true;
    if (this.#request.caps?.onExceeded === "refuse") return this.#refuse();
    if (left > 0) this.#sink.chunk({ ...chunk, text: chunk.text.slice(0, left) });
    const inputTokens = Math.ceil(this.#asked / CHARS_PER_TOKEN);
    const outputTokens = Math.ceil((this.#bound.max - this.#asked) / CHARS_PER_TOKEN);
    this.#end({ kind: "success", detail: this.#detail(), usage: { inputTokens, outputTokens } });
  }

  #outcome(outcome: InvocationOutcome): void {
    if (this.#done) return;
    this.#done = true;
    this.#sink.outcome(this.#met && outcome.kind === "success" ? { ...outcome, detail: this.#detail() } : outcome);
  }

  #meet(): void {
    if (this.#met) return;
    this.#met = true;
    if (this.#request.caps?.onExceeded === "refuse") this.#refuse();
  }

  #refuse(): void {
    this.#met = true;
    this.#end({ kind: "error", detail: this.#detail() });
  }

  #end(outcome: InvocationOutcome): void {
    if (this.#done) return;
    this.#done = true;
    this.#inner?.cancel("cap reached");
    this.#sink.outcome(outcome);
  }

  #detail(): string {
    return `${CAP_REACHED}${this.#bound.unit}`;
  }
}
