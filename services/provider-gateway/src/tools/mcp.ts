/** `tool/mcp`: a tool of an MCP server, by streamable HTTP or as a child process. */
import { endedInvocation, type ManagedProvider } from "../attempt.ts";
import { readSettings, type SettingValues } from "../settings.ts";
import { headersOf, type ToolAccess } from "./access.ts";
import { ArgumentsCheck } from "./check-arguments.ts";
import { ExecutedCalls } from "./executed.ts";
import type { ToolOptions } from "./http.ts";
import { McpPool, type McpServer } from "./mcp-pool.ts";
import {
  refused,
  type ToolAnswer,
  ToolInvocation,
  type ToolPlace,
  type ToolRun,
  toolSpecs,
} from "./tool-invocation.ts";

const specs = {
  ...toolSpecs,
  url: { type: "string", default: "" },
  /** Name of a program that the gateway may run. */
  command: { type: "string", default: "" },
  /** Its name at the server. */
  tool: { type: "string", default: "" },
} as const;

type Values = SettingValues<typeof specs>;

export function createMcpTool({ clock, access, executed = new ExecutedCalls() }: ToolOptions): ManagedProvider {
  const place: ToolPlace = { clock, check: new ArgumentsCheck(), executed, running: new Set() };
  const pool = new McpPool();
  return {
    name: "tool/mcp",
    modality: "tool",
    available: () => access.any,
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      const { values } = read;
      const problem = unfit(values, access);
      if (problem !== "") return endedInvocation(clock, sink, "error", problem);
      return new ToolInvocation(place, request, sink, values, (run) => callMcp(pool, values, access, run));
    },
    close: async () => {
      for (const abort of place.running) abort.abort();
      await pool.close();
    },
  };
}

function unfit({ url, command }: Values, access: ToolAccess): string {
  if (command !== "")
    return access.command(command) === undefined ? "the tool's program may not be run; see tool_commands" : "";
  const allowed = URL.canParse(url) && access.origin(new URL(url));
  return allowed ? "" : "the tool's address may not be called; see tool_origins";
}

async function callMcp(pool: McpPool, values: Values, access: ToolAccess, run: ToolRun): Promise<ToolAnswer> {
  const found = await headersOf(values.headers, access);
  if (!found.ok) return { kind: "unauthorized", detail: found.problem, text: "" };
  const program = values.command === "" ? undefined : access.command(values.command);
  const server: McpServer =
    program === undefined ? { url: values.url, headers: found.headers } : { program, headers: found.headers };
  try {
    const { isError, text } = await pool.call(server, values.tool, run);
    if (Buffer.byteLength(text) > run.resultBytesMax)
      return refused(`the result is longer than ${run.resultBytesMax} bytes`, "the result is too long");
    if (!isError) return { kind: "success", detail: "", text };
    return { kind: "error", detail: "the tool reported an error", text: JSON.stringify({ error: text || "failed" }) };
  } catch (error) {
    return failure(error);
  }
}

/** Codes of the protocol and of the connection; messages of servers are not repeated. */
function failure(error: unknown): ToolAnswer {
  const { code, name } = error as { code?: unknown; name?: unknown };
  if (name === "UnauthorizedError" || code === 401 || code === 403)
    return { kind: "unauthorized", detail: "the MCP server refused the call", text: "" };
  if (code === -32_001) return { kind: "timeout", detail: "the MCP server did not answer in time", text: "" };
  if (code === -32_602 || code === -32_601)
    return refused(`the MCP server refused the call (${code})`, "the tool does not take these arguments");
  if (typeof code === "number" && code < -32_000 && code > -32_700)
    return { kind: "error", detail: `the MCP server failed (${code})`, text: "" };
  return { kind: "disconnect", detail: "the connection to the MCP server failed", text: "" };
}
