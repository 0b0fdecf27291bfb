/**
 * Layered configuration (F-080). Values come from the profile, the pipeline, then the environment, the tenant and the session;
 * the last one that gives a value wins. Maps are merged field by field, texts, numbers, truth values and lists are replaced
 * whole. The result is a spec like any other: it is checked and compiled as one, and each value knows its layer.
 */
import { err, ok, type Result } from "@rspp/base/result";
import { resolveProfile } from "@rspp/kernel/profile";
import { isMap } from "yaml";
import { PROFILE_DEFAULT } from "./check-values.ts";
import { suggest } from "./nearest.ts";
import type { LayerName, NodeOverrides, Overrides } from "./overrides.ts";
import { layerSource } from "./overrides.ts";
import { LAYERS } from "./overrides-schema.ts";
import { placeOf } from "./places.ts";
import { type Place, type ProblemCode, ProblemList, type SpecProblem } from "./problem.ts";
import type { NodeDocument, PipelineSpec, ProviderDocument, VariableDocument } from "./spec.ts";
import { settingsSchemaOf } from "./spec-schema.ts";
import { wrongValue } from "./variables.ts";
import { walkNode } from "./walk.ts";

interface Laying {
  over: Overrides;
  spec: PipelineSpec;
  positions: Map<string, Place>;
  problems: ProblemList;
}

/**
 * Lays them over the spec, environments first, sessions last; a layer for other pipelines does nothing. `err`: what a layer
 * may not do to this pipeline, placed in the layer's file. The outcome is checked by `compileSpec`.
 */
export function applyLayers(spec: PipelineSpec, layers: readonly Overrides[]): Result<PipelineSpec, SpecProblem[]> {
  const problems = new ProblemList(spec.origin.file);
  const rank = ({ layer }: { layer: LayerName }): number => LAYERS.indexOf(layer);
  const ordered = layers
    .filter(({ applies_to: names }) => names === undefined || names.includes(spec.name))
    .sort((a, b) => rank(a) - rank(b));
  let layered = spec;
  for (const over of ordered) {
    const positions = new Map(layered.origin.positions);
    layered = applyOne({ over, spec: layered, positions, problems });
  }
  return problems.empty ? ok(layered) : err(problems.sorted());
}

const sections = ["conversation", "policy", "budgets", "output", "recording"] as const;

function applyOne(laying: Laying): PipelineSpec {
  const { over, spec, positions } = laying;
  checkRecording(laying);
  const merged: Record<string, unknown> = { ...spec };
  for (const section of sections) {
    const given = over[section];
    if (given === undefined) continue;
    merged[section] = mergedMap(laying, (spec[section] ?? {}) as Loose, given as Loose, section, section);
  }
  const variables = layVariables(laying);
  const nodes = layNodes(laying);
  const layers = [...(spec.origin.layers ?? []), layerSource(over)];
  return {
    ...(merged as unknown as PipelineSpec),
    ...(variables === undefined ? {} : { variables }),
    nodes,
    origin: { ...spec.origin, positions, layers },
  };
}

type Loose = Readonly<Record<string, unknown>>;

/** Field by field, maps within as well; what is replaced takes the place of what replaces it. */
function mergedMap(laying: Laying, base: Loose, given: Loose, path: string, from: string): Loose {
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(given)) {
    const [to, at] = [`${path}.${key}`, `${from}.${key}`];
    if (isPlainMap(value) && isPlainMap(result[key])) {
      result[key] = mergedMap(laying, result[key], value, to, at);
      continue;
    }
    result[key] = value;
    replacePlaces(laying, to, at);
  }
  return result;
}

function isPlainMap(value: unknown): value is Loose {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What stood below `to` is gone; what the layer has below `from` stands there now. */
function replacePlaces({ over, positions }: Laying, to: string, from: string): void {
  const below = (path: string, of: string): boolean =>
    path === of || path.startsWith(`${of}.`) || path.startsWith(`${of}[`);
  for (const path of positions.keys()) if (below(path, to)) positions.delete(path);
  const { file, source, lines } = over.origin;
  const origin = { file, source, ...(lines === undefined ? {} : { lines }) };
  for (const [path, { line, column }] of over.origin.positions) {
    if (below(path, from)) positions.set(to + path.slice(from.length), { line, column, path, origin });
  }
}

function refuse({ over, problems }: Laying, path: string, code: ProblemCode, message: string, remedy: string): void {
  problems.add(placeOf(over.origin.positions, path), { path, code, message, remedy });
}

const LEVELS = ["L0", "L1", "L2"];

/** A layer may keep less of a call than its pipeline says, never more: more needs a permission of its own (F-153). */
function checkRecording(laying: Laying): void {
  const { over, spec } = laying;
  const profile = resolveProfile(spec.profile ?? PROFILE_DEFAULT);
  const ceiling = spec.recording?.level ?? (profile.ok ? profile.value.recording.ceiling : "L0");
  const [most, given] = [spec.recording?.sample_percent ?? 100, over.recording?.sample_percent ?? 0];
  if (given > most) {
    const message = `sampling ${given} % is above ${most} %, which the pipeline and the layers below it record`;
    refuse(laying, "recording.sample_percent", "layer_refused", message, `use ${most} or less here`);
  }
  const level = over.recording?.level;
  if (level === undefined || LEVELS.indexOf(level) <= LEVELS.indexOf(ceiling)) return;
  const message = `level ${level} is above ${ceiling}, which the pipeline and the layers below it record at`;
  const remedy = `use ${ceiling} or less here, or publish the pipeline with recording.level: ${level}`;
  refuse(laying, "recording.level", "layer_refused", message, remedy);
}

function layVariables(laying: Laying): Record<string, VariableDocument> | undefined {
  const { over, spec } = laying;
  if (over.variables === undefined) return undefined;
  const declared: Record<string, VariableDocument> = { ...spec.variables };
  for (const [name, value] of Object.entries(over.variables)) {
    const from = `variables.${name}`;
    const declaration = Object.hasOwn(declared, name) ? declared[name] : undefined;
    if (declaration === undefined) {
      // Of a layer for all pipelines, each takes what it knows.
      if (over.applies_to === undefined) continue;
      const remedy = suggest(name, Object.keys(declared), "variables");
      refuse(laying, from, "unknown_variable", `pipeline ${spec.name} has no variable "${name}"`, remedy);
      continue;
    }
    const wrong = wrongValue(declaration, value);
    if (wrong !== null) {
      refuse(laying, from, "not_allowed", `variable "${name}" ${wrong.message}`, wrong.remedy);
      continue;
    }
    const { required: _, ...rest } = declaration;
    declared[name] = { ...rest, default: value };
    replacePlaces(laying, `${from}.default`, from);
  }
  return declared;
}

function layNodes(laying: Laying): readonly NodeDocument[] {
  const { over, spec } = laying;
  const nodes = [...spec.nodes];
  for (const [id, given] of Object.entries(over.nodes ?? {})) {
    const index = nodes.findIndex((node) => node.id === id);
    const node = nodes[index];
    if (node !== undefined) nodes[index] = layNode(laying, node, given, index);
    else {
      const ids = nodes.map((known) => known.id);
      refuse(
        laying,
        `nodes.${id}`,
        "unknown_node",
        `pipeline ${spec.name} has no node "${id}"`,
        suggest(id, ids, "nodes"),
      );
    }
  }
  return nodes;
}

function layNode(laying: Laying, node: NodeDocument, given: NodeOverrides, index: number): NodeDocument {
  const [to, from] = [`nodes[${index}]`, `nodes.${node.id}`];
  checkSettings(laying, node, given);
  if (given.provider !== undefined && node.provider === undefined) {
    const message = `node "${node.id}" of kind ${node.kind} has no provider`;
    refuse(laying, `${from}.provider`, "not_allowed", message, "remove it");
  }
  const settings =
    given.settings === undefined
      ? {}
      : { settings: mergedMap(laying, node.settings ?? {}, given.settings, `${to}.settings`, `${from}.settings`) };
  const provider =
    given.provider === undefined || node.provider === undefined
      ? {}
      : {
          provider: mergedMap(
            laying,
            { ...node.provider },
            given.provider as Loose,
            `${to}.provider`,
            `${from}.provider`,
          ) as unknown as ProviderDocument,
        };
  return { ...node, ...(settings as Pick<NodeDocument, "settings">), ...provider };
}

/** The settings of a kind are known only here: each is checked as in a spec. */
function checkSettings(laying: Laying, { id, kind }: NodeDocument, given: NodeOverrides): void {
  if (given.settings === undefined) return;
  const { over, problems } = laying;
  const path = `nodes.${id}.settings`;
  // What a package takes is told by the package, where it is at hand (`check-custom-nodes.ts`).
  if (kind === "custom") return;
  const schema = settingsSchemaOf(kind);
  if (schema === undefined) {
    refuse(laying, path, "not_allowed", `a node of kind ${kind} has no settings`, "remove them");
    return;
  }
  const { root, walk } = over.origin;
  const written: unknown = isMap(root) ? root.getIn(["nodes", id, "settings"], true) : undefined;
  walkNode({ ...walk, problems, positions: new Map() }, written, schema, path, placeOf(over.origin.positions, path));
}
