/** From text to a checked PipelineSpec (F-001, F-002, F-019, F-079). YAML 1.2, of which JSON is a part; errors are values. */
import { err, ok, type Result } from "@rspp/base/result";
import { isMap } from "yaml";
import { checkScopedBudgets } from "./check-budgets.ts";
import { checkCustomNodes } from "./check-custom-nodes.ts";
import { checkGraph, type Report } from "./check-graph.ts";
import { checkPostures } from "./check-postures.ts";
import { checkProfile, checkValues } from "./check-values.ts";
import { checkVariables } from "./check-variables.ts";
import { type Expanded, expandModules } from "./expand-modules.ts";
import { viewGraph } from "./graph-view.ts";
import { HeldModules, type ModuleLibrary } from "./module-library.ts";
import { suggest } from "./nearest.ts";
import type { SpecOptions } from "./node-catalogue.ts";
import { reporter } from "./places.ts";
import { type Place, ProblemList, type SpecProblem } from "./problem.ts";
import { readYaml, START } from "./read-yaml.ts";
import type { PipelineSpec, SpecDocument, SpecOrigin, TemplateDocument } from "./spec.ts";
import { specSchema, templateSchema } from "./spec-schema.ts";
import {
  fillTemplate,
  TEMPLATE_NAMES,
  TEMPLATE_PROVIDER_PATHS,
  type TemplateInput,
  templateDocument,
  templateSource,
} from "./template.ts";
import { walkNode } from "./walk.ts";
import type { Walk } from "./walk-state.ts";

export type Parsed = Result<PipelineSpec, SpecProblem[]>;

/**
 * Reads and checks a spec: a pipeline written out, or a template file (`template:` and `providers:`). Modules it uses stand
 * behind it as documents of the same text, or come from the library.
 *
 * Never throws. All problems come back at once, sorted by place; after a syntax error only syntax errors do.
 *
 * @param fileName used in errors only.
 * @param library default none: the text must hold what it uses.
 */
export function parseSpec(text: string, fileName: string, library?: ModuleLibrary, options: SpecOptions = {}): Parsed {
  const problems = new ProblemList(fileName);
  const yaml = readYaml(text, problems);
  if (yaml === null) return err(problems.sorted());
  const modules = new HeldModules(problems, library);
  modules.addBundled(yaml, fileName);
  if (!problems.empty) return err(problems.sorted());
  const walk: Walk = { lines: yaml.lines, problems, positions: new Map() };
  const [root] = yaml.roots;
  const parsed =
    isMap(root) && root.has("template")
      ? readTemplate(walk, root, fileName)
      : readFull(walk, root, fileName, { modules, options });
  return parsed === null ? err(problems.sorted()) : ok(parsed);
}

/**
 * A full spec from provider configuration alone (F-079). Errors as of `parseSpec`, placed in the file
 * `template:<name>`.
 */
export function expandTemplate(input: TemplateInput): Parsed {
  return parseSpec(JSON.stringify(templateDocument(input), null, 2), `template:${input.template}`);
}

/** The problems of a spec that has been read: graph, profile and rules between values. */
export function checkSpec(spec: PipelineSpec, options: SpecOptions = {}): SpecProblem[] {
  const problems = new ProblemList(spec.origin.file);
  checkDocument(spec, reporter(problems, spec.origin.positions), options);
  return problems.sorted();
}

function checkDocument(document: unknown, report: Report, { nodes }: SpecOptions = {}, graph = true): void {
  const profile = checkProfile(document, report);
  if (profile !== null) checkValues(document, profile, report);
  checkVariables(document, report);
  if (!graph) return;
  const view = viewGraph(document, nodes);
  checkGraph(view, report);
  checkScopedBudgets(document, view, report);
  checkCustomNodes(document, view, nodes, report);
  checkPostures(document, view, report);
}

/** What else a text is read with. */
interface Held {
  modules: HeldModules;
  options: SpecOptions;
}

function readFull(walk: Walk, root: unknown, file: string, held: Held): PipelineSpec | null {
  const { modules, options } = held;
  const { problems, positions } = walk;
  const read = walkNode(walk, root, specSchema, "", START);
  if (read === undefined) return null;
  // What is wrong has been left out: the type is that of a document without faults.
  const document = read as SpecDocument;
  const expanded = expansionOf(document, walk, modules);
  const whole = expanded === null ? document : { ...document, nodes: expanded.nodes, edges: expanded.edges };
  const places = expanded?.positions ?? positions;
  if (isMap(root))
    checkDocument(whole, reporter(problems, places), options, expanded !== null || document.modules === undefined);
  if (!problems.empty) return null;
  const origin: SpecOrigin = { file, positions: places, template: null };
  if (expanded === null) return { ...document, origin };
  return { ...whole, origin: { ...origin, modules: expanded.instances, library: modules.sources } };
}

/** null where no module is used, or where one could not be expanded, which has been reported. */
function expansionOf({ modules, nodes, edges }: SpecDocument, walk: Walk, held: HeldModules): Expanded | null {
  if (modules === undefined) return null;
  // Wrong entries are undefined: an index would be another's.
  const complete =
    [...modules, ...(nodes ?? []), ...(edges ?? [])].every((item) => item !== undefined) &&
    modules.every(({ id, use }) => id !== undefined && use !== undefined);
  const document = { modules, nodes: nodes ?? [], edges: edges ?? [] };
  if (complete) return expandModules(document, walk.positions, held, walk.problems);
  return null;
}

function readTemplate(walk: Walk, root: unknown, file: string): PipelineSpec | null {
  const read = walkNode(walk, root, templateSchema, "", START) as Partial<TemplateDocument>;
  const report = reporter(walk.problems, walk.positions);
  const name = read.template;
  if (name !== undefined && !TEMPLATE_NAMES.includes(name)) {
    const message = `unknown template ${JSON.stringify(name)}`;
    report({ path: "template", code: "unknown_template", message, remedy: suggest(name, TEMPLATE_NAMES, "templates") });
  }
  if (!walk.problems.empty || name === undefined) {
    // Budgets and profile stand in the file itself and are worth reporting together with the rest.
    const profile = checkProfile(read, report);
    if (profile !== null) checkValues(read, profile, report);
    return null;
  }
  const positions = templatePositions(walk.positions);
  const document = fillTemplate(read as TemplateDocument);
  checkDocument(document, reporter(walk.problems, positions));
  if (!walk.problems.empty) return null;
  const origin: SpecOrigin = { file, positions, template: templateSource(name) };
  return { ...document, origin };
}

/** Field paths of the filled spec; only what the author wrote has a place. */
function templatePositions(written: ReadonlyMap<string, Place>): Map<string, Place> {
  const positions = new Map<string, Place>();
  for (const [path, at] of written) {
    const moved = TEMPLATE_PROVIDER_PATHS.find(({ template }) => path === template || path.startsWith(`${template}.`));
    positions.set(moved === undefined ? path : moved.spec + path.slice(moved.template.length), at);
  }
  return positions;
}
