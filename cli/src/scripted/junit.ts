/** Test scripts as JUnit XML: a suite per script, a case per step and one for the call as a whole. */
import type { Check } from "./expectations.ts";
import { difference } from "./report.ts";
import type { ScriptReport } from "./run-script.ts";

/** A script that could not be run: an error in the sense of JUnit. */
export interface BrokenScript {
  readonly path: string;
  readonly problem: string;
}

export function junitXml(reports: readonly ScriptReport[], broken: readonly BrokenScript[] = []): string {
  const suites = [...reports.map(suiteXml), ...broken.map(brokenXml)];
  const cases = reports.map(casesOf);
  const failures = cases.flat().filter(({ checks }) => checks.some(({ ok }) => !ok)).length;
  const seconds = reports.reduce((sum, { tookMs }) => sum + tookMs, 0) / 1_000;
  const tests = cases.flat().length + broken.length;
  const counts = `tests="${tests}" failures="${failures}" errors="${broken.length}" time="${seconds.toFixed(3)}"`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="rspp test" ${counts}>\n${suites.join("")}</testsuites>\n`;
}

interface Case {
  readonly name: string;
  readonly checks: readonly Check[];
}

function casesOf({ steps, checks }: ScriptReport): Case[] {
  const ofStep = steps.map((title, i) => ({
    name: `${i + 1} ${title}`,
    checks: checks.filter(({ step }) => step === i),
  }));
  return [...ofStep, { name: "the call", checks: checks.filter(({ step }) => step === null) }];
}

function suiteXml(report: ScriptReport): string {
  const cases = casesOf(report);
  const failures = cases.filter(({ checks }) => checks.some(({ ok }) => !ok)).length;
  const counts = `tests="${cases.length}" failures="${failures}" errors="0" time="${(report.tookMs / 1_000).toFixed(3)}"`;
  const inner = cases.map((one) => caseXml(one, report)).join("");
  return `  <testsuite name="${escaped(report.path)}" ${counts}>\n${inner}  </testsuite>\n`;
}

function caseXml({ name, checks }: Case, { path, pipeline }: ScriptReport): string {
  const head = `    <testcase classname="${escaped(pipeline)}" name="${escaped(name)}" file="${escaped(path)}"`;
  const failed = checks.filter(({ ok }) => !ok);
  if (failed.length === 0) return `${head}/>\n`;
  const failures = failed.map((check) => {
    const told = difference(check.expected.split("\n"), check.found.split("\n"));
    const text = told.map((line) => `${line.sign} ${line.text}`).join("\n");
    const message = `${path}:${check.line}:${check.column}: ${check.expectation}`;
    return `      <failure message="${escaped(message)}" type="${escaped(check.expectation)}">${escaped(text)}</failure>\n`;
  });
  return `${head}>\n${failures.join("")}    </testcase>\n`;
}

function brokenXml({ path, problem }: BrokenScript): string {
  const error = `      <error message="the script could not be run" type="input">${escaped(problem)}</error>\n`;
  const one = `    <testcase classname="rspp test" name="${escaped(path)}">\n${error}    </testcase>\n`;
  return `  <testsuite name="${escaped(path)}" tests="1" failures="0" errors="1" time="0">\n${one}  </testsuite>\n`;
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
};

/** What XML 1.0 does not allow is shown as a question mark. */
function escaped(text: string): string {
  const allowed = (code: number): boolean => (code >= 32 ? code < 0xfffe || code > 0xffff : code === 9 || code === 10);
  return [...text].map((c) => (allowed(c.codePointAt(0) ?? 0) ? (entities[c] ?? c) : "?")).join("");
}
