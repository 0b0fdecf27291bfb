/** Session variables as they come, JSON by name, and as the kernel has them. */
import { err, ok, type Result } from "@rspp/base/result";
import type { SettingValue } from "@rspp/kernel/graph";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { SET_PREFIX } from "@rspp/spec/session-set";
import { limits } from "./limits.ts";

export interface SessionVariables {
  readonly variables: SessionConfig["variables"];
  /** What `sim/stt` knows of the utterances to come, from the variable `sim_transcripts`; of no use to any other provider. */
  readonly transcripts: readonly string[];
  /** What the session sets for itself (F-080): values of the variables `set.<path>`, by path. */
  readonly settings: Readonly<Record<string, SettingValue>>;
}

const transcriptsName = "sim_transcripts";

/**
 * Checks and reads them. Texts, numbers and truth values are taken as they are, lists and objects as their JSON text, null
 * is left out. `err` says what to do, naming the variable and never its value.
 */
export function readVariables(found: Readonly<Record<string, string>>): Result<SessionVariables, string> {
  const entries = Object.entries(found);
  if (entries.length > limits.SESSION_VARIABLES_MAX) {
    return err(`there are ${entries.length} session variables: give ${limits.SESSION_VARIABLES_MAX} at most`);
  }
  const variables: Record<string, string | number | boolean> = {};
  const settings: Record<string, SettingValue> = {};
  let transcripts: readonly string[] = [];
  for (const [name, json] of entries) {
    const value = readOne(name, json);
    if (!value.ok) return value;
    if (name === transcriptsName) {
      const read = readTranscripts(value.value);
      if (!read.ok) return read;
      transcripts = read.value;
    } else if (name.startsWith(SET_PREFIX)) {
      const path = name.slice(SET_PREFIX.length);
      if (value.value !== null) settings[path] = value.value as SettingValue;
    } else if (value.value !== null) {
      const { value: one } = value;
      const scalar = typeof one === "string" || typeof one === "number" || typeof one === "boolean";
      variables[name] = scalar ? one : json;
    }
  }
  return ok({ variables, transcripts, settings });
}

function readOne(name: string, json: string): Result<unknown, string> {
  const shown = name.slice(0, limits.SESSION_VARIABLE_NAME_CHARS_MAX);
  if (!/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name) || name.length > limits.SESSION_VARIABLE_NAME_CHARS_MAX) {
    const most = limits.SESSION_VARIABLE_NAME_CHARS_MAX;
    return err(`a session variable has an unfit name: use a letter, then letters, digits, _ . -, ${most} at most`);
  }
  if (json.length > limits.SESSION_VARIABLE_CHARS_MAX) {
    return err(`variables.${shown} has ${json.length} characters: use ${limits.SESSION_VARIABLE_CHARS_MAX} at most`);
  }
  try {
    return ok(JSON.parse(json));
  } catch {
    return err(`variables.${shown} is no JSON: write texts in quotes`);
  }
}

function readTranscripts(value: unknown): Result<readonly string[], string> {
  const texts = Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : null;
  if (texts === null || texts.length !== (value as unknown[]).length || texts.length > limits.SIM_TRANSCRIPTS_MAX) {
    return err(`variables.${transcriptsName} must be a list of at most ${limits.SIM_TRANSCRIPTS_MAX} texts`);
  }
  return ok(texts);
}
