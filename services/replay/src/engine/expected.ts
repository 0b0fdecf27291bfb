/** Expected divergences, declared beforehand with a reason (`kernel.md` §12, F-077). */
import { err, ok, type Result } from "@rspp/base/result";
import { formatProblems, ProblemList } from "@rspp/spec/problem";
import { readYaml } from "@rspp/spec/read-yaml";

export const RUN_DIVERGENCE_CLASSES = [
  "PLAN",
  "OUTCOME",
  "ORDERING",
  "AUTHORITY",
  "TIMING",
  "PROVIDER_CHOICE",
  "PAYLOAD",
] as const;
export type RunDivergenceClass = (typeof RUN_DIVERGENCE_CLASSES)[number];

/** Where a divergence stands; what is left out of a declaration holds everywhere. */
export interface DivergencePlace {
  /** 0: the session. */
  readonly turn?: number;
  readonly node?: string;
  /** What differs, e.g. `plan_hash`, `terminal`, `output_text`, `first_output_ms`, `event:cancel`. */
  readonly what?: string;
}

export interface Declaration {
  readonly class: RunDivergenceClass;
  readonly where: DivergencePlace;
  readonly reason: string;
}

export const EXPECTED_SCHEMA = "rspp/divergences/v1";
const DECLARATIONS_MAX = 200;

/**
 * Reads declarations from YAML or JSON:
 *
 *     schema: rspp/divergences/v1
 *     expected:
 *       - {class: PLAN, reason: the voice has a new setting}
 *
 * The error says every problem in words.
 */
export function parseExpected(text: string, fileName: string): Result<readonly Declaration[], string> {
  const list = new ProblemList(fileName);
  const root = readYaml(text, list)?.roots[0] as { toJSON?: () => unknown } | undefined;
  if (root === undefined) return err(formatProblems(list.sorted(), text));
  const problems: string[] = [];
  const found = declarationsOf(root.toJSON?.(), problems);
  return problems.length === 0 ? ok(found) : err(problems.map((problem) => `${fileName}: ${problem}`).join("\n"));
}

function declarationsOf(value: unknown, problems: string[]): Declaration[] {
  const root = isFields(value) ? value : {};
  if (root.schema !== EXPECTED_SCHEMA) problems.push(`schema: write \`schema: ${EXPECTED_SCHEMA}\` in the first line`);
  for (const name of Object.keys(root))
    if (!["schema", "expected"].includes(name)) problems.push(`${name}: unknown; there are schema and expected`);
  if (!Array.isArray(root.expected)) {
    problems.push("expected: a list of declarations is needed, each with class, where and reason");
    return [];
  }
  if (root.expected.length > DECLARATIONS_MAX)
    problems.push(`expected: has ${root.expected.length} declarations, at most ${DECLARATIONS_MAX}`);
  return root.expected
    .slice(0, DECLARATIONS_MAX)
    .flatMap((item, i) => declarationOf(item, `expected[${i}]`, problems) ?? []);
}

function declarationOf(value: unknown, path: string, problems: string[]): Declaration | null {
  const before = problems.length;
  if (!isFields(value)) {
    problems.push(`${path}: write class, where and reason`);
    return null;
  }
  const { class: kind, where, reason, ...rest } = value;
  for (const name of Object.keys(rest)) problems.push(`${path}.${name}: unknown; there are class, where and reason`);
  if (!(RUN_DIVERGENCE_CLASSES as readonly unknown[]).includes(kind))
    problems.push(`${path}.class: one of ${RUN_DIVERGENCE_CLASSES.join(", ")}`);
  if (kind === "AUTHORITY") problems.push(`${path}.class: AUTHORITY is always a failure and cannot be declared`);
  if (typeof reason !== "string" || reason.trim() === "") problems.push(`${path}.reason: say why it is expected`);
  const place = placeOf(where, `${path}.where`, problems);
  if (problems.length > before) return null;
  return { class: kind as RunDivergenceClass, where: place, reason: String(reason) };
}

function placeOf(value: unknown, path: string, problems: string[]): DivergencePlace {
  if (value === undefined || value === null) return {};
  if (!isFields(value)) {
    problems.push(`${path}: fields turn, node and what, each optional`);
    return {};
  }
  const { turn, node, what, ...rest } = value;
  for (const name of Object.keys(rest)) problems.push(`${path}.${name}: unknown; there are turn, node and what`);
  if (turn !== undefined && (typeof turn !== "number" || !Number.isInteger(turn) || turn < 0))
    problems.push(`${path}.turn: a turn's number, 0 for the session`);
  if (node !== undefined && typeof node !== "string") problems.push(`${path}.node: a node's id`);
  if (what !== undefined && typeof what !== "string") problems.push(`${path}.what: e.g. output_text`);
  return {
    ...(typeof turn === "number" ? { turn } : {}),
    ...(typeof node === "string" ? { node } : {}),
    ...(typeof what === "string" ? { what } : {}),
  };
}

function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
