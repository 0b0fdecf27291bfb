/** From text to one checked document of a schema: what is published besides pipelines and modules. */
import { err, ok, type Result } from "@rspp/base/result";
import { type Place, ProblemList, type SpecProblem } from "../problem.ts";
import { readYaml, START } from "../read-yaml.ts";
import type { MapSchema } from "../schema.ts";
import { walkNode } from "../walk.ts";

export interface ReadDocument<T> {
  readonly value: T;
  /** Field path to place. */
  readonly positions: ReadonlyMap<string, Place>;
}

/** Never throws; all problems come back at once, sorted by place. `check` adds what a schema cannot say. */
export function readDocument<T>(
  text: string,
  fileName: string,
  schema: MapSchema,
  check: (value: T, problems: ProblemList, positions: ReadonlyMap<string, Place>) => void = () => undefined,
): Result<ReadDocument<T>, SpecProblem[]> {
  const problems = new ProblemList(fileName);
  const yaml = readYaml(text, problems);
  if (yaml === null) return err(problems.sorted());
  const [root, second] = yaml.roots;
  const positions = new Map<string, Place>();
  const value = walkNode({ lines: yaml.lines, problems, positions }, root, schema, "", START) as T | undefined;
  if (second !== undefined) {
    const message = "the file holds more than one document";
    problems.add(START, { path: "", code: "syntax", message, remedy: `put ${schema.what} in a file of its own` });
  }
  if (value !== undefined && problems.empty) check(value, problems, positions);
  if (value === undefined || !problems.empty) return err(problems.sorted());
  return ok({ value, positions });
}
