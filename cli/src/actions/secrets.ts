/** `rspp secrets`: references and whether they resolve (F-061); nothing here holds a secret longer than it takes to look. */
import { readFile } from "node:fs/promises";
import { resolveConfig } from "@rspp/host/config";
import { vendorCatalogue } from "@rspp/provider-gateway/vendors/catalogue";
import { isSecretReference } from "@rspp/spec/secret";
import { type SecretStatus, secretStatus } from "@rspp/store/secret";
import { osCode } from "@rspp/store/store-error";
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
  const definitions = Object.values(await loadDefinitions({ gateway: "service", livekit: true })).map((make) => make());
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
  for (const { name, keyVariable } of vendorCatalogue)
    if (process.env[keyVariable] !== undefined) named.push({ reference: `env:${keyVariable}`, by: name });
  const tools = (process.env.RSPP_TOOL_SECRETS ?? "").split(",").map((reference) => reference.trim());
  return [...named, ...tools.filter((it) => it !== "").map((reference) => ({ reference, by: "tool_secrets" }))];
}

/** Whatever is written as a reference outside of comments. */
const written = /(?<![\w.-])(?:env:[A-Z][A-Z0-9_]{0,127}|file:\/[\w./-]{1,250}|mount:[\w-][\w.-]{0,127})/g;

async function ofSpec(path: string): Promise<Named[]> {
  try {
    const text = (await readFile(path, "utf8")).replaceAll(/(^|\s)#.*$/gm, "");
    return [...text.matchAll(written)].map(([reference]) => ({ reference, by: path })).filter(isReference);
  } catch (error) {
    const what = `${path}: cannot be read (${osCode(error) || "unknown"})`;
    throw new CommandError({ status: EXIT_INPUT, reason: "file", what, remedy: "name a pipeline spec" });
  }
}

function isReference({ reference }: Named): boolean {
  return isSecretReference(reference);
}

async function statusOf(named: readonly Named[]): Promise<Found[]> {
  const by = new Map<string, Set<string>>();
  for (const { reference, by: who } of named) by.set(reference, (by.get(reference) ?? new Set()).add(who));
  const looks = [...by].map(async ([reference, who]) => ({ ...(await secretStatus(reference)), by: [...who] }));
  return (await Promise.all(looks)).sort(
    (a, b) => Number(a.ok) - Number(b.ok) || a.reference.localeCompare(b.reference),
  );
}
