import { blankNonCode } from "./blank.ts";

/**
 * The titles a test reports whose title in the source is a template, of `test.each` (`%s`, `$name`) or of TypeScript
 * (`${name}`): anything may stand in the places that are filled in.
 */
export function titlePattern(title: string): RegExp {
  const parts = title.split(/\$\{[^}]*\}|%[sdifjoOc#$]|\$[a-z][\w.]*/);
  const literal = parts.map((part) => part.replaceAll("%%", "%").replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${literal.join("[^]*")}$`);
}

/** What `features.json` may say of a feature: the tests alone, or with them what they show. */
export type FeatureEntry = readonly string[] | Proof;

export interface Proof {
  /** `path::test title`, the best first. */
  readonly tests: readonly string[];
  /** What a replay of the proving test shows (`kernel.md` §12): `D0` where it replays nothing. */
  readonly determinism: Determinism;
  /** `path::test title` of the refusal or the failure. */
  readonly negative: string;
  /** What is measured, and its bound. */
  readonly measure: string;
}

const DETERMINISM = ["D0", "D1", "D2", "L1", "L2"] as const;
type Determinism = (typeof DETERMINISM)[number];
const PROOF_FIELDS: readonly string[] = ["tests", "determinism", "negative", "measure"];

/** The tests of a feature, the negative one last. */
export function proofsOf(entry: FeatureEntry): readonly string[] {
  return "tests" in entry ? [...new Set([...entry.tests, entry.negative])] : entry;
}

/**
 * What is wrong with the map from feature numbers to the tests that prove them, a line each.
 * `readText` gives the text of a repository file, undefined when there is none.
 */
export function featureProblems(map: unknown, readText: (path: string) => string | undefined): string[] {
  if (typeof map !== "object" || map === null || Array.isArray(map)) return ["features.json holds one object"];
  return Object.entries(map).flatMap(([id, proofs]: [string, unknown]) => {
    if (!/^(?:F|NF|X)-\d{2,3}$/.test(id)) return [`${id}: a feature id looks like F-042, NF-018 or X-01`];
    if (typeof proofs !== "object" || proofs === null || Array.isArray(proofs))
      return testsProblems(id, proofs, readText);
    return proofProblems(id, proofs as Partial<Record<string, unknown>>, readText);
  });
}

/** The features of `wanted` that are in the map as bare lists: without level, negative test and measure. */
export function bareFeatures(map: Readonly<Record<string, unknown>>, wanted: readonly string[]): string[] {
  return wanted.filter((id) => Array.isArray(map[id]));
}

function testsProblems(id: string, tests: unknown, readText: (path: string) => string | undefined): string[] {
  if (!Array.isArray(tests) || tests.length === 0)
    return [`${id}: a list of at least one "path::test title" is needed`];
  return tests.flatMap((test: unknown) => proofProblem(id, test, readText) ?? []);
}

function proofProblems(
  id: string,
  proof: Partial<Record<string, unknown>>,
  readText: (path: string) => string | undefined,
): string[] {
  const { tests, determinism, negative, measure } = proof;
  const problems = testsProblems(id, tests, readText);
  const unproven = proofProblem(`${id} negative`, negative, readText);
  if (unproven !== undefined) problems.push(unproven);
  if (!DETERMINISM.some((level) => level === determinism))
    problems.push(`${id}: determinism is one of ${DETERMINISM.join(", ")}`);
  if (typeof measure !== "string" || measure.trim() === "")
    problems.push(`${id}: measure says what is measured, and its bound`);
  for (const field of Object.keys(proof).filter((name) => !PROOF_FIELDS.includes(name)))
    problems.push(`${id}: unknown field "${field}", known are ${PROOF_FIELDS.join(", ")}`);
  return problems;
}

function proofProblem(id: string, proof: unknown, readText: (path: string) => string | undefined): string | undefined {
  const [path, title, ...rest] = typeof proof === "string" ? proof.split("::") : [];
  if (!path || !title || rest.length > 0) return `${id}: ${JSON.stringify(proof)} is not "path::test title"`;
  if (!/\.test\.ts$/.test(path)) return `${id}: ${path} is no test file`;
  const text = readText(path);
  if (text === undefined) return `${id}: there is no file ${path}`;
  return hasTitle(text, title) ? undefined : `${id}: ${path} has no test titled "${title}"`;
}

/** Whether a string of the code, not of a comment, is the title. */
function hasTitle(source: string, title: string): boolean {
  const code = blankNonCode(source);
  for (const quote of ['"', "'", "`"]) {
    const literal = quote + title + quote;
    for (let i = source.indexOf(literal); i !== -1; i = source.indexOf(literal, i + 1))
      if (code[i] === quote && code[i + literal.length - 1] === quote) return true;
  }
  return false;
}
