/** Rules between the fields of a language model's tools. */
import type { Report } from "./check-graph.ts";
import { looseField } from "./graph-view.ts";

export const TOOL_DEADLINE_MS = 5_000;

/** @param node a walked node; fields that were wrong are absent. */
export function checkTools(node: unknown, path: string, report: Report): void {
  const tools = looseField(node, "tools");
  if (!Array.isArray(tools)) {
    if (looseField(node, "tool_limits") === undefined) return;
    report({
      path: `${path}.tool_limits`,
      code: "not_allowed",
      message: "limits of tools without tools",
      remedy: 'add "tools:" or remove them',
    });
    return;
  }
  const names = new Map<unknown, number>();
  for (const [i, tool] of tools.entries()) {
    const at = `${path}.tools[${i}]`;
    const name = looseField(tool, "name");
    if (name !== undefined && names.has(name))
      report({
        path: `${at}.name`,
        code: "duplicate_id",
        message: `two tools are named ${String(name)}`,
        remedy: "give one of them another name",
      });
    names.set(name, i);
    checkTool(tool, at, report);
  }
}

function checkTool(tool: unknown, path: string, report: Report): void {
  const [http, mcp] = [looseField(tool, "http"), looseField(tool, "mcp")];
  if ((http === undefined) === (mcp === undefined))
    report({
      path,
      code: "not_allowed",
      message: http === undefined ? "a tool that cannot be called" : "a tool that is called in two ways",
      remedy: 'give it either "http:" with a url or "mcp:" with a url or command',
    });
  if (mcp !== undefined && (looseField(mcp, "url") === undefined) === (looseField(mcp, "command") === undefined))
    report({
      path: `${path}.mcp`,
      code: "not_allowed",
      message: "an MCP server has either a url or a command",
      remedy: "keep one of them",
    });
  const parameters = looseField(tool, "parameters");
  if (parameters !== undefined && looseField(parameters, "type") !== "object")
    report({
      path: `${path}.parameters`,
      code: "bad_format",
      message: "the parameters of a tool are the JSON Schema of an object",
      remedy: 'write "type: object" and its "properties:"',
    });
  const afterMs = looseField(looseField(tool, "filler"), "after_ms");
  const deadlineMs = looseField(tool, "deadline_ms") ?? TOOL_DEADLINE_MS;
  if (typeof afterMs === "number" && typeof deadlineMs === "number" && afterMs >= deadlineMs)
    report({
      path: `${path}.filler.after_ms`,
      code: "not_allowed",
      message: `filler after ${afterMs} ms would never be said: the deadline is ${deadlineMs} ms`,
      remedy: "choose a shorter wait, or a longer deadline_ms",
    });
}
