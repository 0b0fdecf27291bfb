/** The resolved pipeline as a table for people: each value beside its source (F-078, F-079). */
import { canonicalJson } from "@rspp/base/canonical-json";
import type { ToolDefinition } from "@rspp/kernel/graph";
import { resilienceValues } from "./compile-resilience.ts";
import type { CompiledPipeline } from "./compiled.ts";

export interface ExplainRow {
  path: string;
  value: string;
  source: string;
}

const valueCharsMax = 60;

/** One row per value, in the order of the compiled pipeline. */
export function explainRows(compiled: CompiledPipeline): ExplainRow[] {
  return [...compiledValues(compiled)].map(([path, value]) => ({
    path,
    value: shown(value),
    source: compiled.provenance[path] ?? "unknown",
  }));
}

/** Every value a session starts with, by provenance path. */
export function* compiledValues(compiled: CompiledPipeline): Generator<[string, unknown]> {
  const { graph } = compiled;
  for (const key of ["name", "version", "profile"] as const) yield [key, compiled[key]];
  for (const node of graph.nodes) {
    const path = `nodes.${node.id}`;
    yield [`${path}.kind`, node.kind];
    yield [`${path}.scope`, node.scope];
    if (node.retries !== undefined) yield [`${path}.retries`, node.retries];
    if (node.fallback !== undefined) yield [`${path}.fallback`, node.fallback];
    yield* fields(`${path}.settings`, node.settings);
    for (const [i, candidate] of node.candidates.entries()) {
      yield [`${path}.candidates[${i}].provider`, candidate.provider];
      yield* fields(`${path}.candidates[${i}].settings`, candidate.settings);
    }
    for (const tool of node.tools ?? []) yield* toolFields(`${path}.tools.${tool.name}`, tool);
    yield* fields(`${path}.toolLimits`, node.toolLimits ?? {});
  }
  for (const edge of graph.edges) {
    const path = `edges.${edge.id}`;
    yield [`${path}.from`, `${edge.from.node}.${edge.from.port}`];
    yield [`${path}.to`, `${edge.to.node}.${edge.to.port}`];
    yield [`${path}.type`, edge.type];
    if (edge.condition !== undefined) yield [`${path}.condition`, edge.condition.source];
    const { source: _, ...buffer } = edge.buffer;
    yield* fields(`${path}.buffer`, buffer);
  }
  yield* resilienceValues(graph);
  yield* fields("policy", compiled.policy);
  yield* fields("budgets", compiled.budgets);
  yield* fields("recording", compiled.recording);
  for (const [name, { default: fallback, type }] of Object.entries(compiled.variables ?? {})) {
    if (fallback === undefined) yield [`variables.${name}`, type];
    else yield [`variables.${name}.default`, fallback];
  }
  for (const key of ["outputLeadMs", "greeting", "systemPrompt", "sttGrammar"] as const) {
    if (compiled[key] !== undefined) yield [key, compiled[key]];
  }
  yield* fields("spoken", compiled.spoken ?? {});
}

function* toolFields(path: string, tool: ToolDefinition): Generator<[string, unknown]> {
  const { description, parameters, sideEffect, deadlineMs, filler = {} } = tool;
  yield* fields(path, { description, parameters, sideEffect, deadlineMs });
  yield* fields(`${path}.filler`, filler);
  for (const { provider, settings } of tool.candidates) {
    yield [`${path}.provider`, provider];
    yield* fields(`${path}.settings`, settings);
  }
}

function* fields(path: string, values: object): Generator<[string, unknown]> {
  for (const [key, value] of Object.entries(values)) yield [`${path}.${key}`, value];
}

function shown(value: unknown): string {
  const text = (typeof value === "string" ? value : canonicalJson(value)).replace(/\s+/g, " ");
  return text.length > valueCharsMax ? `${text.slice(0, valueCharsMax - 1)}…` : text;
}

/** Head line with fingerprint, then `path  value  source` in columns. */
export function explainSpec(compiled: CompiledPipeline): string {
  const rows = explainRows(compiled);
  const width = (field: "path" | "value"): number => Math.max(field.length, ...rows.map((row) => row[field].length));
  const [pathWidth, valueWidth] = [width("path"), width("value")];
  const line = (path: string, value: string, source: string): string =>
    `${path.padEnd(pathWidth)}  ${value.padEnd(valueWidth)}  ${source}`;
  const head = `pipeline ${compiled.graph.pipelineVersion}, fingerprint ${compiled.fingerprint}`;
  return [head, "", line("path", "value", "source"), ...rows.map((row) => line(row.path, row.value, row.source))].join(
    "\n",
  );
}
