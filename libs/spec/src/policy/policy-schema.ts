/** Every field of a policy: which providers serve whom, what a turn may use, and what is put into its graph (F-056, F-062). */
import * as limits from "../limits.ts";
import { list, map, may, must, type OpenMapSchema, oneOf, text, whole } from "../schema.ts";
import { candidates, description, id, settingsSchemaOf, specName, specVersion } from "../spec-schema.ts";

/** The first line of every policy. */
export const POLICY_SCHEMA = "rspp/policy/v1";

/** Kinds of node a policy chooses providers for. */
export const POLICY_KINDS = ["stt", "llm", "tts", "translator"] as const;
export type PolicyKind = (typeof POLICY_KINDS)[number];

/** How candidates of equal health are put in order. */
export const POLICY_ORDERS = ["listed", "price", "latency"] as const;

export const POLICY_RULES_MAX = 64;
export const POLICY_COMPLIANCE_MAX = 4;

const compliance = map("a compliance node", {
  id: must(id),
  settings: must(settingsSchemaOf("compliance") ?? map("settings", {})),
});

const caps = map("the caps of a turn", {
  tokens: may(whole(1, 10_000_000)),
  audio_seconds: may(whole(1, 86_400)),
  tts_characters: may(whole(1, 10_000_000)),
  cost_micros: may(whole(1, 1_000_000_000)),
  on_exceeded: may(oneOf("truncate", "refuse")),
});

const modalities: OpenMapSchema = {
  type: "open_map",
  max: POLICY_KINDS.length,
  value: candidates,
  what: "candidates",
  keys: { pattern: new RegExp(`^(${POLICY_KINDS.join("|")})$`), form: POLICY_KINDS.join(", ") },
};

const rule = map("a rule", {
  id: must(id),
  when: may(text(limits.CONDITION_CHARS_MAX)),
  description: may(description),
  candidates: may(modalities),
  order: may(oneOf(...POLICY_ORDERS)),
  caps: may(caps),
  degrade: may(id),
  compliance: may(list("compliance nodes", compliance, 1, POLICY_COMPLIANCE_MAX)),
  turn_detection: may(
    map("the turn detection", {
      vad: may(settingsSchemaOf("vad") ?? map("settings", {})),
      endpointing: may(settingsSchemaOf("endpointing") ?? map("settings", {})),
    }),
  ),
});

export const policySchema = map("a policy", {
  schema: must(oneOf(POLICY_SCHEMA)),
  name: must(specName),
  version: must(specVersion),
  description: may(description),
  rules: must(list("rules", rule, 1, POLICY_RULES_MAX)),
});
