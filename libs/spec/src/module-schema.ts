/** Every field of a module file: a graph with ports of its own, for many pipelines (F-019). */
import * as limits from "./limits.ts";
import { list, map, may, must, type OpenMapSchema, oneOf, text } from "./schema.ts";
import { anyNodeSchema, description, edgeSchema, modulesField, port, specName, specVersion } from "./spec-schema.ts";
import { parametersSchema } from "./variable-schema.ts";

/** The first line of every module. */
export const MODULE_SCHEMA = "rspp/module/v1";

const portNames = {
  pattern: /^(?!constructor$)[a-z][a-z0-9_]{0,63}$/,
  form: "lower-case letters, digits and _, starting with a letter",
};

/** An input may lead to several nodes; an output comes from one. */
const inputs: OpenMapSchema = {
  type: "open_map",
  max: limits.MODULE_PORTS_MAX,
  value: { ...list("inner ports", port, 1, limits.MODULE_PORTS_MAX), single: true },
  what: "inputs",
  keys: portNames,
};
const outputs: OpenMapSchema = { ...inputs, value: port, what: "outputs" };

export const moduleSchema = map("a module", {
  schema: must(oneOf(MODULE_SCHEMA)),
  name: must(specName),
  version: must(specVersion),
  description: may(description),
  owner: may(text(limits.LABEL_CHARS_MAX)),
  labels: may({ type: "open_map", max: limits.LABELS_MAX, value: text(limits.LABEL_CHARS_MAX), what: "labels" }),
  parameters: may(parametersSchema),
  inputs: may(inputs),
  outputs: may(outputs),
  modules: modulesField,
  nodes: must(list("nodes", anyNodeSchema, 0, limits.NODES_MAX)),
  edges: must(list("edges", edgeSchema, 0, limits.EDGES_MAX)),
});
