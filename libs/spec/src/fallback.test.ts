import { describe, expect, test } from "vitest";
import { compiled, edited, problemsOf, small } from "./testing.ts";

const LLM = "    kind: llm\n";
const SORRY =
  '  - {id: sorry, kind: canned, settings: {text: "Not now.", replies: ["overload: I am busy."]}}\nedges:\n';
const guarded = edited(edited(small, LLM, `${LLM}    fallback: sorry\n`), "edges:\n", SORRY);
const told = (text: string): string[] => problemsOf(text).map(({ path, message }) => `${path}: ${message}`);

describe("F-007 F-133 fallback nodes in a spec", () => {
  test("a stand-in has no edges of its own and belongs to the turn", () => {
    const { graph, provenance } = compiled(guarded);
    expect(graph.nodes.find(({ id }) => id === "llm")).toMatchObject({ fallback: "sorry" });
    expect(graph.nodes.find(({ id }) => id === "sorry")).toMatchObject({ kind: "canned", scope: "turn" });
    expect(provenance["nodes.llm.fallback"]).toBe("spec");
    expect(compiled(guarded).fingerprint).not.toBe(compiled(small).fingerprint);
  });

  test("a second model may stand by, though a pipeline has one", () => {
    const second = "  - {id: sorry, kind: llm, provider: {candidates: [sim/llm]}}\nedges:\n";
    const text = edited(edited(small, LLM, `${LLM}    fallback: sorry\n`), "edges:\n", second);
    expect(compiled(text).graph.nodes.filter(({ kind }) => kind === "llm")).toHaveLength(2);
    expect(told(edited(text, "    fallback: sorry\n", ""))).toContain(
      "nodes[9].kind: a second node of kind llm; a pipeline has one",
    );
  });

  test("one that cannot take over, has edges, has a fallback itself or is not there is refused", () => {
    expect(told(edited(guarded, "fallback: sorry", "fallback: sory"))[0]).toBe(
      'nodes[5].fallback: no node has the id "sory"',
    );
    expect(told(edited(guarded, "fallback: sorry", "fallback: tts"))).toContain(
      'nodes[5].fallback: node "tts" cannot take over from node "llm" of kind llm',
    );
    expect(told(`${guarded}  - context.messages -> sorry.messages\n`)).toContain(
      'edges[9]: node "sorry" is a fallback: it takes over the edges of node "llm"',
    );
    expect(told(edited(guarded, '"overload: I', '"overlode: I'))[0]).toBe(
      'nodes[9].settings.replies[0]: nothing fails for the reason "overlode"',
    );
    expect(told(edited(guarded, "    fallback: sorry\n", ""))[0]).toBe(
      'nodes[9]: node "sorry" of kind canned is given nothing',
    );
    const chain = "  - {id: sorry, kind: llm, fallback: end, provider: {candidates: [sim/llm]}}\n";
    const text = edited(guarded, SORRY, `${chain}  - {id: end, kind: canned, settings: {text: Bye.}}\nedges:\n`);
    expect(told(text)).toEqual(['nodes[9].fallback: node "sorry" is a fallback and has one itself']);
  });
});
