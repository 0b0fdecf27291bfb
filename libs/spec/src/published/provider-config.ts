/** Configuration of providers as it is published (F-102): what is set of each, apart from the pipelines that use them. */
import { ok, type Result } from "@rspp/base/result";
import * as limits from "../limits.ts";
import type { SpecProblem } from "../problem.ts";
import { flag, map, may, must, type NumberSchema, type OpenMapSchema, oneOf, whole } from "../schema.ts";
import { description, settings, specName } from "../spec-schema.ts";
import { readDocument } from "./read-document.ts";

/** The first line of every configuration of providers. */
export const PROVIDER_CONFIG_SCHEMA = "rspp/provider-config/v1";

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
  readonly providers: Readonly<
    Record<
      string,
      {
        readonly enabled?: boolean;
        readonly price?: number;
        readonly concurrency_max?: number;
        readonly settings?: Readonly<Record<string, unknown>>;
      }
    >
  >;
}

/** Never throws. Secrets are references, never values. */
export function parseProviderConfig(text: string, fileName: string): Result<ProviderConfig, SpecProblem[]> {
  const read = readDocument<ProviderConfig>(text, fileName, providerConfigSchema);
  return read.ok ? ok(read.value.value) : read;
}
