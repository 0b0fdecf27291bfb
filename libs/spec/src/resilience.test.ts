import { describe, expect, test } from "vitest";
import { compiledValues } from "./explain-spec.ts";
import { compiled, edited, problemsOf, small } from "./testing.ts";

const PARTS = `errors:
  default: "Something went wrong."
  budget_exhausted: silence
degrade:
  text_only: true
  postures:
    - {id: brief, nodes: {context: {history_parts: 2}, llm: {max_tokens: 60}}}
    - {id: plain, nodes: {tts: {voice: plain}}}
dead_letters: {max: 64}
breaker: {failures: 3, cool_ms: 30000}
admission: {queued_max: 500, age_max_ms: 400, dispatch_max: 4}
policy: {cancel_mode: soft, soft_limit_ms: 300}
edges:
`;
const tough = edited(
  edited(small, "edges:\n", PARTS),
  "provider: {candidates: [local/responder]}",
  "provider: {candidates: [local/responder], retries: 1}",
);
const told = (from: string, to: string): string[] =>
  problemsOf(edited(tough, from, to)).map(({ path, message }) => `${path}: ${message}`);

describe("failure and overload in a spec", () => {
  test("F-131 F-135 F-048 F-132 F-041 it is compiled with its provenance; a plain spec has none of it", () => {
    const { graph, policy, provenance, ...rest } = compiled(tough);
    expect(graph.errors).toEqual({ default: "Something went wrong.", budget_exhausted: "" });
    expect(graph.degrade).toMatchObject({
      calmMs: 10_000,
      textOnly: true,
      postures: [{ id: "brief" }, { id: "plain" }],
    });
    expect(graph.deadLetters).toEqual({ max: 64 });
    expect(graph.breaker).toEqual({ failures: 3, coolMs: 30_000 });
    expect(graph.admission).toEqual({ queuedMax: 500, ageMaxMs: 400, dispatchMax: 4 });
    expect(graph.nodes.find(({ id }) => id === "llm")).toMatchObject({ retries: 1 });
    expect(policy).toMatchObject({ cancelMode: "soft", softLimitMs: 300 });
    const paths = [...compiledValues({ graph, policy, provenance, ...rest })].map(([path]) => path);
    expect(Object.keys(provenance).sort()).toEqual(paths.sort());
    const plain = compiled(small);
    for (const name of ["errors", "degrade", "deadLetters", "admission", "breaker"])
      expect(plain.graph).not.toHaveProperty(name);
    expect(plain.policy).not.toHaveProperty("cancelMode");
    expect(rest.fingerprint).not.toBe(compiled(edited(tough, "max: 64", "max: 65")).fingerprint);
  });

  test("F-048 F-135 what cannot be said or stepped down to is refused with its place", () => {
    expect(told("budget_exhausted: silence", "budget_exausted: silence")[0]).toContain("errors.budget_exausted");
    expect(told("llm: {max_tokens: 60}", "lm: {max_tokens: 60}")[0]).toBe(
      'degrade.postures[0].nodes.lm: no node has the id "lm"',
    );
    expect(told("history_parts: 2", "history: 2")[0]).toBe(
      "degrade.postures[0].nodes.context.history: of the context, history cannot be stepped down",
    );
    expect(told("tts: {voice: plain}", "segmenter: {max_chars: 40}")[0]).toBe(
      'degrade.postures[1].nodes.segmenter: node "segmenter" of kind segmenter has no settings that a posture could change',
    );
  });
});
