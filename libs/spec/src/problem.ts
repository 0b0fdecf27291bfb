/** What is wrong with a spec, where, and what to do: values, never thrown (F-001, F-002). */
import { PROBLEMS_MAX } from "./limits.ts";
import { coverSecrets, maskSecrets } from "./secret.ts";

export type ProblemCode =
  | "syntax"
  | "too_large"
  | "alias"
  | "unknown_field"
  | "missing_field"
  | "duplicate_field"
  | "wrong_type"
  | "out_of_range"
  | "not_allowed"
  | "bad_format"
  | "too_many"
  | "secret_literal"
  | "duplicate_id"
  | "unknown_kind"
  | "unknown_node"
  | "unknown_port"
  | "port_types"
  | "input_taken"
  | "unconnected_input"
  | "unconnected_output"
  | "cycle"
  | "condition"
  | "scope"
  | "node_count"
  | "profile_refused"
  | "profile_unknown"
  | "unknown_template"
  | "unknown_module"
  | "unknown_parameter"
  | "unknown_variable"
  | "unknown_package"
  | "module_mismatch"
  | "module_cycle"
  | "module_depth"
  | "layer_refused"
  | "breaking_change"
  | "advice";

export interface Position {
  /** From 1. */
  line: number;
  /** From 1, in UTF-16 code units. */
  column: number;
}

/** The text a value was written in, where that is not the file that is checked: a module, a layer. */
export interface PlaceOrigin {
  file: string;
  /** What provenance calls it, e.g. `module/spoken-answer@1`. */
  source: string;
  /** Its lines, to be shown with a problem; absent for a part of the checked text itself. */
  lines?: readonly string[];
}

export interface Place extends Position {
  /** Absent: the file that is checked. */
  origin?: PlaceOrigin;
  /** Field path there, where it differs. */
  path?: string;
}

export interface SpecProblem extends Position {
  file: string;
  /** Field path in the file, e.g. `nodes[2].provider.candidates[0]`; empty for the file as a whole. */
  path: string;
  code: ProblemCode;
  message: string;
  /** What to do about it. */
  remedy: string;
  /** The source line holds a secret: it is shown up to the column only. */
  sensitive: boolean;
  /** The source line, of another text than the one that is checked. */
  excerpt?: string;
}

export interface ProblemText {
  path: string;
  code: ProblemCode;
  message: string;
  remedy: string;
  sensitive?: boolean;
}

/** Collects problems, bounded; the same problem at the same place counts once. */
export class ProblemList {
  readonly #file: string;
  readonly #problems: SpecProblem[] = [];
  readonly #seen = new Set<string>();
  #more = 0;

  constructor(file: string) {
    this.#file = file;
  }

  get empty(): boolean {
    return this.#problems.length === 0;
  }

  /** Those left out included. */
  get count(): number {
    return this.#problems.length + this.#more;
  }

  add(at: Place, problem: ProblemText): void {
    const { origin } = at;
    const file = origin?.file ?? this.#file;
    const path = at.path ?? problem.path;
    const key = `${file}:${at.line}:${at.column}:${path}:${problem.code}:${problem.message}`;
    if (this.#seen.has(key)) return;
    if (this.#problems.length >= PROBLEMS_MAX) {
      this.#more += 1;
      return;
    }
    this.#seen.add(key);
    this.#problems.push({
      file,
      line: at.line,
      column: at.column,
      path,
      code: problem.code,
      message: maskSecrets(problem.message),
      remedy: maskSecrets(problem.remedy),
      sensitive: problem.sensitive ?? false,
      ...(origin?.lines === undefined ? {} : { excerpt: origin.lines[at.line - 1] ?? "" }),
    });
  }

  /** The checked file first, then others by name; each by position. Where there were more than PROBLEMS_MAX the last entry says how many were left out. */
  sorted(): SpecProblem[] {
    const rank = ({ file }: SpecProblem): string => (file === this.#file ? "" : file);
    const sorted = [...this.#problems].sort(
      (a, b) => byText(rank(a), rank(b)) || a.line - b.line || a.column - b.column,
    );
    const last = sorted.at(-1);
    if (this.#more > 0 && last !== undefined) {
      const message = `${this.#more} more problems are not shown`;
      const remedy = "mend the ones above first";
      sorted.push({ ...last, path: "", code: "too_many", message, remedy, sensitive: false });
    }
    return sorted;
  }
}

function byText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

const lineWidthMax = 120;

/**
 * For people: `file:line:col: error: path: message`, the source line with a caret, and `help:`. Key-shaped text in the
 * source line is hidden.
 *
 * @param text the text that was parsed; an empty string leaves the source lines out.
 */
export function formatProblems(problems: readonly SpecProblem[], text: string): string {
  const lines = text.split(/\r?\n/);
  return problems.map((problem) => formatOne(problem, problem.excerpt ?? lines[problem.line - 1])).join("\n\n");
}

function formatOne(problem: SpecProblem, source: string | undefined): string {
  const where = problem.path === "" ? "" : `${problem.path}: `;
  const head = `${problem.file}:${problem.line}:${problem.column}: error: ${where}${problem.message}`;
  const help = `   help: ${problem.remedy}`;
  if (source === undefined || source.trim() === "") return `${head}\n${help}`;
  const { shown, caret } = clip(problem, source);
  const number = String(problem.line).padStart(5);
  return `${head}\n${number} | ${shown}\n      | ${caret}^\n${help}`;
}

/** The part of the line around the column, and white space of the same width up to it. */
function clip(problem: SpecProblem, source: string): { shown: string; caret: string } {
  // Covered at equal length and before clipping, so that neither the caret moves nor half a key is shown.
  const line = printable(coverSecrets(source));
  const column = Math.min(problem.column - 1, line.length);
  const from = column > lineWidthMax - 20 ? column - 40 : 0;
  const before = line.slice(from, column);
  const rest = problem.sensitive ? "<hidden>" : line.slice(column, from + lineWidthMax);
  return { shown: before + rest, caret: before.replace(/[^\t]/g, " ") };
}

function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters would act on the reader's terminal
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "?");
}
