/**
 * What the tools of a gateway may reach. Pipelines come from tenants, so the operator says which addresses, programs
 * and secrets they may name; without that there are none.
 */
import { secretSource } from "@rspp/store/secret";

export interface ToolAccess {
  /** Whether a webhook or MCP server at this address may be called. */
  origin(url: URL): boolean;
  /** Program and arguments behind a `command`; undefined where it may not be run. */
  command(name: string): readonly string[] | undefined;
  /** The value of a reference (`env:NAME`, `file:/path`); undefined where no pipeline may name it, or it is not there. */
  secret(reference: string): Promise<string | undefined>;
  /** Whether anything at all may be called. */
  readonly any: boolean;
}

export interface ToolAccessLists {
  /** `https://host:port`; `*` for any. */
  readonly origins: readonly string[];
  /** `name=program argument …`. */
  readonly commands: readonly string[];
  /** References that headers may name. */
  readonly secrets: readonly string[];
}

export const noToolAccess: ToolAccess = toolAccess({ origins: [], commands: [], secrets: [] });

export function toolAccess(
  { origins, commands, secrets }: ToolAccessLists,
  env: Readonly<Record<string, string | undefined>> = process.env,
): ToolAccess {
  const programs = new Map(
    commands.map((line) => {
      const [name = "", program = ""] = [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)];
      return [name.trim(), program.trim().split(/\s+/)];
    }),
  );
  return {
    origin: (url) => origins.includes("*") || origins.includes(url.origin),
    command: (name) => programs.get(name),
    secret: async (reference) => {
      if (!secrets.includes(reference)) return undefined;
      return secretSource(reference, env)
        .read()
        .then(
          (found) => found.reveal(),
          () => undefined,
        );
    },
    any: origins.length > 0 || programs.size > 0,
  };
}

/** From the environment, for a gateway inside another process; keys as of the service's configuration. */
export function toolAccessOf(env: Readonly<Record<string, string | undefined>>): ToolAccess {
  return toolAccessFrom(
    {
      tool_origins: env.RSPP_TOOL_ORIGINS ?? "",
      tool_commands: env.RSPP_TOOL_COMMANDS ?? "",
      tool_secrets: env.RSPP_TOOL_SECRETS ?? "",
    },
    env,
  );
}

export function toolAccessFrom(
  values: Readonly<Record<"tool_origins" | "tool_commands" | "tool_secrets", string>>,
  env: Readonly<Record<string, string | undefined>>,
): ToolAccess {
  const list = (text: string): string[] =>
    text
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== "");
  const { tool_origins, tool_commands, tool_secrets } = values;
  return toolAccess({ origins: list(tool_origins), commands: list(tool_commands), secrets: list(tool_secrets) }, env);
}

export type Headers = { readonly ok: true; readonly headers: Record<string, string> } | { ok: false; problem: string };

/** `name: reference` lines with their values. Names the reference at most, never a value. */
export async function headersOf(lines: readonly string[], access: ToolAccess): Promise<Headers> {
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const at = line.indexOf(": ");
    const value = await access.secret(line.slice(at + 2));
    if (value === undefined)
      return { ok: false, problem: "a header's secret may not be named by pipelines, or is not set; see tool_secrets" };
    headers[line.slice(0, at)] = value;
  }
  return { ok: true, headers };
}
