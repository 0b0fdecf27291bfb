/** Tools in a pipeline spec (X-03). */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileSpec } from "./compile-spec.ts";
import { compiledValues } from "./explain-spec.ts";
import { parseSpec } from "./parse-spec.ts";

const TOOL = `
        - name: balance
          description: What the caller has.
          parameters: {type: object, properties: {account: {type: string, enum: [a, b]}, limit: {type: [integer, "null"]}}}
          side_effect: none
          filler: {text: One moment, after_ms: 600}
          http: {url: "https://tools.example/balance", headers: {authorization: "env:BALANCE_KEY"}}`;

function spec(tools: string, more = ""): string {
  return `schema: rspp/pipeline/v1
name: with-tools
version: 1
nodes:
  - {id: caller, kind: ingress}
  - {id: vad, kind: vad}
  - {id: stt, kind: stt, provider: {candidates: [sim/stt]}}
  - {id: endpointing, kind: endpointing}
  - {id: context, kind: context}
  - id: llm
    kind: llm
    provider: {candidates: [sim/llm]}${tools === "" ? "" : `\n    tools:${tools}`}${more}
  - {id: tts, kind: tts, provider: {candidates: [sim/tts]}}
  - {id: output, kind: output}
edges:
  - caller.audio -> vad.audio
  - caller.audio -> stt.audio
  - vad.activity -> endpointing.activity
  - stt.text -> endpointing.text
  - endpointing.utterance -> context.utterance
  - context.messages -> llm.messages
  - llm.text -> tts.text
  - tts.audio -> output.audio
`;
}

function compiled(text: string) {
  const parsed = parseSpec(text, "s.yaml");
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.error));
  const done = compileSpec(parsed.value);
  if (!done.ok) throw new Error(JSON.stringify(done.error));
  return done.value;
}

function problems(text: string): string[] {
  const parsed = parseSpec(text, "s.yaml");
  return parsed.ok ? [] : parsed.error.map(({ path, message }) => `${path}: ${message}`);
}

describe("tools of a language model", () => {
  test("X-03 a tool is compiled with its class, deadline, filler and how it is called; each value has its source", () => {
    const pipeline = compiled(spec(TOOL));
    const llm = pipeline.graph.nodes.find(({ id }) => id === "llm");
    expect(llm?.tools).toEqual([
      {
        name: "balance",
        description: "What the caller has.",
        parameters:
          '{"properties":{"account":{"enum":["a","b"],"type":"string"},"limit":{"type":["integer","null"]}},"type":"object"}',
        sideEffect: "none",
        deadlineMs: 5_000,
        filler: { text: "One moment. ", afterMs: 600 },
        candidates: [
          {
            provider: "tool/http",
            settings: {
              parameters: expect.any(String),
              side_effect: "none",
              result_bytes_max: 16_384,
              url: "https://tools.example/balance",
              method: "POST",
              headers: ["authorization: env:BALANCE_KEY"],
            },
          },
        ],
      },
    ]);
    expect(llm?.toolLimits).toEqual({
      perTurnMax: 8,
      roundsMax: 4,
      parallelMax: 4,
      resultBytesMax: 16_384,
      lateResult: "note",
    });
    const without = [...compiledValues(pipeline)].filter(([path]) => pipeline.provenance[path] === undefined);
    expect(without).toEqual([]);
    expect(pipeline.provenance["nodes.llm.tools.balance.sideEffect"]).toBe("spec");
    expect(pipeline.provenance["nodes.llm.tools.balance.deadlineMs"]).toBe("node_kind/llm");
  });

  test("X-03 an MCP tool is called by its name at the server unless another is given", () => {
    const mcp = `
        - {name: order, description: Orders., side_effect: side_effecting, mcp: {url: "http://localhost:9/mcp"}}
        - {name: find, description: Finds., side_effect: idempotent, mcp: {command: shop-server --stdio, tool: search}}`;
    const llm = compiled(spec(mcp, "\n    tool_limits: {late_result: propose}")).graph.nodes.find(
      ({ id }) => id === "llm",
    );
    expect(llm?.tools?.map(({ candidates }) => [candidates[0]?.provider, candidates[0]?.settings.tool])).toEqual([
      ["tool/mcp", "order"],
      ["tool/mcp", "search"],
    ]);
    expect(llm?.toolLimits?.lateResult).toBe("propose");
  });

  test("X-03 a node without tools has no field of them, and its fingerprint changes with each part of a tool", () => {
    const plain = compiled(spec(""));
    expect(plain.graph.nodes.some((node) => "tools" in node || "toolLimits" in node)).toBe(false);
    const prints = [
      plain,
      compiled(spec(TOOL)),
      compiled(spec(TOOL.replace("none", "idempotent"))),
      compiled(spec(TOOL.replace("600", "700"))),
      compiled(spec(TOOL.replace("BALANCE_KEY", "OTHER_KEY"))),
    ].map(({ fingerprint }) => fingerprint);
    expect(new Set(prints).size).toBe(prints.length);
  });

  test.each([
    ["a literal secret", TOOL.replace("env:BALANCE_KEY", "Bearer abcdefghijklmnopqrstuvwxyz"), "must name a secret"],
    ["a header that is no reference", TOOL.replace('authorization: "env:BALANCE_KEY"', "x-team: red"), "expected form"],
    ["no side effect", TOOL.replace("side_effect: none", "deadline_ms: 800"), 'needs "side_effect"'],
    ["no way to be called", TOOL.replace(/http: .*/, "deadline_ms: 900"), "cannot be called"],
    ["two ways", `${TOOL}\n          mcp: {command: x}`, "in two ways"],
    ["credentials in the address", TOOL.replace("https://tools", "https://me:pw@tools"), "expected form"],
    ["parameters of no object", TOOL.replace("{type: object,", "{type: array,"), "JSON Schema of an object"],
    ["filler after the deadline", TOOL.replace("after_ms: 600", "after_ms: 6000"), "would never be said"],
    ["two of one name", TOOL + TOOL, "two tools are named balance"],
    ["a method nobody knows", TOOL.replace("http: {", "http: {method: BREW, "), "not one of the legal values"],
  ])("X-03 refused: %s", (_, tools, message) => {
    expect(problems(spec(tools)).join("\n")).toContain(message);
    expect(problems(spec(tools)).join("\n")).not.toContain("abcdefghijklmnop");
  });

  test("X-03 limits without tools are refused; other kinds of node have none", () => {
    expect(problems(spec("", "\n    tool_limits: {rounds_max: 2}")).join()).toContain("limits of tools without tools");
    expect(problems(spec("").replace("kind: tts,", "kind: tts, tools: [],")).join()).toContain('unknown field "tools"');
  });

  test("X-03 any JSON may be the parameters' content, or is refused; what is taken is the same value", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 12 }), (value) => {
        const text = spec(
          TOOL.replace(/parameters: .*/, () => `parameters: ${JSON.stringify({ type: "object", x: value })}`),
        );
        const parsed = parseSpec(text, "s.yaml");
        if (!parsed.ok) return parsed.error.every(({ path }) => path.includes("parameters") || path === "");
        const tool = parsed.value.nodes.find(({ id }) => id === "llm")?.tools?.[0];
        expect((tool?.parameters as { x: unknown } | undefined)?.x).toEqual(JSON.parse(JSON.stringify(value)));
        return true;
      }),
      { numRuns: 200 },
    );
  });
});
