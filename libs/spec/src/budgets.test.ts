import { describe, expect, test } from "vitest";
import { compiledValues } from "./explain-spec.ts";
import { compiled, edited, problemsOf, small } from "./testing.ts";

const LIMITS = `budgets:
  limits:
    - {id: model, scope: node, target: llm, soft_ms: 500, hard_ms: 900, on_exhausted: terminate}
    - {scope: provider_invocation, target: llm, hard_ms: 400, tokens: 500, on_exhausted: fallback}
    - {scope: path, target: context..output, hard_ms: 1500, on_exhausted: continue}
    - {scope: edge, target: tts.audio->output.audio, audio_ms: 60000, on_exhausted: terminate}
    - {id: spend, scope: turn, cost_micros: 20000, on_exhausted: terminate}
  prices:
    - {provider: local/responder, input_token_micros: 0.15, output_token_micros: 0.6}
edges:
`;
const budgeted = edited(small, "edges:\n", LIMITS);
const told = (from: string, to: string): string[] =>
  problemsOf(edited(budgeted, from, to)).map(({ path, message }) => `${path}: ${message}`);

describe("F-045 F-046 budgets on scopes in a spec", () => {
  test("they are compiled with their provenance, and are part of what executes", () => {
    const pipeline = compiled(budgeted);
    expect(pipeline.graph.budgets?.limits.map(({ id }) => id)).toEqual([
      "model",
      "provider_invocation_1",
      "path_2",
      "edge_3",
      "spend",
    ]);
    expect(pipeline.graph.budgets?.limits[0]).toEqual({
      id: "model",
      scope: "node",
      target: "llm",
      softMs: 500,
      hardMs: 900,
      onExhausted: "terminate",
    });
    expect(pipeline.graph.budgets?.prices[0]).toMatchObject({ inputTokenMicros: 0.15 });
    const paths = [...compiledValues(pipeline)].map(([path]) => path);
    expect(Object.keys(pipeline.provenance).sort()).toEqual(paths.sort());
    expect(pipeline.fingerprint).not.toBe(compiled(edited(budgeted, "hard_ms: 900", "hard_ms: 901")).fingerprint);
    expect(compiled(small).graph).not.toHaveProperty("budgets");
  });

  test("what bounds nothing, is not there, or could not follow is refused with its place", () => {
    expect(told("soft_ms: 500, hard_ms: 900, ", "")[0]).toBe("budgets.limits[0]: this budget bounds nothing");
    expect(told("soft_ms: 500", "soft_ms: 950")[0]).toBe(
      "budgets.limits[0].soft_ms: soft_ms (950) exceeds hard_ms (900): the warning would come after the end",
    );
    expect(told("target: context..output", "target: context")[0]).toBe("budgets.limits[2].target: context is no path");
    expect(told("scope: node, target: llm", "scope: node, target: lm")[0]).toBe(
      'budgets.limits[0].target: no node has the id "lm"',
    );
    expect(told("scope: node, target: llm", "scope: node, target: stt")[0]).toBe(
      'budgets.limits[0].target: node "stt" belongs to the session, a budget to a turn',
    );
    expect(told("scope: node, target: llm", "scope: provider_invocation, target: segmenter")[0]).toBe(
      'budgets.limits[0].target: node "segmenter" of kind segmenter asks no provider',
    );
    expect(told("hard_ms: 900, on_exhausted: terminate", "hard_ms: 900, on_exhausted: fallback")[0]).toBe(
      'budgets.limits[0].on_exhausted: node "llm" has no fallback that could be taken',
    );
    expect(told("audio_ms: 60000", "tokens: 60000")[0]).toBe(
      "budgets.limits[3].tokens: tokens is not counted on a budget of scope edge",
    );
    expect(
      told("  prices:\n    - {provider: local/responder, input_token_micros: 0.15, output_token_micros: 0.6}\n", "")[0],
    ).toBe("budgets.limits[4].cost_micros: nothing has a price: this cost could never be reached");
    expect(told("target: tts.audio->output.audio", "target: tts.audio")[0]).toBe(
      'budgets.limits[3].target: no edge has the id "tts.audio"',
    );
  });
});
