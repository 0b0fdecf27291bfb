import { describe, expect, test } from "vitest";
import { routeAdvice } from "./advice-routes.ts";
import type { PipelineSpec } from "./spec.ts";

function adviceOn(...conditions: (string | null)[]): string[] {
  const edges = conditions.map((condition, i) =>
    condition === null ? `llm.text -> n${i}.text` : { from: "llm.text", to: `n${i}.text`, condition },
  );
  const variables = { language: { type: "enum", values: ["en", "de", "fr"], default: "en" } };
  return routeAdvice({ edges, variables } as unknown as PipelineSpec).map(({ path }) => path);
}

describe("F-018 a port whose every edge has a condition", () => {
  test.each([
    [["event.chars > 3"]],
    [['vars.language == "en"', 'vars.language == "de"']],
    [['vars.language == "en"', 'session.language != "en"']],
    [["event.final", "event.chars > 3"]],
  ])("F-018 %j: advice, since none of them may hold and the turn ends in silence", (conditions) => {
    expect(adviceOn(...conditions)).toEqual(["edges[0].condition"]);
  });

  test.each([
    [['vars.language == "en"', null]],
    [['vars.language == "en"', "vars.language != 'en'"]],
    [['vars.language == "en"', 'vars.language == "fr"', 'vars.language == "de"']],
    [["event.final", "!event.final"]],
    [["event.chars > 3", "!(event.chars>3)"]],
    [[null]],
  ])("F-018 %j: one of them always holds, no advice", (conditions) => {
    expect(adviceOn(...conditions)).toEqual([]);
  });
});
