import type { Clock } from "@rspp/ports/clock";
import type {
  Invocation,
  InvocationChunk,
  InvocationInput,
  InvocationOpen,
  InvocationSink,
  OutcomeKind,
  ProviderPort,
} from "@rspp/ports/provider";
import type { MetricRegistry } from "@rspp/telemetry/metric-registry";
import { endedInvocation, type ManagedProvider } from "./attempt.ts";
import { AuthorityTable } from "./authority-table.ts";
import { BatchCollector } from "./batch/collector.ts";
import { type MeasureCall, measureCalls } from "./calls.ts";
import { openCapped, type PriceOf } from "./caps.ts";
import { measureBatches, measureCircuits } from "./metrics.ts";
import { Admission } from "./resilience/admission.ts";
import { type CircuitReport, Circuits } from "./resilience/circuits.ts";
import { openWatched } from "./resilience/detect.ts";
import { CostMeter, type UsageTotals } from "./resilience/meter.ts";
import { capPrice, capsUnder, pricesOf, type TermsOf } from "./resilience/terms.ts";

export interface GatewayCounters {
  opened: number;
  outcomes: Record<OutcomeKind, number>;
  /** Chunks a provider sent after its outcome; refused. */
  chunksAfterTerminal: number;
  /** Second outcomes; refused. */
  outcomesAfterTerminal: number;
  refusedStaleEpoch: number;
  refusedStaleFence: number;
  /** Invocations refused because of an unknown, unavailable or unfit provider. */
  refusedProvider: number;
  /** Exceptions thrown by a provider; each became the outcome `error`. */
  threw: number;
}

export interface ProviderGateway extends ProviderPort {
  /** Starts what is slow to start (the speech thread). Resolves when ready; never rejects. */
  warm(): Promise<void>;
  counters(): Readonly<GatewayCounters>;
  /** Circuits that are open or being tried. */
  circuits(): readonly CircuitReport[];
  /** What a tenant has used of a provider since this process began. */
  usage(tenantId: string, provider: string): Readonly<UsageTotals>;
}

export interface GatewayOptions {
  clock: Clock;
  providers: readonly ManagedProvider[];
  /** Sessions whose highest epoch is remembered; the one unused longest is forgotten. Default 10000. */
  sessionsMax?: number;
  /** What a provider costs, for caps on cost (F-058); default nothing is known. */
  priceOf?: PriceOf;
  /** What is configured of providers (F-102); default nothing. */
  terms?: TermsOf;
  /** False: nobody is refused because others failed, and stalls, silence and blanks are the caller's to find. Default true. */
  guards?: boolean;
  /** Of the jitter with which circuits are tried again. Default "rspp". */
  seed?: string;
  /** Where it measures. Default nowhere. */
  metrics?: MetricRegistry;
}

/**
 * The provider gateway as a library (F-055, F-160). Enforces what providers promise: one outcome, nothing after it,
 * `cancelled` at once, no exception; and refuses a session's lower epoch or a turn's lower generation (`kernel.md` §7).
 * Throws TypeError when two providers share a name.
 */
export function createProviderGateway(options: GatewayOptions): ProviderGateway {
  return new Gateway(options);
}

class Gateway implements ProviderGateway {
  readonly #clock: Clock;
  readonly #byName = new Map<string, ManagedProvider>();
  readonly #collectors = new Map<string, BatchCollector>();
  readonly #authority: AuthorityTable;
  readonly #priceOf: PriceOf;
  readonly #terms: TermsOf;
  readonly #guards: boolean;
  readonly #circuits: Circuits;
  readonly #admission: Admission;
  readonly #meter: CostMeter;
  readonly #measure: MeasureCall;
  readonly #open = new Set<GuardedInvocation>();
  readonly #counters: GatewayCounters = {
    opened: 0,
    outcomes: {
      success: 0,
      timeout: 0,
      overload: 0,
      unauthorized: 0,
      disconnect: 0,
      safety_block: 0,
      empty: 0,
      cancelled: 0,
      error: 0,
    },
    chunksAfterTerminal: 0,
    outcomesAfterTerminal: 0,
    refusedStaleEpoch: 0,
    refusedStaleFence: 0,
    refusedProvider: 0,
    threw: 0,
  };
  #closed = false;

  constructor(options: GatewayOptions) {
    this.#clock = options.clock;
    this.#priceOf = options.priceOf ?? (() => undefined);
    this.#terms = options.terms ?? (() => []);
    this.#guards = options.guards ?? true;
    this.#circuits = new Circuits(options.clock, options.seed ?? "rspp", measureCircuits(options.metrics));
    this.#admission = new Admission(options.clock);
    this.#meter = new CostMeter(options.metrics);
    this.#authority = new AuthorityTable(options.sessionsMax ?? 10_000);
    for (const provider of options.providers) {
      if (this.#byName.has(provider.name)) throw new TypeError(`two providers are named ${provider.name}`);
      this.#byName.set(provider.name, provider);
    }
    this.#measure = measureCalls(options.clock, (name) => this.#byName.has(name), options.metrics);
    const watch = { ...measureBatches(options.metrics), threw: () => void this.#counters.threw++ };
    for (const { name, batch } of options.providers)
      if (batch !== undefined) this.#collectors.set(name, new BatchCollector(this.#clock, name, batch, watch));
  }

  open(request: InvocationOpen, sink: InvocationSink): Invocation {
    return this.#measure(request, sink, (measured) => this.#guarded(request, measured));
  }

  #guarded(request: InvocationOpen, sink: InvocationSink): Invocation {
    this.#counters.opened++;
    const provider = this.#byName.get(request.provider);
    const problem = this.#unfit(request, provider) ?? this.#stale(request);
    if (problem !== undefined || provider === undefined) {
      this.#counters.outcomes.error++;
      return endedInvocation(this.#clock, sink, "error", problem ?? "unknown provider");
    }
    const guarded = new GuardedInvocation(sink, this.#counters, (ended) => this.#open.delete(ended));
    this.#open.add(guarded);
    guarded.start(() => this.#through(request, guarded.sink, provider));
    return guarded;
  }

  /** Limits, then the circuit, then what it costs, then what is watched of the provider itself. */
  #through(request: InvocationOpen, sink: InvocationSink, provider: ManagedProvider): Invocation {
    const terms = this.#terms(provider.name, request.tenantId ?? "");
    const prices = pricesOf(terms);
    const flat = this.#priceOf(provider.name);
    const capped = { ...request };
    const caps = capsUnder(terms, request.caps);
    if (caps !== undefined) capped.caps = caps;
    const perUnit = (prices === undefined ? undefined : capPrice(prices, request.modality)) ?? flat;
    const way = this.#collectors.get(provider.name) ?? provider;
    const watched = (asked: InvocationOpen, to: InvocationSink): Invocation =>
      this.#guards
        ? openWatched(this.#clock, asked, to, (answers) => way.open(asked, wellFormed(answers, sink)))
        : way.open(asked, wellFormed(to, sink));
    const within = (to: InvocationSink): Invocation => openCapped(capped, to, () => perUnit, watched);
    const metered = (to: InvocationSink): Invocation => this.#meter.open(request, to, prices ?? flat, within);
    const through = (to: InvocationSink): Invocation =>
      this.#guards ? this.#circuits.open(request, to, metered) : metered(to);
    return this.#admission.open(request, sink, terms, through);
  }

  providers(): readonly string[] {
    return [...this.#byName.values()].filter((p) => p.available?.() ?? true).map((p) => p.name);
  }

  async warm(): Promise<void> {
    await Promise.all([...this.#byName.values()].map((provider) => provider.warm?.()));
  }

  counters(): Readonly<GatewayCounters> {
    return { ...this.#counters, outcomes: { ...this.#counters.outcomes } };
  }

  circuits(): readonly CircuitReport[] {
    return this.#circuits.report();
  }

  usage(tenantId: string, provider: string): Readonly<UsageTotals> {
    return this.#meter.totals(tenantId, provider);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const invocation of [...this.#open]) invocation.cancel("gateway closed");
    await Promise.all([...this.#byName.values()].map((provider) => provider.close?.()));
  }

  #unfit(request: InvocationOpen, provider: ManagedProvider | undefined): string | undefined {
    let problem: string | undefined;
    if (this.#closed) problem = "the provider gateway is closed";
    else if (provider === undefined) problem = `unknown provider; known: ${[...this.#byName.keys()].join(", ")}`;
    else if (provider.modality !== request.modality) {
      problem = `${provider.name} serves ${provider.modality}, asked for ${request.modality}`;
    } else if (this.#terms(provider.name, request.tenantId ?? "").some(({ enabled }) => enabled === false)) {
      problem = `${provider.name} is disabled by its provider_config`;
    }
    if (problem) this.#counters.refusedProvider++;
    return problem;
  }

  #stale(request: InvocationOpen): string | undefined {
    const verdict = this.#authority.admit(request);
    if (verdict === "stale_epoch") {
      this.#counters.refusedStaleEpoch++;
      return "stale_epoch: a higher authority epoch has been seen for this session";
    }
    if (verdict === "stale_fence") {
      this.#counters.refusedStaleFence++;
      return "stale_fence: a higher generation has been seen for this turn";
    }
    return undefined;
  }
}

/** What is no chunk at all goes past those that look into chunks: who asked refuses and counts it. */
function wellFormed(to: InvocationSink, past: InvocationSink): InvocationSink {
  return {
    chunk: (chunk) => (isChunk(chunk) ? to : past).chunk(chunk),
    outcome: (outcome) => to.outcome(outcome),
  };
}

function isChunk(chunk: InvocationChunk | null | undefined): boolean {
  if (typeof chunk !== "object" || chunk === null) return false;
  if (chunk.kind === "text") return typeof chunk.text === "string";
  if (chunk.kind === "tool_call") return true;
  return chunk.kind === "audio" && chunk.bytes instanceof Uint8Array && typeof chunk.format === "object";
}

/** Keeps a provider to its promises. */
class GuardedInvocation implements Invocation {
  readonly sink: InvocationSink;
  readonly #counters: GatewayCounters;
  readonly #onEnd: (self: GuardedInvocation) => void;
  #inner: Invocation | undefined;
  #done = false;
  #finished = false;
  #cancelAsked = false;

  constructor(sink: InvocationSink, counters: GatewayCounters, onEnd: (self: GuardedInvocation) => void) {
    this.#counters = counters;
    this.#onEnd = onEnd;
    this.sink = {
      chunk: (chunk) => {
        if (this.#done) counters.chunksAfterTerminal++;
        else sink.chunk(chunk);
      },
      outcome: (outcome) => {
        if (this.#done) {
          counters.outcomesAfterTerminal++;
          return;
        }
        this.#done = true;
        counters.outcomes[outcome.kind]++;
        this.#onEnd(this);
        sink.outcome(outcome);
      },
    };
  }

  start(open: () => Invocation): void {
    this.#guard(() => {
      this.#inner = open();
    });
  }

  push(input: InvocationInput): void {
    if (this.#done || this.#finished) return;
    this.#guard(() => this.#inner?.push(input));
  }

  finish(): void {
    if (this.#done || this.#finished) return;
    this.#finished = true;
    this.#guard(() => this.#inner?.finish());
  }

  cancel(reason: string): void {
    if (this.#done) return;
    this.#cancelInner(reason);
    // A provider slow to stop does not delay the caller; what it still sends is refused and counted.
    if (!this.#done) this.sink.outcome({ kind: "cancelled", detail: "cancelled before the provider answered" });
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch {
      this.#counters.threw++;
      const detail = "the provider threw an exception";
      if (!this.#done) this.sink.outcome({ kind: "error", detail });
      // Nobody listens any more, so it must not go on and hold processes, sockets or timers.
      this.#cancelInner(detail);
    }
  }

  /** Once at most: a cancel that throws is not asked again. */
  #cancelInner(reason: string): void {
    if (this.#cancelAsked) return;
    this.#cancelAsked = true;
    this.#guard(() => this.#inner?.cancel(reason));
  }
}
