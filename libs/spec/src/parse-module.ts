/** A module file by itself, for lint (F-001, F-019): what can be told without the pipeline that uses it. */
import { err, ok, type Result } from "@rspp/base/result";
import { checkGraph } from "./check-graph.ts";
import { expandLevel } from "./expand-modules.ts";
import { viewGraph } from "./graph-view.ts";
import { HeldModules, type ModuleLibrary, moduleSourceName } from "./module-library.ts";
import { type ModuleLevel, ModuleResolver } from "./module-resolver.ts";
import { reporter } from "./places.ts";
import { type ProblemCode, ProblemList, type SpecProblem } from "./problem.ts";
import { fieldText, readYaml } from "./read-yaml.ts";

export interface ParsedModule {
  /** `name@version`. */
  use: string;
  level: ModuleLevel;
}

/** What holds of a part of a graph as well; what it lacks, the pipeline may have. */
const told: readonly ProblemCode[] = [
  "duplicate_id",
  "unknown_node",
  "unknown_port",
  "port_types",
  "input_taken",
  "cycle",
  "scope",
];

/** Never throws. A parameter without default is not filled in, and what needs it is not checked. */
export function parseModule(
  text: string,
  fileName: string,
  library?: ModuleLibrary,
): Result<ParsedModule, SpecProblem[]> {
  const problems = new ProblemList(fileName);
  const yaml = readYaml(text, problems);
  if (yaml === null) return err(problems.sorted());
  const { lines } = yaml;
  const [root] = yaml.roots;
  const use = `${fieldText(root, "name") ?? ""}@${fieldText(root, "version") ?? ""}`;
  const origin = { file: fileName, source: moduleSourceName(use) };
  const level = new ModuleResolver(new HeldModules(problems, library), problems).alone({ use, root, lines, origin });
  const expanded = problems.empty ? expandLevel(level, problems) : null;
  if (expanded !== null) {
    const report = reporter(problems, expanded.positions);
    checkGraph(viewGraph(expanded), (problem) => (told.includes(problem.code) ? report(problem) : undefined));
  }
  return problems.empty ? ok({ use, level }) : err(problems.sorted());
}
