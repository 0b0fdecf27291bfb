/** What providers were used for and what that cost (F-058, NF-017): counted per provider, whatever became of the call. */
import type { Invocation, InvocationInput, InvocationOpen, InvocationSink } from "@rspp/ports/provider";
import { type Counter, type MetricFamily, MetricRegistry } from "@rspp/telemetry/metric-registry";
import type { ProviderPrices } from "./terms.ts";

const CHARS_PER_TOKEN = 4;

export interface UsageTotals {
  calls: number;
  /** LLM: as the vendor says, else a quarter of the characters. */
  inputTokens: number;
  outputTokens: number;
  /** STT. */
  audioMs: number;
  /** TTS. */
  characters: number;
  /** Millionths of money, where the price is known. */
  costMicros: number;
}

/** Totals remembered by tenant and provider; the pair unused longest is forgotten. */
const PAIRS_MAX = 10_000;

export class CostMeter {
  readonly #totals = new Map<string, UsageTotals>();
  readonly #used: MetricFamily<Counter>;
  readonly #cost: MetricFamily<Counter>;

  /** @param registry default one that nobody reads. */
  constructor(registry: MetricRegistry = new MetricRegistry()) {
    this.#used = registry.counter({
      name: "rspp_provider_used_total",
      help: "What calls used, by provider: input_tokens, output_tokens, audio_ms or characters.",
      unit: "{unit}",
      labels: ["provider", "what"],
    });
    this.#cost = registry.counter({
      name: "rspp_provider_cost_micros_total",
      help: "What calls cost, in millionths of money, where the price of the provider is known.",
      unit: "{micro}",
      labels: ["provider"],
    });
  }

  /** Of one tenant and provider since this process began. */
  totals(tenantId: string, provider: string): Readonly<UsageTotals> {
    return { ...(this.#totals.get(`${tenantId}\n${provider}`) ?? none()) };
  }

  /** @param price by what was used; or one for 1000 tokens or characters, or a minute of audio; millionths of money. */
  open(
    request: InvocationOpen,
    sink: InvocationSink,
    price: ProviderPrices | number | undefined,
    open: (sink: InvocationSink) => Invocation,
  ): Invocation {
    const { modality } = request;
    if (modality === "tool") return open(sink);
    const used = none();
    let told = false;
    const tell = (): void => {
      if (told) return;
      told = true;
      used.calls = 1;
      used.costMicros = Math.round(costOf(used, price ?? 0));
      this.#note(request, used);
    };
    const inner = open({
      chunk(chunk) {
        // A provider may say anything, and is refused further on.
        const text: unknown = chunk?.kind === "text" ? chunk.text : null;
        if (modality === "llm" && typeof text === "string") used.outputTokens += text.length / CHARS_PER_TOKEN;
        sink.chunk(chunk);
      },
      outcome(outcome) {
        const { usage } = outcome;
        if (usage?.inputTokens !== undefined) used.inputTokens = usage.inputTokens;
        if (usage?.outputTokens !== undefined) used.outputTokens = usage.outputTokens;
        tell();
        sink.outcome(outcome);
      },
    });
    return {
      push(input) {
        count(used, modality, input);
        inner.push(input);
      },
      finish: () => inner.finish(),
      cancel(reason) {
        inner.cancel(reason);
        tell();
      },
    };
  }

  #note({ tenantId = "", provider }: InvocationOpen, used: UsageTotals): void {
    const key = `${tenantId}\n${provider}`;
    const totals = this.#totals.get(key) ?? none();
    this.#totals.delete(key);
    this.#totals.set(key, totals);
    if (this.#totals.size > PAIRS_MAX)
      for (const oldest of [...this.#totals.keys()].slice(0, 1)) this.#totals.delete(oldest);
    for (const what of ["calls", "inputTokens", "outputTokens", "audioMs", "characters", "costMicros"] as const)
      totals[what] += used[what];
    const names = { input_tokens: used.inputTokens, output_tokens: used.outputTokens } as const;
    for (const [what, amount] of Object.entries({ ...names, audio_ms: used.audioMs, characters: used.characters }))
      if (amount > 0) this.#used.with(provider, what).add(amount);
    if (used.costMicros > 0) this.#cost.with(provider).add(used.costMicros);
  }
}

function none(): UsageTotals {
  return { calls: 0, inputTokens: 0, outputTokens: 0, audioMs: 0, characters: 0, costMicros: 0 };
}

function costOf(used: UsageTotals, price: ProviderPrices | number): number {
  if (typeof price === "number") return price * unitsOf(used);
  return (
    (price.call_micros ?? 0) +
    ((price.input_kilotoken_micros ?? 0) * used.inputTokens) / 1_000 +
    ((price.output_kilotoken_micros ?? 0) * used.outputTokens) / 1_000 +
    ((price.tts_kilocharacter_micros ?? 0) * used.characters) / 1_000 +
    ((price.audio_minute_micros ?? 0) * used.audioMs) / 60_000
  );
}

function unitsOf({ inputTokens, outputTokens, audioMs, characters }: UsageTotals): number {
  return (inputTokens + outputTokens + characters) / 1_000 + audioMs / 60_000;
}

function count(used: UsageTotals, modality: InvocationOpen["modality"], input: InvocationInput): void {
  if (input.kind === "audio") used.audioMs += input.durationUs / 1_000;
  else if (input.kind === "text") {
    if (modality === "tts") used.characters += input.text.length;
  } else used.inputTokens += input.messages.reduce((sum, { text }) => sum + text.length, 0) / CHARS_PER_TOKEN;
}
