/** An instance tells the registry of itself, so that routes lead to it (F-159); it goes on telling for as long as it lives. */
import type { ProviderHealth } from "@rspp/gen/rspp/provider/v1/provider_pb";
import { InstanceService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { RpcConnection } from "@rspp/rpc/clients";
import { describeFailure, type Log } from "@rspp/rpc/log";

/** As `InstanceStatus` of the contracts. */
export interface InstanceReport {
  readonly instanceId: string;
  /** e.g. `transport-websocket`. */
  readonly role: string;
  /** Where peers reach it; none for adapters. */
  readonly address?: string;
  readonly region: string;
  readonly build: string;
  readonly capacitySessions: number;
  readonly sessions: number;
  readonly draining: boolean;
  readonly ready: boolean;
  readonly endpoints: readonly { readonly transport: string; readonly url: string; readonly region: string }[];
  /** Of a gateway: how its providers are (F-060). */
  readonly providerHealth?: readonly ProviderHealth[];
}

export interface ReporterOptions {
  readonly registry: RpcConnection;
  readonly log: Log;
  /** What is true now; asked for before each report. */
  report(): InstanceReport;
}

export interface Reporter {
  /** The registry has taken a report; false when it had not after `withinMs`, default: however long it takes. */
  first(withinMs?: number): Promise<boolean>;
  /** Tells at once, e.g. that it drains. */
  now(): void;
  /** Tells one last time, waits a moment for the answer, and ends. */
  stop(): Promise<void>;
}

const everyMsMax = 5_000;
const againFirstMs = 100;
const againMaxMs = 5_000;
/** No answer to a report for this long: the stream is given up and opened again. */
const answerMs = 10_000;
const lastMs = 1_000;

export function startReporter(options: ReporterOptions): Reporter {
  return new InstanceReporter(options);
}

class InstanceReporter implements Reporter {
  readonly #options: ReporterOptions;
  #everyMs = 1_000;
  #stopping = false;
  #away = false;
  /** Asked to tell at once, and not told since. */
  #hurry = false;
  #wake: () => void = () => undefined;
  #taken: () => void = () => undefined;
  readonly #firstTaken: Promise<boolean>;
  readonly #ended: Promise<void>;
  readonly #end = new AbortController();

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#firstTaken = new Promise((resolve) => {
      this.#taken = () => resolve(true);
    });
    this.#ended = this.#run();
  }

  first(withinMs?: number): Promise<boolean> {
    return withinMs === undefined ? this.#firstTaken : within(this.#firstTaken, withinMs);
  }

  now(): void {
    this.#hurry = true;
    this.#wake();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#wake();
    await within(
      this.#ended.then(() => true),
      lastMs,
    );
    this.#end.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#stopping; failures++) {
      const before = performance.now();
      await this.#tell().catch((failure: unknown) => this.#failed(failure));
      if (this.#stopping) return;
      if (performance.now() - before > answerMs) failures = 0;
      const againMs = Math.min(againMaxMs, againFirstMs * 2 ** Math.min(failures, 10));
      // Spread, so that a registry that comes back is not met by all at once.
      await this.#pause(againMs * (0.5 + Math.random() / 2));
    }
  }

  #failed(failure: unknown): void {
    if (this.#away || this.#end.signal.aborted) return;
    this.#away = true;
    this.#options.log.warn(describeFailure(failure), "registry does not take reports");
  }

  /** One stream: a report, its answer, a pause, the next report. */
  async #tell(): Promise<void> {
    const { registry, log, report } = this.#options;
    const { signal } = this.#end;
    const lost = new AbortController();
    let answer: (well: boolean) => void = () => undefined;
    const reports = async function* (this: InstanceReporter) {
      for (let last = false; !last; ) {
        last = this.#stopping;
        const answered = new Promise<boolean>((resolve) => {
          answer = resolve;
        });
        this.#hurry = false;
        const { endpoints, providerHealth = [], ...status } = report();
        yield { status: { ...status, endpoints: [...endpoints] }, providerHealth: [...providerHealth] };
        if (!(await within(answered, answerMs))) return lost.abort();
        if (!last && !this.#stopping && !this.#hurry) await this.#pause(this.#everyMs);
      }
    }.call(this);
    const call = { signal: AbortSignal.any([signal, lost.signal]) };
    try {
      for await (const { reportEveryMs } of registry.client(InstanceService).reportInstance(reports, call)) {
        if (reportEveryMs > 0) this.#everyMs = Math.min(reportEveryMs, everyMsMax);
        if (this.#away) log.info({}, "registry takes reports again");
        this.#away = false;
        this.#taken();
        answer(true);
      }
    } finally {
      answer(false);
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** False when it was not within that time. */
function within(done: Promise<boolean>, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), ms);
    const finish = (well: boolean): void => {
      clearTimeout(timer);
      resolve(well);
    };
    done.then(finish, () => finish(false));
  });
}
