/** A vendor's provider whose code is imported when it is first needed, and only where the vendor is configured. */
import type { Clock } from "@rspp/ports/clock";
import type { Invocation, InvocationInput, InvocationOpen, InvocationSink, SettingValue } from "@rspp/ports/provider";
import { Attempt, endedInvocation, type ManagedProvider } from "../attempt.ts";
import type { VendorAccess, VendorEntry } from "./vendor.ts";

/** Of what comes in while the code is imported: ten seconds of speech at 16 kHz, and some. */
export const lazyLimits = { INPUTS_MAX: 1_024, BYTES_MAX: 512 * 1_024, LOAD_MS_MAX: 10_000 } as const;

/** What is configured of a vendor now. */
export interface VendorSetup {
  /** Whether it may be opened at all. */
  configured(): boolean;
  readonly baseUrl: string;
  key(): string | undefined;
  /** References of the key that a pipeline may name in its setting `api_key`. */
  readonly references: readonly string[];
  readonly options: Readonly<Record<string, string>>;
  /** What is asked for where a pipeline names no model; undefined: the adapter's own. */
  readonly model: string | undefined;
}

export class LazyProvider implements ManagedProvider {
  readonly name: string;
  readonly modality: ManagedProvider["modality"];
  readonly #entry: VendorEntry;
  readonly #clock: Clock;
  readonly #setup: VendorSetup;
  #loading: Promise<ManagedProvider> | undefined;
  #loaded: ManagedProvider | undefined;

  constructor(entry: VendorEntry, clock: Clock, setup: VendorSetup) {
    this.name = entry.name;
    this.modality = entry.modality;
    this.#entry = entry;
    this.#clock = clock;
    this.#setup = setup;
  }

  available(): boolean {
    return this.#setup.configured();
  }

  async warm(): Promise<void> {
    if (!this.available()) return;
    await this.#load()
      .then((provider) => provider.warm?.())
      .catch(() => undefined);
  }

  async close(): Promise<void> {
    const provider = this.#loaded ?? (await this.#loading?.catch(() => undefined));
    await provider?.close?.();
  }

  open(request: InvocationOpen, sink: InvocationSink): Invocation {
    const { keyVariable, baseUrlVariable, keyOptional } = this.#entry;
    const refuse = (kind: "error" | "unauthorized", detail: string) => endedInvocation(this.#clock, sink, kind, detail);
    if (!this.available()) {
      const either = keyOptional ? ` or ${baseUrlVariable}` : "";
      return refuse("error", `${this.name} is not configured; set ${keyVariable}${either}`);
    }
    const { api_key, model } = request.settings;
    // Pipelines come from tenants: they choose no other secret of this process (NF-011).
    if (api_key !== undefined && !this.#setup.references.includes(String(api_key)))
      return refuse("unauthorized", "setting `api_key` names another secret than the gateway's own; leave it out");
    if (!keyOptional && this.#setup.key() === undefined)
      return refuse("unauthorized", `no key is found for ${this.name}; see what ${keyVariable} or its reference names`);
    const asked = model === undefined ? withModel(request, this.#setup.model) : request;
    if (this.#loaded !== undefined) return this.#loaded.open(asked, sink);
    return new WaitingInvocation(this.#clock, this.#load(), asked, sink);
  }

  #load(): Promise<ManagedProvider> {
    this.#loading ??= this.#entry.load().then(
      (create) => {
        this.#loaded = create(accessOf(this.#clock, this.#setup));
        return this.#loaded;
      },
      (failure: unknown) => {
        this.#loading = undefined;
        throw failure;
      },
    );
    return this.#loading;
  }
}

function withModel(request: InvocationOpen, model: SettingValue | undefined): InvocationOpen {
  return model === undefined ? request : { ...request, settings: { ...request.settings, model } };
}

function accessOf(clock: Clock, setup: VendorSetup): VendorAccess {
  return {
    clock,
    get baseUrl() {
      return setup.baseUrl;
    },
    get options() {
      return setup.options;
    },
    key: () => setup.key(),
  };
}

/** Keeps what comes in until the code is there; cancelled or too full, it never opens. */
class WaitingInvocation implements Invocation {
  readonly #attempt: Attempt;
  readonly #sink: InvocationSink;
  readonly #inputs: InvocationInput[] = [];
  #bytes = 0;
  #finished = false;
  #inner: Invocation | undefined;

  constructor(clock: Clock, loading: Promise<ManagedProvider>, request: InvocationOpen, sink: InvocationSink) {
    this.#sink = sink;
    this.#attempt = new Attempt(sink);
    const release = clock.hold();
    const guard = setTimeout(() => {
      this.#attempt.end("timeout", "the vendor's code took too long to load");
    }, lazyLimits.LOAD_MS_MAX);
    const settled = (): void => {
      clearTimeout(guard);
      release();
    };
    this.#attempt.onEnd(settled);
    loading.then(
      (provider) => {
        settled();
        this.#begin(provider, request);
      },
      () => this.#attempt.end("error", "the vendor's code cannot be loaded; see that its package is installed"),
    );
  }

  push(input: InvocationInput): void {
    if (this.#inner !== undefined) return this.#inner.push(input);
    if (this.#attempt.done) return;
    this.#bytes += input.kind === "audio" ? input.bytes.length : 0;
    if (this.#inputs.length >= lazyLimits.INPUTS_MAX || this.#bytes > lazyLimits.BYTES_MAX) {
      this.#inputs.length = 0;
      this.#attempt.end("overload", "too much came in before the vendor's code was loaded");
    } else this.#inputs.push(input);
  }

  finish(): void {
    if (this.#inner !== undefined) this.#inner.finish();
    else this.#finished = true;
  }

  cancel(reason: string): void {
    if (this.#inner !== undefined) return this.#inner.cancel(reason);
    this.#inputs.length = 0;
    this.#attempt.end("cancelled", "cancelled");
  }

  #begin(provider: ManagedProvider, request: InvocationOpen): void {
    if (this.#attempt.done) return;
    try {
      const inner = provider.open(request, this.#sink);
      this.#inner = inner;
      for (const input of this.#inputs.splice(0)) inner.push(input);
      if (this.#finished) inner.finish();
    } catch {
      // As where the gateway calls it itself: an exception is an outcome, and what it held is let go.
      this.#attempt.end("error", "the provider threw an exception");
      this.#inner?.cancel("the provider threw an exception");
    }
  }
}
