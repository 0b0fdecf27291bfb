/** Every bound of a PipelineSpec, by name. What exceeds one is refused with a SpecProblem, never cut. */
import { CONVERSATION_PARTS_MAX } from "@rspp/kernel/limits";

export const FILE_BYTES_MAX = 256 * 1024;
export const NODES_MAX = 64;
export const EDGES_MAX = 256;
export const CANDIDATES_MAX = 8;
export const SETTINGS_MAX = 32;
export const SETTING_LIST_MAX = 64;
export const LABELS_MAX = 32;
/** Problems reported for one file; a last line says that there are more. */
export const PROBLEMS_MAX = 100;

export const ID_CHARS_MAX = 64;
export const NAME_CHARS_MAX = 64;
export const LABEL_CHARS_MAX = 256;
export const DESCRIPTION_CHARS_MAX = 2_000;
export const GREETING_CHARS_MAX = 2_000;
export const SYSTEM_PROMPT_CHARS_MAX = 16_384;
/** A grammar is a setting, so settings may be long. */
export const SETTING_CHARS_MAX = 16_384;
/** UTF-16 code units of one condition. */
export const CONDITION_CHARS_MAX = 512;

export const HISTORY_PARTS_MAX = CONVERSATION_PARTS_MAX;
