import type { SettingValue } from "@rspp/ports/provider";

/** One setting a provider understands. Defaults apply when it is absent. */
export type SettingSpec =
  | { type: "string"; default: string; oneOf?: readonly string[] }
  | { type: "number"; default: number; min: number; max: number }
  | { type: "boolean"; default: boolean }
  | { type: "strings"; default: readonly string[] };

export type SettingSpecs = Readonly<Record<string, SettingSpec>>;

type ValueOf<S extends SettingSpec> = S extends { type: "string" }
  ? string
  : S extends { type: "number" }
    ? number
    : S extends { type: "boolean" }
      ? boolean
      : readonly string[];

export type SettingValues<S extends SettingSpecs> = { readonly [K in keyof S]: ValueOf<S[K]> };

export type SettingsResult<S extends SettingSpecs> =
  | { ok: true; values: SettingValues<S> }
  /** Names the setting, never its value: settings may hold a prompt. */
  | { ok: false; problem: string };

/**
 * Reads the settings a provider knows. Names it does not know are left alone, since one set serves all candidates of a
 * node; a value of a type no setting can have is refused whatever its name.
 */
export function readSettings<S extends SettingSpecs>(
  settings: Readonly<Record<string, SettingValue>>,
  specs: S,
): SettingsResult<S> {
  for (const [name, value] of Object.entries(settings)) {
    if (typeOf(value) === undefined) {
      return { ok: false, problem: `setting \`${name}\` must be a string, number, boolean or list of strings` };
    }
  }
  const values: Record<string, SettingValue> = {};
  for (const [name, spec] of Object.entries(specs)) {
    const value = settings[name];
    if (value === undefined) {
      values[name] = spec.default;
      continue;
    }
    const problem = check(spec, value);
    if (problem) return { ok: false, problem: `setting \`${name}\` ${problem}` };
    values[name] = value;
  }
  return { ok: true, values: values as SettingValues<S> };
}

function typeOf(value: unknown): SettingSpec["type"] | undefined {
  if (typeof value === "string" || typeof value === "boolean") return typeof value as "string" | "boolean";
  if (typeof value === "number") return Number.isFinite(value) ? "number" : undefined;
  return Array.isArray(value) && value.every((item) => typeof item === "string") ? "strings" : undefined;
}

function check(spec: SettingSpec, value: SettingValue): string | undefined {
  const found = typeOf(value);
  const wanted = spec.type === "strings" ? "a list of strings" : `a ${spec.type}`;
  if (found !== spec.type) return `must be ${wanted}`;
  if (spec.type === "number" && typeof value === "number" && (value < spec.min || value > spec.max)) {
    return `must be ${spec.min} to ${spec.max}`;
  }
  if (spec.type === "string" && spec.oneOf && !spec.oneOf.includes(String(value))) {
    return `must be one of ${spec.oneOf.join(", ")}`;
  }
  return undefined;
}
