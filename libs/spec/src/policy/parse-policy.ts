/** From text to a checked policy (F-056). */
import { err, ok, type Result } from "@rspp/base/result";
import { placeOf } from "../places.ts";
import { ProblemList, type SpecProblem } from "../problem.ts";
import { readYaml, START } from "../read-yaml.ts";
import { walkNode } from "../walk.ts";
import type { Walk } from "../walk-state.ts";
import type { PolicyDocument } from "./policy.ts";
import { ruleProblem } from "./policy-cel.ts";
import { policySchema } from "./policy-schema.ts";

/** Never throws; all problems come back at once, sorted by place. JSON is YAML: normalised content is read by this, too. */
export function parsePolicy(text: string, fileName: string): Result<PolicyDocument, SpecProblem[]> {
  const problems = new ProblemList(fileName);
  const yaml = readYaml(text, problems);
  if (yaml === null) return err(problems.sorted());
  const [root, second] = yaml.roots;
  const walk: Walk = { lines: yaml.lines, problems, positions: new Map() };
  const read = walkNode(walk, root, policySchema, "", START) as PolicyDocument | undefined;
  if (second !== undefined) {
    const message = "the file holds more than one document";
    problems.add(START, { path: "", code: "syntax", message, remedy: "put one policy in one file" });
  }
  if (read !== undefined && Array.isArray(read.rules)) checkRules(read, walk);
  return read === undefined || !problems.empty ? err(problems.sorted()) : ok(read);
}

/** Names of all providers a policy speaks of, for the check that they exist. */
export function providersOf({ rules }: PolicyDocument): readonly string[] {
  const names = rules.flatMap(({ candidates = {} }) =>
    Object.values(candidates).flatMap((list) => list.map((one) => (typeof one === "string" ? one : one.name))),
  );
  return [...new Set(names)];
}

function checkRules({ rules }: PolicyDocument, { problems, positions }: Walk): void {
  const ids = new Set<string>();
  rules.forEach((rule, i) => {
    // A rule that could not be read stands in the list as nothing.
    if (rule === undefined || rule === null) return;
    const path = `rules[${i}]`;
    if (ids.has(rule.id)) {
      const message = `there is a rule "${rule.id}" already`;
      problems.add(placeOf(positions, `${path}.id`), {
        path: `${path}.id`,
        code: "duplicate_id",
        message,
        remedy: "give each rule a name of its own: traces are read by it",
      });
    }
    ids.add(rule.id);
    const problem = rule.when === undefined ? null : ruleProblem(rule.when);
    if (problem !== null) {
      problems.add(placeOf(positions, `${path}.when`), {
        path: `${path}.when`,
        code: "condition",
        message: `the condition cannot be used: ${problem}`,
        remedy: 'write CEL over tenant, pipeline, language, region, cost_tier, vars and providers["name"]',
      });
    }
    checkShape(rule, path, problems, positions);
  });
}

function checkShape(
  rule: PolicyDocument["rules"][number],
  path: string,
  problems: ProblemList,
  positions: Walk["positions"],
): void {
  const { caps, candidates, order } = rule;
  if (caps !== undefined && Object.keys(caps).every((key) => key === "on_exceeded")) {
    problems.add(placeOf(positions, `${path}.caps`), {
      path: `${path}.caps`,
      code: "missing_field",
      message: "the caps bound nothing",
      remedy: "give tokens, audio_seconds, tts_characters or cost_micros, or leave caps out",
    });
  }
  if (order !== undefined && candidates === undefined) {
    problems.add(placeOf(positions, `${path}.order`), {
      path: `${path}.order`,
      code: "missing_field",
      message: "an order is that of candidates, and the rule has none",
      remedy: "give the rule candidates, or leave the order out",
    });
  }
}
