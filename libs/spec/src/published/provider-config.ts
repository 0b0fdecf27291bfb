/** Configuration of providers as it is published (F-102): what is set of each, apart from the pipelines that use them. */
import { ok, type Result } from "@rspp/base/result";
import * as limits from "../limits.ts";
import type { SpecProblem } from "../problem.ts";
import { flag, map, may, must, type NumberSchema, type OpenMapSchema, oneOf, text, whole } from "../schema.ts";
import { description, settings, specName } from "../spec-schema.ts";
import { readDocument } from "./read-document.ts";

/** The first line of every configuration of providers. */
export const PROVIDER_CONFIG_SCHEMA = "rspp/provider-config/v1";

const micros = whole(0, 1_000_000_000_000);
const price: NumberSchema = { type: "number", min: 0, max: 1_000_000, integer: false };
const providers: OpenMapSchema = {
  type: "open_map",
  max: limits.PROVIDER_CONFIGS_MAX,
  value: map("the configuration of a provider", {
    /** False: taken by no new call. Default true. */
    enabled: may(flag),
    /** For comparison by policies, in one unit over all of them. */
    price: may(price),
    /** Calls at once. */
    concurrency_max: may(whole(1, 100_000)),
    /** In place of the vendor's own address. */
    endpoint: may(
      text(1_024, {
        pattern: /^(?:https?|wss?|grpcs?):\/\/[^\s@]+$/,
        form: "an http, ws or grpc address without credentials",
      }),
    ),
    /** What the vendor calls the model, where that differs from the name. */
    model: may(text(128)),
    limits: may(
      map("limits of one call", {
        tokens_max: may(whole(1, 10_000_000)),
        audio_seconds_max: may(whole(1, 86_400)),
        tts_characters_max: may(whole(1, 10_000_000)),
        requests_per_minute_max: may(whole(1, 1_000_000)),
      }),
    ),
    /** In millionths of the currency, per what was used. */
    prices: may(
      map("prices in millionths", {
        call_micros: may(micros),
        input_kilotoken_micros: may(micros),
        output_kilotoken_micros: may(micros),
        audio_minute_micros: may(micros),
        tts_kilocharacter_micros: may(micros),
      }),
    ),
    settings: may(settings),
  }),
  what: "providers",
  keys: { pattern: /^[a-z][a-z0-9_-]*\/[a-z0-9][a-z0-9._-]*$/, form: "vendor/model, e.g. local/flite" },
  declares: true,
};

export const providerConfigSchema = map("a configuration of providers", {
  schema: must(oneOf(PROVIDER_CONFIG_SCHEMA)),
  name: must(specName),
  description: may(description),
  providers: must(providers),
});

export interface ProviderConfig {
  readonly name: string;
  readonly providers: Readonly<Record<string, ProviderSettings>>;
}

/** What is set of one provider; what is absent is as the gateway has it. */
export interface ProviderSettings {
  readonly enabled?: boolean;
  readonly price?: number;
  readonly concurrency_max?: number;
  readonly endpoint?: string;
  readonly model?: string;
  readonly limits?: {
    readonly tokens_max?: number;
    readonly audio_seconds_max?: number;
    readonly tts_characters_max?: number;
    readonly requests_per_minute_max?: number;
  };
  readonly prices?: {
    readonly call_micros?: number;
    readonly input_kilotoken_micros?: number;
    readonly output_kilotoken_micros?: number;
    readonly audio_minute_micros?: number;
    readonly tts_kilocharacter_micros?: number;
  };
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** Never throws. Secrets are references, never values. */
export function parseProviderConfig(text: string, fileName: string): Result<ProviderConfig, SpecProblem[]> {
  const read = readDocument<ProviderConfig>(text, fileName, providerConfigSchema);
  return read.ok ? ok(read.value.value) : read;
}

/** Of the normalised content that a snapshot carries; null for what this build cannot read. */
export function readProviderConfig(content: Uint8Array): Pick<ProviderConfig, "name" | "providers"> | null {
  try {
    const { format, config } = JSON.parse(new TextDecoder().decode(content)) as {
      format?: unknown;
      config?: ProviderConfig;
    };
    return format === PROVIDER_CONFIG_SCHEMA && typeof config?.providers === "object" ? config : null;
  } catch {
    return null;
  }
}

/** Field by field: what comes later counts. The platform's come first, then a tenant's own, each by name. */
export function mergeProviderConfigs(
  configs: readonly Pick<ProviderConfig, "providers">[],
): Readonly<Record<string, ProviderSettings>> {
  const merged: Record<string, ProviderSettings> = {};
  for (const { providers } of configs) {
    for (const [name, own] of Object.entries(providers)) {
      const before = merged[name] ?? {};
      merged[name] = {
        ...before,
        ...own,
        ...(before.limits || own.limits ? { limits: { ...before.limits, ...own.limits } } : {}),
        ...(before.prices || own.prices ? { prices: { ...before.prices, ...own.prices } } : {}),
        ...(before.settings || own.settings ? { settings: { ...before.settings, ...own.settings } } : {}),
      };
    }
  }
  return merged;
}
