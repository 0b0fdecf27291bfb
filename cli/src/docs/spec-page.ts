/** The page of the PipelineSpec: every field with type, limits, default and meaning, and the shipped template as example. */
import { readFileSync } from "node:fs";
import { compileSpec } from "@rspp/spec/compile-spec";
import { explainRows } from "@rspp/spec/explain-spec";
import { type JsonSchema, pipelineJsonSchema } from "@rspp/spec/json-schema";
import { parseSpec } from "@rspp/spec/parse-spec";
import { cell, code, markdownTable } from "./markdown.ts";

export interface SpecField {
  /** E.g. `nodes[].settings.min_speech_ms`. */
  readonly path: string;
  readonly type: string;
  readonly required: boolean;
  readonly limits: string;
  /** Node kinds it belongs to; empty for every one. */
  readonly kinds: readonly string[];
}

const depthMax = 8;

type Node = Readonly<Record<string, unknown>>;

/** The fields of a spec, depth first, each once; the short form of a field stands before its long form. */
export function specFields(schema: JsonSchema = pipelineJsonSchema()): SpecField[] {
  const [spec] = listOf(schema.anyOf);
  const fields = new Map<string, SpecField>();
  walk(spec ?? {}, { path: "", required: false, kind: "", depth: 0 }, fields);
  const kinds = new Set([...fields.values()].flatMap((field) => field.kinds));
  // What belongs to every kind of node says nothing about kinds.
  return [...fields.values()].map((field) => (field.kinds.length === kinds.size ? { ...field, kinds: [] } : field));
}

interface Place {
  readonly path: string;
  readonly required: boolean;
  /** Node kind whose form this is; "" outside of nodes. */
  readonly kind: string;
  readonly depth: number;
}

function walk(node: Node, place: Place, fields: Map<string, SpecField>): void {
  const { path, depth } = place;
  if (depth > depthMax) return;
  const inside = { ...place, required: false, depth: depth + 1 };
  const forms = listOf(node.anyOf);
  if (path !== "" && forms.length === 0) note(node, place, fields);
  for (const form of forms) walk(form, { ...inside, required: place.required }, fields);
  const must = Array.isArray(node.required) ? node.required : [];
  const properties = (node.properties ?? {}) as Record<string, Node>;
  const kind = typeof properties.kind?.const === "string" ? properties.kind.const : place.kind;
  for (const [name, child] of Object.entries(properties))
    walk(
      child,
      { ...inside, kind, path: path === "" ? name : `${path}.${name}`, required: must.includes(name) },
      fields,
    );
  if (isNode(node.items)) walk(node.items, { ...inside, path: `${path}[]` }, fields);
  if (isNode(node.additionalProperties)) walk(node.additionalProperties, { ...inside, path: `${path}.*` }, fields);
}

function note(node: Node, { path, required, kind }: Place, fields: Map<string, SpecField>): void {
  const own: SpecField = {
    path,
    type: typeOf(node),
    required,
    limits: limitsOf(node),
    kinds: kind === "" ? [] : [kind],
  };
  const known = fields.get(path);
  if (known === undefined) return void fields.set(path, own);
  const joined = (a: string, b: string, by: string): string => (a.split(by).includes(b) ? a : `${a}${by}${b}`);
  fields.set(path, {
    path,
    type: joined(known.type, own.type, ", "),
    required: known.required && required,
    limits: known.limits === "" ? own.limits : known.limits,
    kinds: [...new Set([...known.kinds, ...own.kinds])],
  });
}

function typeOf(node: Node): string {
  if (node.const !== undefined) return `\`${String(node.const)}\``;
  return Array.isArray(node.type) ? node.type.join(" or ") : String(node.type ?? "any");
}

function limitsOf(node: Node): string {
  const parts = [
    Array.isArray(node.enum) ? `one of ${node.enum.map((word) => `\`${String(word)}\``).join(", ")}` : "",
    node.minimum === undefined ? "" : `${String(node.minimum)} to ${String(node.maximum)}`,
    node.maxLength === undefined ? "" : `${String(node.minLength)} to ${String(node.maxLength)} characters`,
    node.maxItems === undefined ? "" : `${String(node.minItems)} to ${String(node.maxItems)} items`,
    node.maxProperties === undefined ? "" : `at most ${String(node.maxProperties)} entries`,
    typeof node.description === "string" ? node.description : "",
  ];
  return parts.filter((part) => part !== "").join(", ");
}

function listOf(value: unknown): Node[] {
  return Array.isArray(value) ? value.filter(isNode) : [];
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const templateFile = new URL("../../../pipelines/specs/voice-assistant.yaml", import.meta.url);
const least = `schema: rspp/pipeline/v1
name: least
version: 1
nodes:
  - {id: caller, kind: ingress}
  - {id: output, kind: output}
edges:
  - caller.audio -> output.audio
`;

/** Values the profile gives where a spec says nothing, by path in the spec's own names. */
export function specDefaults(): ReadonlyMap<string, string> {
  const parsed = parseSpec(least, "least.yaml");
  const compiled = parsed.ok ? compileSpec(parsed.value) : parsed;
  const defaults = new Map<string, string>();
  if (!compiled.ok) return defaults;
  for (const { path, value, source } of explainRows(compiled.value)) {
    if (source === "spec") continue;
    const snake = path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    defaults.set(renamed[snake] ?? snake.replace(/^edges\.[^ ]+?\.buffer\./, "edges[].buffer."), value);
  }
  return defaults;
}

/** Where the compiled pipeline has another name than the spec. */
const renamed: Readonly<Record<string, string>> = {
  output_lead_ms: "output.lead_ms",
  "recording.ceiling": "recording.level",
};

/** What the template's author wrote beside a field, by the field's name. */
export function templateWords(template: string): ReadonlyMap<string, string> {
  const words = new Map<string, string>();
  for (const [, name = "", about = ""] of template.matchAll(/^[\s-]*(\w+):[^#\n]*#\s*(.+)$/gm))
    if (!words.has(name)) words.set(name, about.trim());
  return words;
}

export function specPage(version: string): string {
  const template = readFileSync(templateFile, "utf8");
  const about = templateWords(template);
  const defaults = specDefaults();
  const rows = specFields().map(({ path, type, required, limits, kinds }) => [
    `\`${path}\`${kinds.length === 0 ? "" : ` (${kinds.join(", ")})`}`,
    cell(type),
    required ? "yes" : "",
    cell(limits),
    defaults.has(path) ? `\`${cell(defaults.get(path) ?? "")}\`` : "",
    cell(about.get(path.replace(/^.*[.\]]\.?/, "")) ?? ""),
  ]);
  return [
    "# PipelineSpec",
    "",
    version,
    "",
    "A file in YAML or JSON. Defaults come from the profile (`simple/v1`); `rspp lint SPEC --explain` shows each resulting",
    "value with its source. `pipelines/pipeline.schema.json` gives editors completion.",
    "",
    "## Fields",
    "",
    ...markdownTable(["field", "type", "required", "limits", "default", "about"], rows),
    "## Example",
    "",
    ...code("yaml", template.trimEnd()),
  ].join("\n");
}
