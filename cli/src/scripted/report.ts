/** What came of test scripts, for people: a table per script, and what differs where something does (X-08). */
import { paint, printable, shortened } from "../output/style.ts";
import { table } from "../output/table.ts";
import { countWords, msWords } from "../output/words.ts";
import type { Check } from "./expectations.ts";
import type { ScriptReport } from "./run-script.ts";

const FOUND_COLUMNS = 72;

/** @param verbose the checks that every call has are shown too where they hold. */
export function reportLines(report: ScriptReport): string[] {
  const { path, pipeline, time, checks, callMs, tookMs, ok } = report;
  const failed = checks.filter((check) => !check.ok);
  const call = time === "virtual" ? `${msWords(callMs)} of virtual time in ${msWords(tookMs)}` : `${msWords(callMs)}`;
  const verdict = ok
    ? paint("green", `${countWords(checks.length, "check")} passed`)
    : paint("red", `${failed.length} of ${countWords(checks.length, "check")} failed`);
  const rows = checks.filter(shown).map((check, i, all) => rowOf(check, report, all[i - 1]));
  return [
    paint("bold", `${path}  ${pipeline}`),
    ...table([{ head: "" }, { head: "STEP" }, { head: "EXPECTATION" }, { head: "FOUND" }], rows).map(
      (line) => `  ${line}`,
    ),
    ...failed.flatMap((check) => ["", ...differenceLines(check, report)]),
    "",
    `  ${verdict}, ${call}`,
  ];
}

/** The number of turns goes without saying where it is right. */
function shown({ ok, expectation, path }: Check): boolean {
  return !ok || expectation !== "turns" || path.startsWith("expect");
}

function stepName({ step }: Check, { steps }: ScriptReport): string {
  return step === null ? "the call" : `${step + 1} ${steps[step] ?? ""}`;
}

function rowOf(check: Check, report: ScriptReport, before: Check | undefined): string[] {
  const again = before !== undefined && before.step === check.step;
  const mark = check.ok ? paint("green", "ok") : paint("red", "NO");
  const found = check.found.includes("\n") ? countWords(check.found.split("\n").length, "line") : check.found;
  return [
    mark,
    again ? "" : printable(stepName(check, report)),
    check.expectation,
    shortened(printable(found === "" ? "nothing" : found), FOUND_COLUMNS),
  ];
}

/** Where it stands in the script, what was expected and what was found: line by line where there are several. */
export function differenceLines(check: Check, report: ScriptReport): string[] {
  const head = `  ${report.path}:${check.line}:${check.column}: ${check.path === "" ? "" : `${check.path}: `}${check.expectation}`;
  return [
    printable(head),
    ...difference(check.expected.split("\n"), check.found.split("\n")).map(({ sign, text }) => {
      const line = `    ${sign} ${printable(text)}`;
      return sign === " " ? paint("dim", line) : paint(sign === "-" ? "red" : "green", line);
    }),
  ];
}

interface DiffLine {
  readonly sign: "-" | "+" | " ";
  readonly text: string;
}

/** The longest common lines stay, the others are taken away or put in. */
export function difference(expected: readonly string[], found: readonly string[]): DiffLine[] {
  const width = found.length + 1;
  const lengths = new Uint32Array((expected.length + 1) * width);
  const at = (i: number, j: number): number => lengths[i * width + j] ?? 0;
  for (let i = expected.length - 1; i >= 0; i--)
    for (let j = found.length - 1; j >= 0; j--)
      lengths[i * width + j] = expected[i] === found[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  const lines: DiffLine[] = [];
  let i = 0;
  let j = 0;
  while (i < expected.length || j < found.length) {
    if (i < expected.length && j < found.length && expected[i] === found[j]) {
      lines.push({ sign: " ", text: expected[i] ?? "" });
      i += 1;
      j += 1;
    } else if (i < expected.length && (j === found.length || at(i + 1, j) >= at(i, j + 1))) {
      lines.push({ sign: "-", text: expected[i] ?? "" });
      i += 1;
    } else {
      lines.push({ sign: "+", text: found[j] ?? "" });
      j += 1;
    }
  }
  return lines;
}
