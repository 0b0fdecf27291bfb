/** What of the vendors is configured here: endpoints, keys by reference, models. One for a gateway, service or library. */
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { Clock } from "@rspp/ports/clock";
import { rpcError } from "@rspp/rpc/errors";
import { describeFailure } from "@rspp/rpc/log";
import { type SecretSource, secretSource } from "@rspp/store/secret";
import type { ManagedProvider } from "../attempt.ts";
import { vendorCatalogue } from "./catalogue.ts";
import { LazyProvider, type VendorSetup } from "./lazy-provider.ts";
import type { VendorEntry } from "./vendor.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** What a published document says of a provider (`rspp/provider-config/v1`); the operator's alone may be given. */
export interface VendorDocument {
  readonly enabled?: boolean;
  /** In place of the vendor's own and of this gateway's. */
  readonly endpoint?: string;
  /** What is asked for where a pipeline names no model. */
  readonly model?: string;
  /** Of these one alone counts here: the key's reference. An endpoint of a document is sent no key but its own. */
  readonly settings?: { readonly api_key?: unknown };
}

export interface VendorsOptions {
  /** The gateway's own configuration: `openai_api_key` (a reference), `openai_base_url` and those of the other vendors. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** Where the vendors' usual variables are looked up, and references of kind `env:`. */
  readonly env: Env;
  readonly log?: { warn(fields: object, message: string): void };
  readonly catalogue?: readonly VendorEntry[];
}

export interface Vendors {
  /** Every vendor's providers, configured or not. */
  providers(clock: Clock): ManagedProvider[];
  /** Takes what the operator published, by provider; what was said before and is no longer is forgotten. */
  configure(documents: Readonly<Record<string, VendorDocument>>): Promise<void>;
  /** Reads the keys again, so that a rotated one is met without a restart; one that cannot be read leaves the last. */
  refresh(): Promise<void>;
}

/**
 * Reads the keys that the configuration names.
 *
 * @throws StoreError `secret_missing` when one cannot be read, `invalid` when it is no reference.
 * @throws RpcError `config_invalid` when a base URL is none.
 */
export async function openVendors(options: VendorsOptions): Promise<Vendors> {
  const setups = (options.catalogue ?? vendorCatalogue).map((entry) => new Setup(entry, options));
  const made: LazyProvider[] = [];
  const keys = new Keys(options);
  for (const setup of setups) if (setup.reference !== "") await keys.need(setup.reference);
  for (const setup of setups) setup.keys = keys;
  return {
    providers: (clock) => {
      const providers = setups.map((setup) => new LazyProvider(setup.entry, clock, setup));
      made.push(...providers);
      return providers;
    },
    configure: async (documents) => {
      for (const setup of setups) setup.document = documents[setup.entry.name] ?? {};
      await keys.only(setups.map(({ reference }) => reference).filter((reference) => reference !== ""));
      // What is configured now is imported now, not in the middle of a call.
      await Promise.all(made.map((provider) => provider.warm()));
    },
    refresh: () => keys.refresh(),
  };
}

/** `openVendors` for a gateway inside another process: keys as of the service's configuration, `RSPP_OPENAI_API_KEY`. */
export function vendorsOf(env: Env): Promise<Vendors> {
  const ours = Object.entries(env).flatMap(([name, value]) =>
    name.startsWith("RSPP_") ? [[name.slice("RSPP_".length).toLowerCase(), value] as const] : [],
  );
  return openVendors({ values: Object.fromEntries(ours), env });
}

/** Keys by their reference. */
class Keys {
  readonly #env: Env;
  readonly #log: VendorsOptions["log"];
  readonly #found = new Map<string, { readonly source: SecretSource; value: string | undefined }>();

  constructor({ env, log }: VendorsOptions) {
    this.#env = env;
    this.#log = log;
  }

  get(reference: string): string | undefined {
    return this.#found.get(reference)?.value;
  }

  async need(reference: string): Promise<void> {
    if (this.#found.has(reference)) return;
    const source = secretSource(reference, this.#env);
    this.#found.set(reference, { source, value: (await source.read()).reveal() });
  }

  /** Those and no other; one that cannot be read is told, and looked for again. */
  async only(references: readonly string[]): Promise<void> {
    for (const known of [...this.#found.keys()]) if (!references.includes(known)) this.#found.delete(known);
    for (const reference of references) {
      if (this.#found.has(reference)) continue;
      try {
        this.#found.set(reference, { source: secretSource(reference, this.#env), value: undefined });
      } catch (failure) {
        this.#log?.warn(describeFailure(failure), "provider key cannot be read");
      }
    }
    await this.refresh();
  }

  async refresh(): Promise<void> {
    for (const [, one] of this.#found) {
      await one.source.read().then(
        (secret) => {
          one.value = secret.reveal();
        },
        (failure: unknown) => this.#log?.warn(describeFailure(failure), "provider key cannot be read"),
      );
    }
  }
}

/** Document before configuration before the vendor's usual variable. */
class Setup implements VendorSetup {
  readonly entry: VendorEntry;
  readonly options: Readonly<Record<string, string>>;
  readonly #ownUrl: string;
  readonly #ownReference: string;
  keys: Keys | undefined;
  document: VendorDocument = {};

  constructor(entry: VendorEntry, { values = {}, env }: VendorsOptions) {
    const { keyVariable, baseUrlVariable, options = {} } = entry;
    this.entry = entry;
    this.#ownUrl = checkedUrl(baseUrlVariable, text(values[baseUrlVariable.toLowerCase()]) || env[baseUrlVariable]);
    this.#ownReference = text(values[keyVariable.toLowerCase()]) || (env[keyVariable] ? `env:${keyVariable}` : "");
    const set = Object.entries(options).flatMap(([name, variable]) => {
      const value = env[variable];
      return value ? [[name, value] as const] : [];
    });
    this.options = Object.fromEntries(set);
  }

  get baseUrl(): string {
    const { endpoint } = this.document;
    return endpoint === undefined ? this.#ownUrl || this.entry.baseUrl : endpoint.replace(/\/+$/, "");
  }

  get reference(): string {
    const { endpoint, settings = {} } = this.document;
    if (typeof settings.api_key === "string") return settings.api_key;
    return endpoint === undefined ? this.#ownReference : "";
  }

  get references(): readonly string[] {
    return [this.reference, `env:${this.entry.keyVariable}`];
  }

  get model(): string | undefined {
    return this.document.model;
  }

  configured(): boolean {
    if (this.document.enabled === false) return false;
    const ownServer = this.entry.keyOptional && (this.#ownUrl !== "" || this.document.endpoint !== undefined);
    return this.reference !== "" || ownServer === true;
  }

  key(): string | undefined {
    return this.keys?.get(this.reference);
  }
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** The message repeats no URL: it may hold credentials. */
function checkedUrl(variable: string, url: string | undefined): string {
  if (url === undefined || url === "") return "";
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^(?:https?|wss?):$/.test(parsed.protocol) || parsed.username !== "") {
    const message = `${variable} is no base URL; write e.g. https://api.example.com/v1, without credentials`;
    throw rpcError(ErrorReason.CONFIG_INVALID, {
      domain: "provider-gateway",
      violations: [{ field: variable.toLowerCase(), rule: "form", message }],
    });
  }
  return url.replace(/\/+$/, "");
}
