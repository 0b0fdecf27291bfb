/** Configuration of a service: defaults, then a file, then the environment, then flags; the later wins. */
import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";
import { err, ok, type Result } from "@rspp/base/result";
import { osCode } from "@rspp/store/store-error";
import { type ConfigField, type ConfigFields, type ConfigValues, nearestKey, readField } from "./config-fields.ts";

export interface ConfigProblem {
  /** The key as its source writes it, e.g. `--port`, `RSPP_PORT`, `port`. */
  readonly key: string;
  readonly from: ConfigSource;
  readonly message: string;
  readonly remedy: string;
}

export type ConfigSource = "default" | "file" | "environment" | "flag";

export interface ResolvedConfig<F extends ConfigFields> {
  readonly values: ConfigValues<F>;
  /** What may be printed: each key with where it comes from; of secrets the reference. */
  readonly shown: Readonly<Record<string, { readonly value: string | number; readonly from: ConfigSource }>>;
  /** True: print it and end. */
  readonly printOnly: boolean;
}

export interface ConfigInput {
  /** e.g. `registry`. */
  readonly service: string;
  /** Without the program. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** `--help` was asked for. */
export interface HelpWanted {
  readonly help: string;
}

type Settings = Record<string, { value: string | number; from: ConfigSource }>;
const fileBytesMax = 65_536;
const own = { config: { type: "string" }, help: { type: "boolean" }, "print-config": { type: "boolean" } } as const;

/** Every problem at once, each naming its key and what to do. Values are never repeated. */
export function resolveConfig<const F extends ConfigFields>(
  fields: F,
  input: ConfigInput,
): Result<ResolvedConfig<F> | HelpWanted, readonly ConfigProblem[]> {
  const flags = readFlags(fields, input.argv);
  if (!flags.ok) return err([flags.error]);
  if (flags.value.help) return ok({ help: helpOf(fields, input.service) });
  const settings: Settings = Object.fromEntries(
    Object.entries(fields).map(([key, { kind, fallback }]) => {
      const value = kind === "path" && fallback !== "" ? pathOf(fallback) : fallback;
      return [key, { value, from: "default" }];
    }),
  );
  if ("database_url" in fields && input.env.DATABASE_URL) {
    settings.database_url = { value: "env:DATABASE_URL", from: "environment" };
  }
  const problems: ConfigProblem[] = [];
  const take = (from: ConfigSource, key: string, shownKey: string, found: unknown): void => {
    const field = fields[key];
    if (field === undefined)
      return void problems.push({ key: shownKey, from, ...unknownKey(key, Object.keys(fields)) });
    const value = readField(field, found);
    if (value.ok) settings[key] = { value: value.value, from };
    else problems.push({ key: shownKey, from, ...value.error });
  };
  const path = flags.value.config ?? input.env.RSPP_CONFIG;
  const file = path === undefined ? ok([]) : readFile(path);
  if (!file.ok) return err([file.error]);
  for (const [key, found] of file.value) take("file", key, key, found);
  for (const [name, key, found] of environmentOf(fields, input)) take("environment", key, name, found);
  for (const [key, found] of flags.value.values) take("flag", key, `--${key.replaceAll("_", "-")}`, found);
  if (problems.length > 0) return err(problems);
  const values = Object.fromEntries(Object.entries(settings).map(([key, { value }]) => [key, value]));
  return ok({ values: values as ConfigValues<F>, shown: settings, printOnly: flags.value.print });
}

/** One line for people. */
export function describeProblem({ key, from, message, remedy }: ConfigProblem): string {
  return `${key} (${from}) ${message}. ${remedy}.`;
}

function pathOf(fallback: string): string | number {
  const read = readField({ kind: "path", about: "", fallback: "" }, fallback);
  return read.ok ? read.value : fallback;
}

function unknownKey(key: string, keys: readonly string[]): { message: string; remedy: string } {
  const near = nearestKey(key, keys);
  const remedy = near === undefined ? `The keys are ${keys.join(", ")}` : `Did you mean ${near}`;
  return { message: "is no key of this service", remedy };
}

interface Flags {
  readonly help: boolean;
  readonly print: boolean;
  readonly config: string | undefined;
  readonly values: readonly (readonly [string, string])[];
}

function readFlags(fields: ConfigFields, argv: readonly string[]): Result<Flags, ConfigProblem> {
  const options = Object.keys(fields).map((key) => [key.replaceAll("_", "-"), { type: "string" }] as const);
  const known = [...options.map(([name]) => name), ...Object.keys(own)];
  for (const name of argv.flatMap((word) => /^--([^=]+)/.exec(word)?.[1] ?? [])) {
    if (known.includes(name)) continue;
    const near = nearestKey(name, known);
    const remedy = near === undefined ? "`--help` lists the flags" : `Did you mean --${near}`;
    return err({ key: `--${name}`, from: "flag", message: "is no flag of this service", remedy });
  }
  try {
    const { values } = parseArgs({ args: [...argv], options: { ...own, ...Object.fromEntries(options) } });
    const { config, help = false, "print-config": print = false, ...rest } = values;
    const entries = Object.entries(rest).flatMap(([name, value]) =>
      typeof value === "string" ? [[name.replaceAll("-", "_"), value] as const] : [],
    );
    return ok({ help, print, config, values: entries });
  } catch {
    // The library's text repeats what was typed.
    const remedy = "Write --flag value for each; `--help` lists the flags";
    return err({ key: "flags", from: "flag", message: "cannot be read", remedy });
  }
}

function readFile(path: string): Result<readonly (readonly [string, unknown])[], ConfigProblem> {
  const problem = (message: string, remedy: string) =>
    err({ key: "config", from: "file", message: `${path} ${message}`, remedy } as const);
  try {
    if (statSync(path).size > fileBytesMax) return problem("is larger than 64 KiB", "Name the right file");
    // YAML 1.2, of which JSON is a part. Its errors quote the text, which may hold a secret, so they are not shown.
    // Most processes have no file, and the reader is large.
    const { parse } = createRequire(import.meta.url)("yaml") as typeof import("yaml");
    const found: unknown = parse(readFileSync(path, "utf8"), { maxAliasCount: 0, prettyErrors: false });
    if (found === null) return ok([]);
    if (typeof found === "object" && !Array.isArray(found)) return ok(Object.entries(found));
    return problem("holds no keys", "Write `key: value`, one per line");
  } catch (error) {
    const code = osCode(error);
    if (/^E[A-Z]+$/.test(code)) return problem(`cannot be read (${code})`, "Check the path and its rights");
    return problem("is no YAML or JSON", "Mend its form; `key: value`, one per line");
  }
}

/** `RSPP_<KEY>` for every service, `RSPP_<SERVICE>_<KEY>` for this one alone, which wins and must be a key of it. */
function environmentOf(fields: ConfigFields, { service, env }: ConfigInput): [string, string, string][] {
  const prefix = `RSPP_${service.toUpperCase().replaceAll("-", "_")}_`;
  const all = Object.keys(fields).map((key): [string, string] => [`RSPP_${key.toUpperCase()}`, key]);
  const mine = Object.keys(env)
    .filter((name) => name.startsWith(prefix))
    .map((name): [string, string] => [name, name.slice(prefix.length).toLowerCase()]);
  return [...all, ...mine].flatMap(([name, key]) => {
    const value = env[name];
    return value === undefined ? [] : [[name, key, value] as [string, string, string]];
  });
}

function helpOf(fields: ConfigFields, service: string): string {
  const lines = Object.entries(fields).map(([key, field]) => {
    const flag = `--${key.replaceAll("_", "-")}`;
    return `  ${flag.padEnd(22)} ${field.about}${bounds(field)}`;
  });
  return [
    `The ${service} service. Each key may stand in a file (--config FILE, YAML or JSON, with _ for -), in the`,
    `environment (RSPP_KEY, or RSPP_${service.toUpperCase().replaceAll("-", "_")}_KEY for this service alone) or in a flag; the later wins.`,
    "",
    ...lines,
    "  --config               The file; also RSPP_CONFIG.",
    "  --print-config         Print the resolved configuration, secrets hidden, and end.",
    "",
    "Exit status: 0 stopped in order, 1 failed, 2 the configuration does not hold.",
    "",
  ].join("\n");
}

function bounds(field: ConfigField): string {
  const { fallback } = field;
  const words = field.kind === "choice" ? [`one of ${field.of.join(", ")}`] : [];
  if (field.kind === "secret") words.push("by reference: env:NAME or file:/path, or mount:NAME");
  if (fallback !== "") words.push(`default ${fallback}`);
  return words.length === 0 ? "" : ` (${words.join("; ")})`;
}
