/** Every bound of a PipelineSpec, by name. What exceeds one is refused with a SpecProblem, never cut. */
import { CONVERSATION_PARTS_MAX } from "@rspp/kernel/limits";

export const FILE_BYTES_MAX = 256 * 1024;
export const NODES_MAX = 64;
export const EDGES_MAX = 256;
export const CANDIDATES_MAX = 8;
export const SETTINGS_MAX = 32;
export const BUDGET_LIMITS_MAX = 32;
export const SETTING_LIST_MAX = 64;
export const LABELS_MAX = 32;
/** Uses of modules in one document; nodes and edges count after expansion. */
export const MODULES_MAX = 16;
/** Modules within modules. */
export const MODULE_DEPTH_MAX = 4;
export const MODULE_PARAMETERS_MAX = 32;
export const MODULE_PORTS_MAX = 32;
/** Nodes that one layer of configuration sets something of; pipelines it is for. */
export const LAYER_NODES_MAX = 64;
export const LAYER_PIPELINES_MAX = 64;
/** Tenants that one rollout names; regions a tenant is held to. */
export const ROLLOUT_TENANTS_MAX = 1_024;
export const TENANT_REGIONS_MAX = 16;
/** Webhooks of a tenant, and purposes for which its timelines may be read. */
export const TENANT_WEBHOOKS_MAX = 8;
export const TENANT_PURPOSES_MAX = 32;
/** Providers that one configuration sets something of. */
export const PROVIDER_CONFIGS_MAX = 128;
/** What the contracts allow a session (`registry.v1.CreateRoute`). */
export const VARIABLES_MAX = 64;
export const VARIABLE_CHARS_MAX = 4_096;
export const VARIABLE_VALUES_MAX = 64;
/** A value that is matched against a pattern is short, so that matching ends soon. */
export const PATTERN_VALUE_CHARS_MAX = 256;
export const PATTERN_CHARS_MAX = 200;
/** Problems reported for one file; a last line says that there are more. */
export const PROBLEMS_MAX = 100;

export const ID_CHARS_MAX = 64;
export const NAME_CHARS_MAX = 64;
export const LABEL_CHARS_MAX = 256;
export const DESCRIPTION_CHARS_MAX = 2_000;
export const GREETING_CHARS_MAX = 2_000;
/** A sentence the agent may say of its own accord. */
export const SENTENCE_CHARS_MAX = 500;
export const PROMPTS_MAX = 8;
/** Of a list of words or phrases, and each of them. */
export const PHRASES_MAX = 64;
export const PHRASE_CHARS_MAX = 64;
export const SYSTEM_PROMPT_CHARS_MAX = 16_384;
/** A grammar is a setting, so settings may be long. */
export const SETTING_CHARS_MAX = 16_384;
/** UTF-16 code units of one condition. */
export const CONDITION_CHARS_MAX = 512;

/** Tools of one language model, and what one of them holds. */
export const TOOLS_MAX = 16;
export const TOOL_SCHEMA_CHARS_MAX = 8_192;
export const TOOL_DEADLINE_MS_MAX = 120_000;

export const HISTORY_PARTS_MAX = CONVERSATION_PARTS_MAX;

/** A test script: steps, items of a list, characters of a text or path, and the longest wait. */
export const TEST_STEPS_MAX = 500;
export const TEST_ITEMS_MAX = 100;
export const TEST_TEXT_CHARS_MAX = 4_000;
export const TEST_PATH_CHARS_MAX = 1_024;
export const TEST_WAIT_MS_MAX = 600_000;
