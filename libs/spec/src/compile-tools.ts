/** A language model's tools as the kernel runs them (X-03): every value present, each with its source. */
import { canonicalJson } from "@rspp/base/canonical-json";
import type { ProviderCandidate, Settings, ToolDefinition, ToolLimits } from "@rspp/kernel/graph";
import { TOOL_DEADLINE_MS } from "./check-tools.ts";
import type { Sources } from "./sources.ts";
import type { NodeDocument, ToolDocument } from "./spec.ts";

const DEFAULTS: ToolLimits = {
  perTurnMax: 8,
  roundsMax: 4,
  parallelMax: 4,
  resultBytesMax: 16_384,
  lateResult: "note",
};

export interface CompiledTools {
  tools?: readonly ToolDefinition[];
  toolLimits?: ToolLimits;
}

/** Nothing at all where the node has no tools, so that the graphs of before are what they were. */
export function compileTools(node: NodeDocument, index: number, sources: Sources): CompiledTools {
  const { tools } = node;
  if (tools === undefined) return {};
  const toolLimits = compileLimits(node, index, sources);
  return { tools: tools.map((tool, i) => compileTool(node, tool, [index, i], toolLimits, sources)), toolLimits };
}

function compileLimits({ id, tool_limits: given = {} }: NodeDocument, index: number, sources: Sources): ToolLimits {
  const pick = <K extends keyof ToolLimits>(field: K, key: string, value: ToolLimits[K] | undefined): ToolLimits[K] => {
    const source = value === undefined ? "node_kind/llm" : sources.written(`nodes[${index}].tool_limits.${key}`);
    sources.note(`nodes.${id}.toolLimits.${field}`, source);
    return value ?? DEFAULTS[field];
  };
  return {
    perTurnMax: pick("perTurnMax", "per_turn_max", given.per_turn_max),
    roundsMax: pick("roundsMax", "rounds_max", given.rounds_max),
    parallelMax: pick("parallelMax", "parallel_max", given.parallel_max),
    resultBytesMax: pick("resultBytesMax", "result_bytes_max", given.result_bytes_max),
    lateResult: pick("lateResult", "late_result", given.late_result),
  };
}

function compileTool(
  node: NodeDocument,
  tool: ToolDocument,
  [index, at]: readonly [number, number],
  toolLimits: ToolLimits,
  sources: Sources,
): ToolDefinition {
  const path = `nodes.${node.id}.tools.${tool.name}`;
  const specPath = `nodes[${index}].tools[${at}]`;
  const note = (field: string, key: string, given: unknown): void =>
    sources.note(`${path}.${field}`, given === undefined ? "node_kind/llm" : sources.written(`${specPath}.${key}`));
  note("description", "description", tool.description);
  note("parameters", "parameters", tool.parameters);
  note("sideEffect", "side_effect", tool.side_effect);
  note("deadlineMs", "deadline_ms", tool.deadline_ms);
  const parameters = canonicalJson(tool.parameters ?? { type: "object", properties: {} });
  const definition: ToolDefinition = {
    name: tool.name,
    description: tool.description,
    parameters,
    sideEffect: tool.side_effect,
    deadlineMs: tool.deadline_ms ?? TOOL_DEADLINE_MS,
    candidates: [candidateOf(tool, parameters, toolLimits)],
  };
  sources.take(`${path}.provider`, specPath);
  for (const key of Object.keys(definition.candidates[0]?.settings ?? {}))
    sources.take(`${path}.settings.${key}`, specPath);
  if (tool.filler === undefined) return definition;
  note("filler.text", "filler.text", tool.filler.text);
  note("filler.afterMs", "filler.after_ms", tool.filler.after_ms);
  return { ...definition, filler: { text: spoken(tool.filler.text), afterMs: tool.filler.after_ms } };
}

/** A clause of its own: it ends like a sentence, so that nothing waits for the words after it. */
function spoken(text: string): string {
  const said = text.trim();
  return `${/[.!?…。！？]$/.test(said) ? said : `${said}.`} `;
}

/** What the executor is told, as settings: what of it is secret is a reference. */
function candidateOf(tool: ToolDocument, parameters: string, { resultBytesMax }: ToolLimits): ProviderCandidate {
  const { http, mcp, side_effect, name } = tool;
  const common: Settings = { parameters, side_effect, result_bytes_max: resultBytesMax };
  const headers = Object.entries(http?.headers ?? mcp?.headers ?? {}).map(([key, value]) => `${key}: ${value}`);
  const more: Settings = headers.length === 0 ? {} : { headers };
  if (http !== undefined) {
    const settings = { ...common, url: http.url, method: http.method ?? "POST", ...more };
    return { provider: "tool/http", settings };
  }
  const server: Settings = mcp?.url === undefined ? { command: mcp?.command ?? "" } : { url: mcp.url };
  return { provider: "tool/mcp", settings: { ...common, ...server, tool: mcp?.tool ?? name, ...more } };
}
