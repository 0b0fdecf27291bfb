import { describe, expect, test } from "vitest";
import { compiled, small } from "../testing.ts";
import { checkAgainstPipeline } from "./against-pipeline.ts";
import { parseTestScript, turnsOf } from "./script.ts";

const head = "schema: rspp/test/v1\npipeline: a.yaml\n";

function refused(text: string): string[] {
  const read = parseTestScript(text, "t.yaml");
  if (read.ok) return [];
  return read.error.map(
    ({ line, column, path, message, remedy }) => `${line}:${column} ${path}: ${message} | ${remedy}`,
  );
}

describe("X-08 a test script", () => {
  test("X-08 is read with its places, and each step says how many turns come of it", () => {
    const read = parseTestScript(
      `${head}steps:\n  - expect: {text: Hello.}\n  - say: hi\n  - silence_ms: 900\n  - {dtmf: "1#", turns: 2}\n  - hang_up: true\n`,
      "t.yaml",
    );
    if (!read.ok) throw new Error(JSON.stringify(read.error));
    expect(read.value.steps.map(turnsOf)).toEqual([1, 1, 0, 2, 0]);
    expect(read.value.positions.get("steps[0].expect.text")).toEqual({ line: 4, column: 20 });
  });

  test.each([
    ["  - sya: hi\n", '4:5 steps[0].sya: unknown field "sya" in a step | did you mean "say"?'],
    [
      "  - {say: hi, dtmf: '1'}\n",
      "4:21 steps[0].dtmf: a step does one thing, this one say and dtmf | make two steps of it",
    ],
    ["  - {say: hi, expect: {texts: hi}}\n", 'steps[0].expect.texts: unknown field "texts"'],
    ["  - {say: hi, expect: {latency: {first_output: 3}}}\n", 'did you mean "first_output_ms"?'],
    ["  - {say: hi, expect: {latency: {first_output_ms: -3}}}\n", "out of range"],
    ["  - {say: hi, expect: {evidence: {terminal: comit}}}\n", 'did you mean "commit"?'],
    ["  - {say: hi, expect: {text: {matches: '(a+)+'}}}\n", "repeats a group"],
    ["  - {say: hi, expect: {tools: [{called: a, not_called: b}]}}\n", "called and not_called are both given"],
    ["  - {say: hi, expect: {}}\n", "nothing is expected"],
    ["  - {silence_ms: 9, expect: {text: hi}}\n", "no turn comes of this step"],
    ["  - {barge_in: {after_ms: 3}}\n", "steps[0].barge_in: nothing is given | give one of say, audio, dtmf, hang_up"],
    ["  - {barge_in: {say: a, after_ms: 3, at_text: b}}\n", "the moment is given twice"],
    ["  - {dtmf: 12x}\n", "digits, A to D, * and #"],
    ["  - {network: {}}\n", "no trouble is named"],
    ["  - {network: {loss_percent: 101}}\n", "0 to 100"],
    ["  - {hang_up: true}\n  - {say: hi}\n", "steps[1]: the caller has hung up before"],
    ["  - {}\n", "the step does nothing and expects nothing"],
    ["  []\n", "0 steps, allowed are 1 to 500"],
  ])("X-08 %s is refused with its place and what to do", (steps, told) => {
    expect(refused(`${head}steps:\n${steps}`).join("\n")).toContain(told);
  });

  test("X-08 what the pipeline does not have is refused with the nearest name", () => {
    const text = `${head}providers: {lm: sim/llm}\ntools: {opening: {text: nine}}\nsteps:\n  - {say: hi, expect: {signals: [barge_inn]}}\n`;
    const read = parseTestScript(text, "t.yaml");
    if (!read.ok) throw new Error(JSON.stringify(read.error));
    const found = checkAgainstPipeline(read.value, compiled(small), "t.yaml");
    expect(found.map(({ line, path, remedy }) => [line, path, remedy])).toEqual([
      [3, "providers.lm", 'did you mean "llm"?'],
      [4, "tools.opening", "no tools is legal here"],
      [6, "steps[0].expect.signals[0]", 'did you mean "barge_in"?'],
    ]);
  });
});
