/**
 * The example pipelines by the scripted callers of pipelines/tests, in virtual time: who says or keys in what, and what is
 * heard and told of it. Each call is replayed. Where these stand besides:
 *
 *   voice-assistant   test/e2e/start.test.ts, recordings.test.ts, questions.test.ts: with the local recogniser and voice, one
 *                     call in real time; test/integration/barge-in.test.ts
 *   interpreter, phone-menu, guarded-assistant
 *                     test/e2e/text-nodes.test.ts: with the local recogniser and voice; test/integration/text-nodes.test.ts
 *   tool-assistant    test/integration/tools.test.ts and test/e2e/tools.test.ts: all of it, against a webhook and an MCP server
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { adviceOn } from "@rspp/spec/advice";
import { compileSpec } from "@rspp/spec/compile-spec";
import { bundleSpec } from "@rspp/spec/module-library";
import { parseSpec } from "@rspp/spec/parse-spec";
import { formatProblems } from "@rspp/spec/problem";
import { expect, test } from "vitest";
import { readScript, runScript, type ScriptReport } from "../../cli/src/scripted/run-script.ts";
import { checkFile, readSpecFile } from "../../cli/src/spec-file.ts";

const pipelines = fileURLToPath(new URL("../../pipelines/", import.meta.url));
const specs = `${pipelines}specs/`;
const tests = `${pipelines}tests/`;

test.each(readdirSync(specs).map((file) => file.replace(/\.yaml$/, "")))(
  "%s: lint --strict has nothing to say, and the registry is sent the same pipeline",
  async (name) => {
    const file = await readSpecFile(`${specs}${name}.yaml`);
    const found = checkFile(file);
    if (!found.ok) throw new Error(formatProblems(found.problems, file.source));
    const { spec, compiled } = found;
    expect(adviceOn(spec)).toEqual([]);
    expect(compiled.name).toBe(name);
    // As `rspp validate` and `rspp publish` send it: one text that needs no files.
    const sent = parseSpec(bundleSpec(file.source, spec.origin.library ?? []), `${name}.yaml`);
    const there = sent.ok ? compileSpec(sent.value) : sent;
    expect(there.ok && there.value.fingerprint).toBe(compiled.fingerprint);
  },
);

async function played(name: string, edit: readonly [string, string] = ["", ""]): Promise<ScriptReport> {
  const path = `${tests}${name}.yaml`;
  const source = readFileSync(path, "utf8");
  expect(source).toContain(edit[0]);
  return runScript(await readScript(path, source.replace(...edit), { data: ".data" }));
}

const failures = ({ checks }: ScriptReport): string[] =>
  checks.flatMap(({ ok, line, expectation, expected, found }) =>
    ok ? [] : [`${line} ${expectation}: expected ${expected}, found ${found}`],
  );

/** Each with a wrong expectation in the place of a right one, and how it is told. */
const scripts: Readonly<Record<string, readonly [features: string, right: string, wrong: string, told: string]>> = {
  "voice-assistant": ["F-010 F-034", "text: Okay.", "text: Yes.", "expected Yes., found Okay."],
  "phone-menu": ["F-010 X-01", "agent: June has thirty", "agent: June has forty", "agent: June has forty days."],
  "phone-menu-silence": ["X-01", "ended: silence", "ended: caller", "ended: expected caller, found silence"],
  "phone-menu-star": ["F-034 X-01", "cut: true", "cut: false", "cut: expected false, found true"],
  "phone-menu-longest-call": ["X-01", "ended: max_duration", "ended: silence", "found max_duration"],
  "interpreter-german": ["F-018 X-02", "taken: true", "taken: false", "signals: expected route_decision"],
  "interpreter-spanish": ["F-018 X-02", "heard: adiós", "heard: adieu", "heard: expected adieu, found adiós"],
  "guarded-assistant": [
    "F-010 F-019 F-034 F-118 X-01",
    "[small robot, lighthouse]",
    "[a storm]",
    '"a storm" stands nowhere',
  ],
  "guarded-card-number": ["F-118", "times: 1", "times: 2", "2 times"],
  "guarded-overload": ["F-007 F-133", "terminal: commit", "terminal: abort", "expected abort, found commit"],
  "guarded-silent-model": ["F-007 F-133", "text: I cannot", "text: We cannot", "expected We cannot"],
  "guarded-voice-fails": ["F-131", "terminal: abort", "terminal: commit", "expected commit, found abort"],
  "tool-assistant": ["X-03", "with: {day: friday}", "with: {day: monday}", 'book_visit {"day": "friday"}'],
};

const titled = Object.entries(scripts).map(([name, [features, ...twin]]) => [name, features, twin] as const);

test.each(titled)("X-08 %s: %s, and a wrong expectation fails", async (name, _, [right, wrong, told]) => {
  const held = await played(name);
  expect(failures(held)).toEqual([]);
  expect(held.checks.length).toBeGreaterThan(4);
  const twin = failures(await played(name, [right, wrong]));
  expect(twin).toHaveLength(1);
  expect(twin[0]).toContain(told);
});

test("X-08 no script of pipelines/tests is left out", () => {
  const files = readdirSync(tests).filter((file) => file.endsWith(".yaml"));
  expect(files.map((file) => file.replace(/\.yaml$/, "")).sort()).toEqual(Object.keys(scripts).sort());
});

test("X-02 X-08 a language the interpreter does not know is refused before the call", async () => {
  await expect(played("interpreter-german", ["into: de", "into: fr"])).rejects.toThrow(/variables\.into .*de/);
});
