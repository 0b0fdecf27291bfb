/** From text to a checked layer of configuration (F-080). What it does to a pipeline is told by `layers.ts`. */
import { err, ok, type Result } from "@rspp/base/result";
import { overridesSchema } from "./overrides-schema.ts";
import { placeOf } from "./places.ts";
import { type Place, type PlaceOrigin, ProblemList, type SpecProblem } from "./problem.ts";
import { readYaml, START } from "./read-yaml.ts";
import type { CommonDocument, ProviderDocument, SettingsDocument } from "./spec.ts";
import { walkNode } from "./walk.ts";
import type { Walk } from "./walk-state.ts";

export type LayerName = "environment" | "tenant" | "session";

export interface NodeOverrides {
  settings?: SettingsDocument;
  provider?: Partial<ProviderDocument>;
}

export interface OverridesDocument
  extends Pick<
    CommonDocument,
    "schema" | "description" | "conversation" | "policy" | "budgets" | "output" | "recording"
  > {
  layer: LayerName;
  name: string;
  version: string;
  applies_to?: readonly string[];
  /** Values for session variables that the session itself does not give. */
  variables?: Readonly<Record<string, string | number | boolean>>;
  nodes?: Readonly<Record<string, NodeOverrides>>;
}

export interface Overrides extends OverridesDocument {
  origin: PlaceOrigin & {
    positions: ReadonlyMap<string, Place>;
    /** As read, to be checked once more against the kinds of the nodes it is laid over. */
    root: unknown;
    walk: Pick<Walk, "lines" | "origin">;
  };
}

/** Never throws; all problems come back at once, sorted by place. */
export function parseOverrides(text: string, fileName: string): Result<Overrides, SpecProblem[]> {
  const problems = new ProblemList(fileName);
  const yaml = readYaml(text, problems);
  if (yaml === null) return err(problems.sorted());
  const [root, second] = yaml.roots;
  // Filled in below, once the file has said which layer it is.
  const origin = { file: fileName, source: "", lines: text.split(/\r?\n/) };
  const walk: Walk = { lines: yaml.lines, origin, problems, positions: new Map() };
  const read = walkNode(walk, root, overridesSchema, "", START) as OverridesDocument | undefined;
  if (second !== undefined) {
    const message = "the file holds more than one document";
    problems.add(START, { path: "", code: "syntax", message, remedy: "put one layer in one file" });
  }
  if (read !== undefined) checkScope(read, walk);
  if (read === undefined || !problems.empty) return err(problems.sorted());
  origin.source = layerSource(read);
  const { lines } = yaml;
  return ok({ ...read, origin: { ...origin, positions: walk.positions, root, walk: { lines, origin } } });
}

/** What provenance calls the values of a layer. */
export function layerSource({ layer, name, version }: Pick<OverridesDocument, "layer" | "name" | "version">): string {
  return layer === "session" ? "session" : `${layer}/${name}@${version}`;
}

/** Ids of nodes mean something in pipelines that are named; elsewhere a misspelt one would go unseen. */
function checkScope({ layer, nodes, applies_to }: OverridesDocument, { problems, positions }: Walk): void {
  if (nodes === undefined || applies_to !== undefined || layer === "session") return;
  const message = "nodes belong to a pipeline, and this layer names none";
  const remedy = 'add "applies_to: [NAME]" with the pipelines that have these nodes';
  problems.add(placeOf(positions, "nodes"), { path: "nodes", code: "missing_field", message, remedy });
}
