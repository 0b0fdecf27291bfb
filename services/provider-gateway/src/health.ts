/** How providers are, from their own outcomes: what the gateway saw in the last minute, never a probe. */
import { create } from "@bufbuild/protobuf";
import { monoPlusNs, msToNs, nsToMs } from "@rspp/base/brand";
import { CircuitState, type ProviderHealth, ProviderHealthSchema } from "@rspp/gen/rspp/provider/v1/provider_pb";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { Invocation, InvocationOpen, InvocationSink, OutcomeKind, ProviderPort } from "@rspp/ports/provider";
import type { ProviderHealthView } from "@rspp/remote/invocation-server";

export const healthLimits = {
  WINDOW_MS: 60_000,
  SAMPLES_MAX: 256,
  /** Below so many outcomes a share says nothing. */
  SAMPLES_MIN: 5,
  DEGRADED_PERMILLE: 100,
  DOWN_PERMILLE: 500,
  /** So many failures without a success between them are `down` whatever the share. */
  FAILURES_IN_A_ROW: 5,
  TELL_EVERY_MS: 1_000,
} as const;

export type ProviderState = "serving" | "degraded" | "down";

export interface ProviderReport {
  readonly provider: string;
  readonly state: ProviderState;
  /** In the window. */
  readonly outcomes: number;
  readonly failures: number;
  readonly inFlight: number;
  readonly p95FirstOutputMs: number;
}

interface Sample {
  readonly atMs: number;
  readonly failed: boolean;
  readonly firstOutputMs: number | null;
}

/** What a provider is to blame for; content that was refused and a caller that stopped are not. */
const failures: ReadonlySet<OutcomeKind> = new Set(["timeout", "overload", "unauthorized", "disconnect", "error"]);
const circuits = { serving: CircuitState.CLOSED, degraded: CircuitState.HALF_OPEN, down: CircuitState.OPEN } as const;

class History {
  readonly samples: Sample[] = [];
  inFlight = 0;
  inARow = 0;
  version = 1;
}

export interface GatewayHealth extends ProviderHealthView {
  /** The gateway, watched. */
  readonly port: ProviderPort;
  report(): readonly ProviderReport[];
  close(): void;
}

/** Watches what goes through `port`. `names` are those that are known, available or not. */
export function watchHealth(port: ProviderPort, clock: Clock, names: readonly string[]): GatewayHealth {
  return new Watch(port, clock, names);
}

class Watch implements GatewayHealth {
  readonly port: ProviderPort;
  readonly #inner: ProviderPort;
  readonly #clock: Clock;
  readonly #records: ReadonlyMap<string, History>;
  readonly #watchers = new Set<(health: readonly ProviderHealth[]) => void>();
  readonly #changed = new Set<string>();
  #timer: TimerHandle | null = null;

  constructor(port: ProviderPort, clock: Clock, names: readonly string[]) {
    this.#inner = port;
    this.#clock = clock;
    this.#records = new Map(names.map((name) => [name, new History()]));
    this.port = {
      open: (request, sink) => this.#open(request, sink),
      providers: () => port.providers(),
      close: () => port.close(),
    };
  }

  report(): readonly ProviderReport[] {
    const available = new Set(this.#inner.providers());
    return [...this.#records].map(([provider, record]) => reportOf(provider, record, available, this.#nowMs()));
  }

  snapshot(): readonly ProviderHealth[] {
    return this.report().map((one) => this.#toWire(one));
  }

  watch(changed: (health: readonly ProviderHealth[]) => void): () => void {
    this.#watchers.add(changed);
    return () => void this.#watchers.delete(changed);
  }

  close(): void {
    this.#timer?.clear();
    this.#watchers.clear();
  }

  #open(request: InvocationOpen, sink: InvocationSink): Invocation {
    const record = this.#records.get(request.provider);
    // A name nobody knows is no provider's fault.
    if (record === undefined) return this.#inner.open(request, sink);
    const openedMs = this.#nowMs();
    // Speech is recognised as it is spoken: only what follows its end is a wait.
    let waitingSinceMs: number | null = request.modality === "stt" ? null : openedMs;
    let firstOutputMs: number | null = null;
    record.inFlight++;
    this.#touch(request.provider, record);
    const invocation = this.#inner.open(request, {
      chunk: (chunk) => {
        if (waitingSinceMs !== null && firstOutputMs === null) firstOutputMs = this.#nowMs() - waitingSinceMs;
        sink.chunk(chunk);
      },
      outcome: (outcome) => {
        record.inFlight--;
        const waitedMs = waitingSinceMs === null ? 0 : this.#nowMs() - waitingSinceMs;
        // A caller that gives up after its own patience has seen a timeout.
        const tooLate = outcome.kind === "cancelled" && firstOutputMs === null && waitedMs >= request.attemptTimeoutMs;
        const failed = failures.has(outcome.kind) || (tooLate && request.attemptTimeoutMs > 0);
        if (failed || outcome.kind !== "cancelled") this.#sample(record, failed, firstOutputMs);
        this.#touch(request.provider, record);
        sink.outcome(outcome);
      },
    });
    const started = (): void => {
      if (request.modality !== "stt" && firstOutputMs === null) waitingSinceMs = this.#nowMs();
    };
    return {
      push: (input) => {
        started();
        invocation.push(input);
      },
      finish: () => {
        if (request.modality === "stt") waitingSinceMs = this.#nowMs();
        invocation.finish();
      },
      cancel: (reason) => invocation.cancel(reason),
    };
  }

  #sample(record: History, failed: boolean, firstOutputMs: number | null): void {
    record.inARow = failed ? record.inARow + 1 : 0;
    record.samples.push({ atMs: this.#nowMs(), failed, firstOutputMs });
    if (record.samples.length > healthLimits.SAMPLES_MAX) record.samples.shift();
  }

  #touch(provider: string, record: History): void {
    record.version++;
    if (this.#watchers.size === 0) return;
    this.#changed.add(provider);
    if (this.#timer !== null) return;
    const at = monoPlusNs(this.#clock.nowNs(), msToNs(healthLimits.TELL_EVERY_MS));
    this.#timer = this.#clock.timerAt(at, () => {
      this.#timer = null;
      const news = this.snapshot().filter(({ provider: name }) => this.#changed.has(name));
      this.#changed.clear();
      for (const watcher of [...this.#watchers]) watcher(news);
    });
  }

  #toWire({ provider, state, outcomes, failures: failed, inFlight, p95FirstOutputMs }: ProviderReport): ProviderHealth {
    return create(ProviderHealthSchema, {
      provider,
      circuit: circuits[state],
      errorPermille: outcomes === 0 ? 0 : Math.round((failed * 1000) / outcomes),
      p95FirstOutputMs,
      inFlight,
      asOfWallMs: BigInt(this.#clock.wallMs()),
      version: String(this.#records.get(provider)?.version ?? 1),
    });
  }

  #nowMs(): number {
    return nsToMs(this.#clock.nowNs());
  }
}

function reportOf(provider: string, record: History, available: ReadonlySet<string>, nowMs: number): ProviderReport {
  const recent = record.samples.filter(({ atMs }) => nowMs - atMs <= healthLimits.WINDOW_MS);
  const failed = recent.filter((sample) => sample.failed).length;
  const firsts = recent.flatMap(({ firstOutputMs }) => (firstOutputMs === null ? [] : [firstOutputMs]));
  const p95 = firsts.sort((a, b) => a - b)[Math.floor(firsts.length * 0.95)] ?? 0;
  const permille = recent.length < healthLimits.SAMPLES_MIN ? 0 : (failed * 1000) / recent.length;
  const inARow = recent.length === 0 ? 0 : record.inARow;
  let state: ProviderState = permille >= healthLimits.DEGRADED_PERMILLE ? "degraded" : "serving";
  if (permille >= healthLimits.DOWN_PERMILLE || inARow >= healthLimits.FAILURES_IN_A_ROW) state = "down";
  if (!available.has(provider)) state = "down";
  const { inFlight } = record;
  return { provider, state, outcomes: recent.length, failures: failed, inFlight, p95FirstOutputMs: Math.round(p95) };
}
