/** Every field of a PipelineSpec file: type, bounds, and which are required. Units stand last in the names. */
import { NODE_KINDS, type NodeKind } from "@rspp/kernel/graph";
import { limitSchema, priceSchema } from "./budget-schema.ts";
import { FALLBACK_KINDS } from "./check-fallback.ts";
import { dialogueFields } from "./dialogue-schema.ts";
import { bufferSchema } from "./edge-schema.ts";
import * as limits from "./limits.ts";
import { resilienceFields } from "./resilience-schema.ts";
import type { Field, MapSchema, OpenMapSchema, VariantSchema } from "./schema.ts";
import { flag, list, map, may, must, oneOf, text, whole } from "./schema.ts";
import { textNodeSettings } from "./text-node-schema.ts";
import { toolFields } from "./tool-schema.ts";
import { variableNames, variablesSchema } from "./variable-schema.ts";
import { vocabularyField } from "./vocabulary.ts";

/** The first line of every spec: which schema the rest is written in. */
export const SPEC_SCHEMA = "rspp/pipeline/v1";

export const NODE_KIND_NAMES: readonly NodeKind[] = Object.keys(NODE_KINDS) as NodeKind[];

export const id = text(limits.ID_CHARS_MAX, {
  // `constructor` is what every plain object already answers to, and ids are keys of plain data.
  pattern: /^(?!constructor$)[a-z][a-z0-9_-]*$/,
  form: 'lower-case letters, digits, _ and -, starting with a letter; not "constructor"',
});
const kind = text(limits.ID_CHARS_MAX, { oneOf: NODE_KIND_NAMES, noun: "node kind" });
export const description = text(limits.DESCRIPTION_CHARS_MAX);
const provider = text(limits.NAME_CHARS_MAX, {
  pattern: /^[a-z][a-z0-9_-]*\/[a-z0-9][a-z0-9._-]*$/,
  form: "vendor/model, e.g. local/flite",
});
export const port = text(2 * limits.ID_CHARS_MAX + 1, {
  pattern: /^[a-z][a-z0-9_-]*\.[a-z][a-z0-9_]*$/,
  form: "node.port, e.g. stt.text",
});

export const settings: OpenMapSchema = {
  type: "open_map",
  max: limits.SETTINGS_MAX,
  value: { type: "setting" },
  what: "settings",
};

export const candidates = list(
  "candidates",
  {
    type: "either",
    text: provider,
    map: map("a candidate", { name: must(provider), settings: may(settings) }),
    what: "a provider name or {name, settings}",
  },
  1,
  limits.CANDIDATES_MAX,
);
export const providerSchema = map("the provider of a node", {
  candidates: must(candidates),
  settings: may(settings),
  retries: may(whole(0, 3)),
});

const edgeFields = {
  id: may(id),
  from: must(port),
  to: must(port),
  condition: may(text(limits.CONDITION_CHARS_MAX)),
  buffer: may(bufferSchema),
  description: may(description),
};

export const edgeSchema = {
  type: "either" as const,
  text: text(4 * limits.ID_CHARS_MAX + 16, {
    pattern: /^\s*[a-z][a-z0-9_-]*\.[a-z][a-z0-9_]*\s*->\s*[a-z][a-z0-9_-]*\.[a-z][a-z0-9_]*\s*$/,
    form: `"node.port -> node.port", e.g. "stt.text -> endpointing.text"`,
  }),
  map: map("an edge", edgeFields),
  what: `"node.port -> node.port" or {from, to, buffer}`,
};

/** Settings a node of the kind takes; provider nodes have theirs under `provider`. */
const nodeSettings: Readonly<Partial<Record<NodeKind, Readonly<Record<string, Field>>>>> = {
  vad: { silero: may(oneOf("auto", "off")) },
  endpointing: {
    mode: may(oneOf("vad", "push_to_talk")),
    onset_frames: may(whole(1, 50)),
    min_speech_ms: may(whole(20, 2_000)),
    candidate_silence_ms: may(whole(20, 5_000)),
    endpoint_silence_ms: may(whole(40, 10_000)),
    max_utterance_ms: may(whole(1_000, 600_000)),
    speculate_ms: may(whole(0, 10_000)),
    preroll_ms: may(whole(0, 1_500)),
    silence_ends: may(flag),
  },
  output: { commit_point: may(oneOf("played", "handed_out")) },
  segmenter: {
    first_min_chars: may(whole(1, 500)),
    min_chars: may(whole(1, 500)),
    max_chars: may(whole(10, 2_000)),
  },
  ...textNodeSettings,
};

/** Settings that a layer may lay over those of a node of the kind; undefined where it has none. */
export function settingsSchemaOf(of: NodeKind): MapSchema | undefined {
  const known = nodeSettings[of];
  if (known === undefined) return undefined;
  const fields = Object.entries(known).map(([name, { schema }]) => [name, may(schema)] as const);
  return map(`the settings of a node of kind ${of}`, Object.fromEntries(fields));
}

/** What a custom node has besides the fields of all nodes (F-011, F-107, F-109, F-121). */
const customFields = {
  package: must(
    text(limits.NAME_CHARS_MAX, {
      pattern: /^[a-z][a-z0-9-]*@[0-9]+\.[0-9]+\.[0-9]+(-[a-z0-9.-]+)?$/,
      form: "name@version of a node package, e.g. number-reader@1.2.0",
    }),
  ),
  settings: may(settings),
  limits: may(
    map("the limits of a node", {
      max_in_flight: may(whole(1, 64)),
      queue: may(whole(1, 10_000)),
      when_full: may(oneOf("queue", "reject")),
      event_timeout_ms: may(whole(10, 60_000)),
      hook_timeout_ms: may(whole(10, 5_000)),
      memory_mb: may(whole(16, 1_024)),
      cpu_percent: may(whole(5, 100)),
    }),
  ),
} satisfies Readonly<Record<string, Field>>;

/** Kinds with a setting that must be given must have settings. */
function settingsField(of: NodeKind, known: Readonly<Record<string, Field>>): Field {
  const schema = map(`the settings of a node of kind ${of}`, known);
  return Object.values(known).some((field) => field.required === true) ? must(schema) : may(schema);
}

function nodeSchema(of: NodeKind): MapSchema {
  const known = nodeSettings[of];
  const definition = NODE_KINDS[of];
  return map(`a node of kind ${of}`, {
    id: must(id),
    kind: must(kind),
    ...(definition.scope === "either" ? { scope: may(oneOf("session", "turn")) } : {}),
    ...(definition.execution === "provider" ? { provider: must(providerSchema) } : {}),
    ...(known === undefined ? {} : { settings: settingsField(of, known) }),
    ...(FALLBACK_KINDS.includes(of) ? { fallback: may(id) } : {}),
    ...(of === "llm" ? toolFields : {}),
    ...(of === "custom" ? customFields : {}),
    description: may(description),
  });
}

export const anyNodeSchema: VariantSchema = {
  type: "variant",
  tag: "kind",
  variants: Object.fromEntries(NODE_KIND_NAMES.map((of) => [of, nodeSchema(of)])),
  fallback: map("a node", {
    id: must(id),
    kind: must(kind),
    scope: may(oneOf("session", "turn")),
    provider: may(providerSchema),
    settings: may(settings),
    fallback: may(id),
    ...toolFields,
    package: may(text(limits.NAME_CHARS_MAX)),
    limits: customFields.limits,
    description: may(description),
  }),
};

/** Fields that a spec and a template file share. */
export const common = {
  schema: must(oneOf(SPEC_SCHEMA)),
  profile: may(text(limits.NAME_CHARS_MAX)),
  description: may(description),
  owner: may(text(limits.LABEL_CHARS_MAX)),
  labels: may({ type: "open_map", max: limits.LABELS_MAX, value: text(limits.LABEL_CHARS_MAX), what: "labels" }),
  variables: may(variablesSchema),
  vocabulary: vocabularyField,
  conversation: may(
    map("the conversation", {
      greeting: may(text(limits.GREETING_CHARS_MAX)),
      system_prompt: may(text(limits.SYSTEM_PROMPT_CHARS_MAX)),
    }),
  ),
  policy: may(
    map("the policy", {
      id: may(text(limits.NAME_CHARS_MAX)),
      barge_in: may(flag),
      cancel_mode: may(oneOf("hard", "soft")),
      soft_limit_ms: may(whole(0, 5_000)),
      second_proposal: may(oneOf("preempt", "queue", "drop")),
      hold_on_candidate: may(flag),
      late_events: may(oneOf("drop", "remap", "diagnose")),
      speculation: may(flag),
      final_wait_ms: may(whole(0, 30_000)),
      reconnect_ms: may(whole(0, 600_000)),
      history_parts_max: may(whole(1, limits.HISTORY_PARTS_MAX)),
      ...dialogueFields,
    }),
  ),
  budgets: may(
    map("the budgets", {
      turn_first_output_ms: may(whole(100, 60_000)),
      node_soft_ms: may(whole(10, 60_000)),
      provider_attempt_ms: may(whole(50, 60_000)),
      cancel_grace_ms: may(whole(5, 5_000)),
      limits: may(list("limits", limitSchema, 1, limits.BUDGET_LIMITS_MAX)),
      prices: may(list("prices", priceSchema, 1, limits.BUDGET_LIMITS_MAX)),
    }),
  ),
  ...resilienceFields,
  output: may(map("the output", { lead_ms: may(whole(20, 5_000)) })),
  recording: may(
    map("the recording", {
      level: may(oneOf("L0", "L1", "L2")),
      policy_id: may(text(limits.NAME_CHARS_MAX)),
      sample_percent: may(whole(0, 100)),
    }),
  ),
} satisfies Readonly<Record<string, Field>>;

export const specName = text(limits.NAME_CHARS_MAX, {
  pattern: /^[a-z][a-z0-9-]*$/,
  form: "lower-case letters, digits and -, starting with a letter",
});
export const specVersion = text(limits.NAME_CHARS_MAX, {
  pattern: /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
  form: "letters, digits, ., _ and -",
  numberAsText: true,
});

const moduleUse = map("a use of a module", {
  id: must(id),
  use: must(
    text(2 * limits.NAME_CHARS_MAX + 1, {
      pattern: /^[a-z][a-z0-9-]*@[A-Za-z0-9][A-Za-z0-9._-]*$/,
      form: "name@version, e.g. spoken-answer@1",
    }),
  ),
  with: may({
    type: "open_map",
    max: limits.MODULE_PARAMETERS_MAX,
    value: { type: "setting" },
    what: "parameters",
    keys: variableNames,
  }),
  description: may(description),
});

export const modulesField = may(list("modules", moduleUse, 1, limits.MODULES_MAX));

export const specSchema = map("a pipeline spec", {
  ...common,
  name: must(specName),
  version: must(specVersion),
  modules: modulesField,
  nodes: must(list("nodes", anyNodeSchema, 1, limits.NODES_MAX)),
  edges: must(list("edges", edgeSchema, 1, limits.EDGES_MAX)),
});

/** A file that gives providers only; graph and settings come from the template (F-079). */
export const templateSchema = map("a pipeline made from a template", {
  ...common,
  template: must(text(limits.NAME_CHARS_MAX)),
  name: may(specName),
  version: may(specVersion),
  providers: must(
    map("the providers", { stt: must(providerSchema), llm: must(providerSchema), tts: must(providerSchema) }),
  ),
});
