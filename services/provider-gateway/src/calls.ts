/** What a gateway measures of each call, the same for every provider: latency, outcomes with their codes, sizes (F-065). */
import type { Clock } from "@rspp/ports/clock";
import type {
  Invocation,
  InvocationChunk,
  InvocationInput,
  InvocationOpen,
  InvocationOutcome,
  InvocationSink,
  Modality,
} from "@rspp/ports/provider";
import { MetricRegistry } from "@rspp/telemetry/metric-registry";

const labels = ["provider", "modality"] as const;

function instruments(registry: MetricRegistry) {
  return {
    calls: registry.counter({
      name: "rspp_gateway_calls_total",
      help: "Calls by outcome and code: the vendor's HTTP status, or a word for what was wrong.",
      unit: "{call}",
      labels: [...labels, "outcome", "code"],
    }),
    firstOutput: registry.histogram({
      name: "rspp_gateway_first_output_seconds",
      help: "Call opened until its first output; of recognisers: end of their input until the output that follows.",
      unit: "s",
      labels,
    }),
    took: registry.histogram({
      name: "rspp_gateway_call_seconds",
      help: "Call opened until its outcome.",
      unit: "s",
      labels,
    }),
    passed: registry.counter({
      name: "rspp_gateway_passed_total",
      help: "What passed, counted here and so the same for all: milliseconds of audio, characters, chunks of output.",
      unit: "{unit}",
      labels: [...labels, "unit"],
    }),
  };
}

type Unit = "input_audio_ms" | "output_audio_ms" | "input_characters" | "output_characters" | "chunks";

/** A code that stays one of few: never more of a detail than its class. */
export function codeOf({ kind, detail }: Pick<InvocationOutcome, "kind" | "detail">): string {
  const status = /\bHTTP ([1-5]\d\d)\b/.exec(detail)?.[1];
  if (status !== undefined) return status;
  const word = /^(rate_limited|quota|stalled|malformed|cap_reached|stale_epoch|stale_fence)\b/.exec(detail)?.[1];
  return word ?? (kind === "success" ? "ok" : "");
}

export type MeasureCall = (
  request: InvocationOpen,
  sink: InvocationSink,
  open: (sink: InvocationSink) => Invocation,
) => Invocation;

/**
 * @param known names that may be labels; another name is counted as `unknown`, since callers choose it.
 * @param registry default one that nobody reads.
 */
export function measureCalls(
  clock: Clock,
  known: (provider: string) => boolean,
  registry: MetricRegistry = new MetricRegistry(),
): MeasureCall {
  const of = instruments(registry);
  return (request, sink, open) => {
    const call = new MeasuredCall(
      of,
      clock,
      sink,
      known(request.provider) ? request.provider : "unknown",
      request.modality,
    );
    return call.start(open);
  };
}

class MeasuredCall implements Invocation, InvocationSink {
  readonly #of: ReturnType<typeof instruments>;
  readonly #clock: Clock;
  readonly #sink: InvocationSink;
  readonly #labels: readonly [string, Modality];
  readonly #openedNs: number;
  readonly #passed = new Map<Unit, number>();
  /** Since when output is waited for; 0: it came, or is not waited for yet. */
  #waitingNs: number;
  #inner: Invocation | undefined;

  constructor(
    of: ReturnType<typeof instruments>,
    clock: Clock,
    sink: InvocationSink,
    provider: string,
    modality: Modality,
  ) {
    this.#of = of;
    this.#clock = clock;
    this.#sink = sink;
    this.#labels = [provider, modality];
    this.#openedNs = clock.nowNs();
    // Speech is recognised as it is spoken: only what follows its end is a wait.
    this.#waitingNs = modality === "stt" ? 0 : this.#openedNs;
  }

  start(open: (sink: InvocationSink) => Invocation): Invocation {
    this.#inner = open(this);
    return this;
  }

  push(input: InvocationInput): void {
    if (input.kind === "audio") this.#add("input_audio_ms", input.durationUs / 1_000);
    else if (input.kind === "text") this.#add("input_characters", input.text.length);
    else for (const { text } of input.messages) this.#add("input_characters", text.length);
    this.#inner?.push(input);
  }

  finish(): void {
    if (this.#labels[1] === "stt") this.#waitingNs = this.#clock.nowNs();
    this.#inner?.finish();
  }

  cancel(reason: string): void {
    this.#inner?.cancel(reason);
  }

  chunk(chunk: InvocationChunk): void {
    if (this.#waitingNs !== 0) {
      this.#of.firstOutput.with(...this.#labels).record(this.#clock.nowNs() - this.#waitingNs);
      this.#waitingNs = 0;
    }
    this.#add("chunks", 1);
    const { audioMs, characters } = sizeOf(chunk, this.#labels[1] === "stt");
    this.#add("output_audio_ms", audioMs);
    this.#add("output_characters", characters);
    this.#sink.chunk(chunk);
  }

  outcome(outcome: InvocationOutcome): void {
    this.#of.calls.with(...this.#labels, outcome.kind, codeOf(outcome)).add();
    this.#of.took.with(...this.#labels).record(this.#clock.nowNs() - this.#openedNs);
    for (const [unit, amount] of this.#passed)
      if (amount > 0) this.#of.passed.with(...this.#labels, unit).add(Math.round(amount));
    this.#passed.clear();
    this.#sink.outcome(outcome);
  }

  #add(unit: Unit, amount: number): void {
    this.#passed.set(unit, (this.#passed.get(unit) ?? 0) + amount);
  }
}

/** A provider may say anything, and is refused further on: here only what can be counted is. */
function sizeOf(chunk: unknown, finalsOnly: boolean): { audioMs: number; characters: number } {
  const { kind, durationUs, text, final }: Record<string, unknown> = { ...(chunk as object | null) };
  const audioMs = kind === "audio" && Number.isFinite(durationUs) ? Number(durationUs) / 1_000 : 0;
  const counts = kind === "text" && typeof text === "string" && (final === true || !finalsOnly);
  return { audioMs, characters: counts ? text.length : 0 };
}
