/** From text to a checked PipelineSpec (F-001, F-002, F-079). YAML 1.2, of which JSON is a part; errors are values. */
import { err, ok, type Result } from "@rspp/base/result";
import { type Document, isMap, LineCounter, parseDocument, type YAMLError } from "yaml";
import { checkGraph, type Report } from "./check-graph.ts";
import { checkProfile, checkValues } from "./check-values.ts";
import { viewGraph } from "./graph-view.ts";
import { FILE_BYTES_MAX } from "./limits.ts";
import { suggest } from "./nearest.ts";
import { type Position, ProblemList, type SpecProblem } from "./problem.ts";
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
import { type Walk, walkNode } from "./walk.ts";

export type Parsed = Result<PipelineSpec, SpecProblem[]>;

const start: Position = { line: 1, column: 1 };

/**
 * Reads and checks a spec: a pipeline written out, or a template file (`template:` and `providers:`).
 *
 * Never throws. All problems come back at once, sorted by place; after a syntax error only syntax errors do.
 *
 * @param fileName used in errors only.
 */
export function parseSpec(text: string, fileName: string): Parsed {
  const problems = new ProblemList(fileName);
  if (utf8BytesExceed(text, FILE_BYTES_MAX)) {
    const message = `the file is larger than ${FILE_BYTES_MAX / 1024} KiB`;
    problems.add(start, { path: "", code: "too_large", message, remedy: "a spec names data, it does not hold it" });
    return err(problems.sorted());
  }
  const lines = new LineCounter();
  const document = readYaml(text, lines, problems);
  if (document === null) return err(problems.sorted());
  const walk: Walk = { lines, problems, positions: new Map() };
  const root = document.contents;
  const parsed =
    isMap(root) && root.has("template") ? readTemplate(walk, root, fileName) : readFull(walk, root, fileName);
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
export function checkSpec(spec: PipelineSpec): SpecProblem[] {
  const problems = new ProblemList(spec.origin.file);
  checkDocument(spec, reporter(problems, spec.origin.positions));
  return problems.sorted();
}

function checkDocument(document: unknown, report: Report): void {
  const profile = checkProfile(document, report);
  if (profile !== null) checkValues(document, profile, report);
  checkGraph(viewGraph(document), report);
}

function readFull(walk: Walk, root: unknown, file: string): PipelineSpec | null {
  const document = walkNode(walk, root, specSchema, "", start);
  if (document !== undefined && isMap(root)) checkDocument(document, reporter(walk.problems, walk.positions));
  if (!walk.problems.empty) return null;
  // The schema has been met in every field, which the type only repeats.
  return { ...(document as SpecDocument), origin: { file, positions: walk.positions, template: null } };
}

function readTemplate(walk: Walk, root: unknown, file: string): PipelineSpec | null {
  const read = walkNode(walk, root, templateSchema, "", start) as Partial<TemplateDocument>;
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
function templatePositions(written: ReadonlyMap<string, Position>): Map<string, Position> {
  const positions = new Map<string, Position>();
  for (const [path, at] of written) {
    const moved = TEMPLATE_PROVIDER_PATHS.find(({ template }) => path === template || path.startsWith(`${template}.`));
    positions.set(moved === undefined ? path : moved.spec + path.slice(moved.template.length), at);
  }
  return positions;
}

/** Places a problem at its path, or at the nearest field around it. */
function reporter(problems: ProblemList, positions: ReadonlyMap<string, Position>): Report {
  return (problem) => {
    let path = problem.path;
    let at = positions.get(path);
    while (at === undefined && path !== "") {
      path = path.slice(0, Math.max(0, path.lastIndexOf("."), path.lastIndexOf("[")));
      at = positions.get(path);
    }
    problems.add(at ?? start, problem);
  };
}

function readYaml(text: string, lines: LineCounter, problems: ProblemList): Document.Parsed | null {
  let document: Document.Parsed | null = null;
  try {
    // Unique keys are checked in `walk.ts`: here the check takes quadratic time.
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false, version: "1.2" });
  } catch {
    // Reported below: the library overflows the stack on thousands of nested brackets, thrown or as an error of its own.
  }
  const faults: YAMLError[] = document === null ? [] : [...document.errors, ...document.warnings];
  if (document === null || faults.some((fault) => fault.message.includes("call stack"))) {
    const remedy = "a spec nests seven levels deep at most";
    const message = "the file cannot be read: it is nested too deeply";
    problems.add(start, { path: "", code: "syntax", message, remedy });
    return null;
  }
  for (const fault of faults) addSyntaxProblem(fault, lines, problems);
  if (faults.length > 0) return null;
  if (document.contents === null) {
    const remedy = "start with a template: pipelines/specs/voice-assistant.yaml";
    problems.add(start, { path: "", code: "syntax", message: "the file holds no pipeline spec", remedy });
    return null;
  }
  return document;
}

const syntaxRemedies: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: "indent with spaces",
  BAD_INDENT: "indent the fields of one block by the same number of spaces",
  MULTIPLE_DOCS: "put one spec in one file",
  MISSING_CHAR: "add the missing quote, bracket, comma or colon",
  TAG_RESOLVE_FAILED: "remove the tag (the word that starts with !)",
  BAD_ALIAS: "write the value out; aliases are not accepted",
  BLOCK_AS_IMPLICIT_KEY: "put the value on a line of its own, or in quotes if it holds a colon",
  MULTILINE_IMPLICIT_KEY: "put a colon after the field name",
};

function addSyntaxProblem(fault: YAMLError, lines: LineCounter, problems: ProblemList): void {
  const found = lines.linePos(fault.pos[0]);
  const at = { line: Math.max(1, found.line), column: Math.max(1, found.col) };
  const message = fault.message.slice(0, 200);
  const remedy = syntaxRemedies[fault.code] ?? "mend the YAML syntax here";
  problems.add(at, { path: "", code: "syntax", message, remedy });
}

function utf8BytesExceed(text: string, max: number): boolean {
  // A code unit is one byte at least and three at most.
  if (text.length > max) return true;
  return text.length * 3 > max && new TextEncoder().encode(text).length > max;
}
