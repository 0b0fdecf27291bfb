/** `rspp route`: endpoint and token of a session to come (F-119). The token goes to a file, never to a log. */
import { randomUUID } from "node:crypto";
import { open } from "node:fs/promises";
import type { JsonObject } from "@bufbuild/protobuf";
import type { SessionRoute } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { RouteCommandOptions, RouteOptions } from "../commands/route.ts";
import { CommandError, EXIT_FAILED, EXIT_INPUT, EXIT_OK, usageError } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { facts } from "../output/table.ts";
import { timeWords } from "../output/words.ts";
import { connectTo } from "../platform-client/connect.ts";
import { pipelineName } from "../registry-view.ts";

/** Asks the registry for a route. */
export async function askRoute(pipeline: string, options: RouteOptions): Promise<SessionRoute> {
  const { name, version } = pipelineName(pipeline);
  const variables = variablesOf(options.var ?? []);
  const registry = connectTo("registry", options.registry, RegistryService, options);
  const { route: found } = await registry.ask((client) =>
    client.createRoute({
      tenantId: options.tenant,
      pipelineName: name,
      pipelineVersion: version,
      transport: options.transport ?? "websocket",
      sessionId: options.session ?? "",
      region: options.region ?? "",
      variables,
      idempotencyKey: randomUUID(),
    }),
  );
  if (found === undefined)
    throw new CommandError({
      status: EXIT_FAILED,
      reason: "no_route",
      what: `the registry at ${registry.url} gave no route`,
      remedy: "see its log",
    });
  return found;
}

export async function route(pipeline: string, options: RouteCommandOptions): Promise<number> {
  if (options.showToken && options.tokenFile !== undefined)
    throw usageError("--show-token and --token-file are one or the other", "leave one of them out");
  const printer = createPrinter(options.json ?? false);
  const found = await askRoute(pipeline, options);
  const session = found.session?.sessionId ?? "";
  const file = options.showToken ? "" : (options.tokenFile ?? `${session.replace(/[^\w.-]/g, "_")}.token`);
  if (file !== "") await writeToken(file, found.token);
  const version = `${found.pipeline?.name}@${found.pipeline?.version}`;
  const expiresWallMs = Number(found.expiresWallMs);
  printer.data({
    session,
    tenant: found.session?.tenantId ?? "",
    pipeline: version,
    transport: found.endpoint?.transport ?? "",
    endpoint: found.endpoint?.url ?? "",
    instance: found.instanceId,
    expires_wall_ms: expiresWallMs,
    ...(file === "" ? { token: found.token } : { token_file: file }),
  });
  printer.lines(
    facts([
      ["session", paint("bold", session)],
      ["pipeline", version],
      ["endpoint", `${found.endpoint?.url} (${found.endpoint?.transport})`],
      ["runtime", found.instanceId],
      ["token", file === "" ? found.token : `in ${file}`],
      ["valid until", timeWords(expiresWallMs)],
    ]),
  );
  return EXIT_OK;
}

/** Readable by its owner alone, also where the file stood there with other rights. */
async function writeToken(path: string, token: string): Promise<void> {
  try {
    const handle = await open(path, "w", 0o600);
    try {
      await handle.chmod(0o600);
      await handle.writeFile(token);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "error";
    throw new CommandError({
      status: EXIT_INPUT,
      reason: "token_file",
      what: `--token-file ${path}: cannot be written (${code})`,
      remedy: "name a file in a folder you may write to; the session that was admitted lapses by itself",
    });
  }
}

/** @throws CommandError for what is no `name=value`. */
export function variablesOf(words: readonly string[]): JsonObject {
  return Object.fromEntries(
    words.map((word) => {
      const [, name, value = ""] = /^([^=]{1,64})=(.*)$/s.exec(word) ?? [];
      if (name === undefined) throw usageError("--var: a variable is written name=value", "e.g. --var caller=Ada");
      return [name, jsonOrText(value)];
    }),
  );
}

function jsonOrText(value: string): JsonObject[string] {
  try {
    return JSON.parse(value) as JsonObject[string];
  } catch {
    return value;
  }
}
