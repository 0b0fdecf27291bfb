/** Every field of a layer of configuration: what may be laid over a published pipeline without publishing it anew (F-080). */
import * as limits from "./limits.ts";
import { list, map, may, must, type OpenMapSchema, oneOf, text } from "./schema.ts";
import { candidates, common, description, settings, specName, specVersion } from "./spec-schema.ts";
import { variableNames } from "./variable-schema.ts";

/** The first line of every layer. */
export const OVERRIDES_SCHEMA = "rspp/overrides/v1";

/** In the order they are laid over the pipeline: the last one that gives a value wins. */
export const LAYERS = ["environment", "tenant", "session"] as const;

const nodeOverrides = map("what is set of a node", {
  settings: may(settings),
  provider: may(
    map("what is set of a provider", {
      candidates: may(candidates),
      settings: may(settings),
    }),
  ),
});

const nodes: OpenMapSchema = {
  type: "open_map",
  max: limits.LAYER_NODES_MAX,
  value: nodeOverrides,
  what: "nodes",
  declares: true,
};

export const overridesSchema = map("a layer of configuration", {
  schema: must(oneOf(OVERRIDES_SCHEMA)),
  layer: must(oneOf(...LAYERS)),
  /** Of the environment, or id of the tenant. */
  name: must(
    text(limits.NAME_CHARS_MAX, { pattern: /^[A-Za-z0-9][A-Za-z0-9._-]*$/, form: "letters, digits, ., _ and -" }),
  ),
  version: must(specVersion),
  description: may(description),
  applies_to: may(list("pipelines", specName, 1, limits.LAYER_PIPELINES_MAX)),
  variables: may({
    type: "open_map",
    max: limits.VARIABLES_MAX,
    value: { type: "setting" },
    what: "session variables",
    keys: variableNames,
  }),
  conversation: common.conversation,
  policy: common.policy,
  budgets: common.budgets,
  output: common.output,
  recording: common.recording,
  nodes: may(nodes),
});
