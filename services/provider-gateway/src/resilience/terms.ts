import type { InvocationCaps, InvocationOpen } from "@rspp/ports/provider";

/** What a published `provider_config` says of a provider to the gateway: of the platform, of a tenant, or of both. */

export interface ProviderTerms {
  /** Calls that share these terms share its counts: the platform's have none of a tenant in it. */
  readonly scope: string;
  /** False: refused. Default true. */
  readonly enabled?: boolean;
  /** Calls at once. */
  readonly concurrencyMax?: number;
  /** Calls that may begin in a minute. */
  readonly ratePerMinute?: number;
  readonly limits?: ConfiguredProvider["limits"];
  readonly prices?: ProviderPrices;
}

/** Millionths of money. */
export interface ProviderPrices {
  readonly call_micros?: number;
  readonly input_kilotoken_micros?: number;
  readonly output_kilotoken_micros?: number;
  readonly audio_minute_micros?: number;
  readonly tts_kilocharacter_micros?: number;
}

/** All that apply to a provider's calls of this tenant. What comes last counts first: the tenant's. */
export type TermsOf = (provider: string, tenantId: string) => readonly ProviderTerms[];

/** A provider as a published `provider_config` has it. */
export interface ConfiguredProvider {
  readonly enabled?: boolean;
  readonly concurrency_max?: number;
  readonly limits?: {
    readonly tokens_max?: number;
    readonly audio_seconds_max?: number;
    readonly tts_characters_max?: number;
    readonly requests_per_minute_max?: number;
  };
  readonly prices?: ProviderPrices;
}

/** The platform's documents are of this tenant. */
const PLATFORM = "*";

/** The documents in force, by tenant; replaced whole when one is published. */
export class TermsBook {
  readonly #byTenant = new Map<string, ReadonlyMap<string, ProviderTerms>>();

  /** @param providers those of the tenant's document in force; empty: it has none any more. */
  set(tenantId: string, providers: Readonly<Record<string, ConfiguredProvider>>): void {
    const entries = Object.entries(providers).map(([name, one]) => [name, termsFrom(tenantId, one)] as const);
    if (entries.length === 0) this.#byTenant.delete(tenantId);
    else this.#byTenant.set(tenantId, new Map(entries));
  }

  /** Puts these in force, by tenant, and forgets all others. */
  replace(documents: ReadonlyMap<string, Readonly<Record<string, ConfiguredProvider>>>): void {
    this.#byTenant.clear();
    for (const [tenantId, providers] of documents) this.set(tenantId, providers);
  }

  readonly of: TermsOf = (provider, tenantId) => {
    const found = [PLATFORM, ...(tenantId === PLATFORM ? [] : [tenantId])].map((tenant) =>
      this.#byTenant.get(tenant)?.get(provider),
    );
    return found.filter((terms) => terms !== undefined);
  };
}

function termsFrom(scope: string, { enabled, concurrency_max, limits, prices }: ConfiguredProvider): ProviderTerms {
  const rate = limits?.requests_per_minute_max;
  return {
    scope,
    ...(enabled === undefined ? {} : { enabled }),
    ...(concurrency_max === undefined ? {} : { concurrencyMax: concurrency_max }),
    ...(rate === undefined ? {} : { ratePerMinute: rate }),
    ...(limits === undefined ? {} : { limits }),
    ...(prices === undefined ? {} : { prices }),
  };
}

/** The prices in force, field by field; undefined: none is known. */
export function pricesOf(terms: readonly ProviderTerms[]): ProviderPrices | undefined {
  const known = terms.flatMap(({ prices }) => prices ?? []);
  return known.length === 0 ? undefined : Object.assign({}, ...known);
}

/** One price, for 1000 tokens or characters or a minute of audio, by which a cap on cost is kept: rather too dear. */
export function capPrice(prices: ProviderPrices, modality: InvocationOpen["modality"]): number | undefined {
  if (modality === "stt") return prices.audio_minute_micros;
  if (modality === "tts") return prices.tts_kilocharacter_micros;
  const both = [prices.input_kilotoken_micros, prices.output_kilotoken_micros].flatMap((price) => price ?? []);
  return both.length === 0 ? undefined : Math.max(...both);
}

/** A call's caps, tightened by the limits of its provider; what reaches a limit is cut there unless its policy refuses it. */
export function capsUnder(
  terms: readonly ProviderTerms[],
  caps: InvocationCaps | undefined,
): InvocationCaps | undefined {
  const least = (own: number | undefined, limits: readonly (number | undefined)[]): number | undefined => {
    const all = [own, ...limits].flatMap((value) => value ?? []);
    return all.length === 0 ? undefined : Math.min(...all);
  };
  const limits = terms.flatMap((one) => one.limits ?? []);
  if (limits.length === 0) return caps;
  const tokens = least(
    caps?.tokens,
    limits.map(({ tokens_max }) => tokens_max),
  );
  const seconds = limits.map(({ audio_seconds_max: max }) => (max === undefined ? undefined : max * 1_000));
  const audioMs = least(caps?.audioMs, seconds);
  const ttsCharacters = least(
    caps?.ttsCharacters,
    limits.map(({ tts_characters_max }) => tts_characters_max),
  );
  return {
    ...caps,
    ...(tokens === undefined ? {} : { tokens }),
    ...(audioMs === undefined ? {} : { audioMs }),
    ...(ttsCharacters === undefined ? {} : { ttsCharacters }),
    onExceeded: caps?.onExceeded ?? "truncate",
  };
}
