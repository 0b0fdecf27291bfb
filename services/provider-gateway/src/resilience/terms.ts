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
  /** Millionths of money for 1000 tokens or characters, or a minute of audio. */
  readonly priceMicros?: number;
}

/** All that apply to a provider's calls of this tenant. The tenant's price counts before the platform's: it comes last. */
export type TermsOf = (provider: string, tenantId: string) => readonly ProviderTerms[];

/** A provider as a published `provider_config` has it. */
export interface ConfiguredProvider {
  readonly enabled?: boolean;
  /** Millionths of money, as {@link ProviderTerms.priceMicros}. */
  readonly price?: number;
  readonly concurrency_max?: number;
  readonly rate_per_minute?: number;
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

  readonly of: TermsOf = (provider, tenantId) => {
    const found = [PLATFORM, ...(tenantId === PLATFORM ? [] : [tenantId])].map((tenant) =>
      this.#byTenant.get(tenant)?.get(provider),
    );
    return found.filter((terms) => terms !== undefined);
  };
}

function termsFrom(scope: string, one: ConfiguredProvider): ProviderTerms {
  return {
    scope,
    ...(one.enabled === undefined ? {} : { enabled: one.enabled }),
    ...(one.concurrency_max === undefined ? {} : { concurrencyMax: one.concurrency_max }),
    ...(one.rate_per_minute === undefined ? {} : { ratePerMinute: one.rate_per_minute }),
    ...(one.price === undefined ? {} : { priceMicros: one.price }),
  };
}
