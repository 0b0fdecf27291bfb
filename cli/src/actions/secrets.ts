/** `rspp secrets`: references and whether they resolve (F-061); nothing here holds a secret longer than it takes to look. */
import { readFile } from "node:fs/promises";
import { resolveConfig } from "@rspp/host/config";
import { isSecretReference } from "@rspp/spec/secret";
import { type SecretStatus, secretStatus } from "@rspp/store/secret";
import { osCode } from "@rspp/store/store-error";
import { parse } from "yaml";
import type { SecretsOptions } from "../commands/secrets.ts";
import { CommandError, EXIT_FAILED, EXIT_INPUT, EXIT_OK, usageError } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { table } from "../output/table.ts";
import { loadDefinitions } from "../up/definitions.ts";

interface Named {
  readonly reference: string;
  /** Where it is named, e.g. `registry: token_key`. */
  readonly by: string;
}

interface Found extends SecretStatus {
  readonly by: readonly string[];
}

export async function secrets(action: string, specs: readonly string[], options: SecretsOptions): Promise<number> {
  if (action !== "list" && action !== "check")
    throw usageError(`${action}: is nothing that can be done with secrets`, "name one of list, check");
  const printer = createPrinter(options.json ?? false);
  const named = [...(await ofServices(options.config ?? [])), ...(await Promise.all(specs.map(ofSpec))).flat()];
  const found = await statusOf(named);
  const bad = found.filter(({ ok }) => !ok);
  printer.data({ ok: bad.length === 0, secrets: found });
  if (found.length === 0) printer.line("no secrets are named; what is needed is made in the data directory");
  else {
    const columns = [{ head: "REFERENCE" }, { head: "STATE" }, { head: "NAMED BY" }];
    const cells = found.map(({ reference, ok, problem, by }) => {
      return [paint("bold", reference), ok ? paint("green", "resolves") : paint("red", problem), by.join(", ")];
    });
    printer.lines(table(columns, cells));
  }
  return action === "check" && bad.length > 0 ? EXIT_FAILED : EXIT_OK;
}

/** Secret keys of every service, as the environment and the files given say; a file is of whichever service takes it. */
async function ofServices(files: readonly string[]): Promise<Named[]> {
  const definitions = Object.values(await loadDefinitions({ gateway: "service" })).map((make) => make());
  const named: Named[] = [];
  for (const { service, fields } of definitions) {
    for (const argv of [[], ...files.map((file) => ["--config", file])]) {
      const config = resolveConfig(fields, { service, argv, env: process.env });
      if (!config.ok || "help" in config.value) continue;
      for (const [key, { kind }] of Object.entries(fields)) {
        const reference = config.value.shown[key]?.value;
        if (kind === "secret" && typeof reference === "string" && reference !== "")
          named.push({ reference, by: `${service}: ${key}` });
      }
    }
  }
  if (process.env.OPENAI_API_KEY !== undefined) named.push({ reference: "env:OPENAI_API_KEY", by: "openai/chat" });
  const tools = (process.env.RSPP_TOOL_SECRETS ?? "").split(",").map((reference) => reference.trim());
  return [...named, ...tools.filter((it) => it !== "").map((reference) => ({ reference, by: "tool_secrets" }))];
}

async function ofSpec(path: string): Promise<Named[]> {
  try {
    const texts: string[] = [];
    textsOf(parse(await readFile(path, "utf8"), { maxAliasCount: 0 }), texts, 0);
    return texts.filter(isSecretReference).map((reference) => ({ reference, by: path }));
  } catch (error) {
    // What the parser says quotes the text, which may hold a secret.
    const what = `${path}: ${/^E[A-Z]+$/.test(osCode(error)) ? `cannot be read (${osCode(error)})` : "is no YAML or JSON"}`;
    throw new CommandError({
      status: EXIT_INPUT,
      reason: "file",
      what,
      remedy: "name a pipeline spec; `rspp lint` tells more",
    });
  }
}

const depthMax = 32;

function textsOf(value: unknown, into: string[], depth: number): void {
  if (typeof value === "string") {
    // Headers are written `name: reference`.
    into.push(value, value.slice(value.indexOf(": ") + 2));
  } else if (typeof value === "object" && value !== null && depth < depthMax) {
    for (const inner of Object.values(value)) textsOf(inner, into, depth + 1);
  }
}

async function statusOf(named: readonly Named[]): Promise<Found[]> {
  const by = new Map<string, Set<string>>();
  for (const { reference, by: who } of named) by.set(reference, (by.get(reference) ?? new Set()).add(who));
  const looks = [...by].map(async ([reference, who]) => ({ ...(await secretStatus(reference)), by: [...who] }));
  return (await Promise.all(looks)).sort(
    (a, b) => Number(a.ok) - Number(b.ok) || a.reference.localeCompare(b.reference),
  );
}
