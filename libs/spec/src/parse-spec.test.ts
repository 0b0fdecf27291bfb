import { describe, expect, test } from "vitest";
import { parseSpec } from "./parse-spec.ts";
import { formatProblems } from "./problem.ts";
import { edited, parsed, problemsOf, readSpecFile, small } from "./testing.ts";

/** One edit of the small pipeline, and the one problem it makes. */
interface Case {
  title: string;
  from: string;
  to: string;
  at: string;
  path: string;
  message: string;
  remedy: string;
}

const cases: Case[] = [
  {
    title: "F-001 a tab as indentation",
    from: "vad.audio\n",
    to: "vad.audio\n\tx: 1\n",
    at: "24:1",
    path: "",
    message: "Tabs are not allowed as indentation",
    remedy: "indent with spaces",
  },
  {
    title: "F-001 an unknown field, with the nearest legal name",
    from: "candidates:\n",
    to: "canidates:\n",
    at: "10:7",
    path: "nodes[2].provider.canidates",
    message: 'unknown field "canidates" in the provider of a node',
    remedy: 'did you mean "candidates"?',
  },
  {
    title: "F-001 an unknown field far from any legal one",
    from: "{id: vad, kind: vad}",
    to: "{id: vad, kind: vad, provider: {}}",
    at: "6:26",
    path: "nodes[1].provider",
    message: 'unknown field "provider" in a node of kind vad',
    remedy: "legal fields: id, kind, settings, description",
  },
  {
    title: "F-001 a missing field",
    from: "name: small\n",
    to: "",
    at: "1:1",
    path: "name",
    message: 'a pipeline spec needs "name"',
    remedy: 'add "name:"',
  },
  {
    title: "F-001 a field given twice",
    from: "name: small\n",
    to: "name: small\nname: other\n",
    at: "3:1",
    path: "name",
    message: 'field "name" is given twice',
    remedy: "keep one of them",
  },
  {
    title: "F-001 a value of another type",
    from: "edges:\n",
    to: 'budgets: {node_soft_ms: "800 ms"}\nedges:\n',
    at: "22:25",
    path: "budgets.node_soft_ms",
    message: 'expected a whole number, found text "800 ms"',
    remedy: "write a whole number from 10 to 60000, without quotes or unit",
  },
  {
    title: "F-001 a budget out of range",
    from: "edges:\n",
    to: "budgets: {provider_attempt_ms: 5}\nedges:\n",
    at: "22:32",
    path: "budgets.provider_attempt_ms",
    message: "5 is out of range, allowed are 50 to 60000",
    remedy: "choose a whole number from 50 to 60000",
  },
  {
    title: "F-001 budgets that contradict each other",
    from: "edges:\n",
    to: "budgets: {provider_attempt_ms: 5000}\nedges:\n",
    at: "22:32",
    path: "budgets.provider_attempt_ms",
    message:
      "provider_attempt_ms (5000) exceeds turn_first_output_ms (2000): the turn would end before its first attempt",
    remedy: "set provider_attempt_ms to 2000 or less, or raise turn_first_output_ms",
  },
  {
    title: "F-001 a setting that contradicts a default",
    from: "{id: segmenter, kind: segmenter}",
    to: "{id: segmenter, kind: segmenter, settings: {max_chars: 20}}",
    at: "17:60",
    path: "nodes[6].settings.max_chars",
    message: "min_chars (24) exceeds max_chars (20): no clause could ever be long enough",
    remedy: "set min_chars to 20 or less, or raise max_chars",
  },
  {
    title: "F-001 a provider name of another form",
    from: "        - sim/stt",
    to: "        - flite",
    at: "11:11",
    path: "nodes[2].provider.candidates[0]",
    message: '"flite" has not the expected form',
    remedy: "write vendor/model, e.g. local/flite",
  },
  {
    title: "F-001 a version that is no version",
    from: "version: 1\n",
    to: "version: -1.5\n",
    at: "3:10",
    path: "version",
    message: "expected text, found the number -1.5",
    remedy: "put quotes around it",
  },
  {
    title: "F-001 an alias",
    from: "name: small",
    to: "name: *other",
    at: "2:7",
    path: "name",
    message: "aliases are not accepted",
    remedy: "write the value out",
  },
  {
    title: "F-010 an unknown node kind",
    from: "{id: vad, kind: vad}",
    to: "{id: vad, kind: vda}",
    at: "6:21",
    path: "nodes[1].kind",
    message: 'unknown node kind "vda"',
    remedy: 'did you mean "vad"?',
  },
  {
    title: "F-002 a duplicate id",
    from: "{id: output, kind: output}",
    to: "{id: output, kind: output}\n  - {id: vad, kind: filter}",
    at: "22:10",
    path: "nodes[9].id",
    message: 'node id "vad" is already used by nodes[1]',
    remedy: "give each node an id of its own",
  },
  {
    title: "F-002 an edge to a node that is not there",
    from: "stt.text -> ep.text",
    to: "sst.text -> ep.text",
    at: "26:5",
    path: "edges[3]",
    message: 'no node has the id "sst"',
    remedy: 'did you mean "stt"?',
  },
  {
    title: "F-002 an edge from a port that is not there",
    from: "- stt.text -> ep.text",
    to: "- {from: stt.txt, to: ep.text}",
    at: "26:12",
    path: "edges[3].from",
    message: 'node "stt" of kind stt has no output port "txt"',
    remedy: 'did you mean "text"?',
  },
  {
    title: "F-002 a short edge of another form",
    from: "stt.text -> ep.text",
    to: "stt.text => ep.text",
    at: "26:5",
    path: "edges[3]",
    message: '"stt.text => ep.text" has not the expected form',
    remedy: 'write "node.port -> node.port", e.g. "stt.text -> endpointing.text"',
  },
  {
    title: "F-003 unlike port types, both ports named with their types",
    from: "stt.text -> ep.text",
    to: "caller.audio -> ep.text",
    at: "26:5",
    path: "edges[3]",
    message: "output caller.audio carries audio, input ep.text takes text",
    remedy: "connect ports of one type; inputs that take audio: vad.audio, stt.audio, output.audio",
  },
  {
    title: "F-002 a cyclic graph, the cycle named",
    from: "llm.text -> segmenter.text",
    to: "segmenter.text -> segmenter.text",
    at: "29:5",
    path: "edges[6]",
    message: "this edge closes a cycle: segmenter -> segmenter",
    remedy: "remove one of its edges; what must come back goes through the conversation, not the graph",
  },
  {
    title: "F-002 a required input that is not connected",
    from: "  - stt.text -> ep.text\n",
    to: "",
    at: "12:5",
    path: "nodes[3]",
    message: "input ep.text (text) is not connected",
    remedy: 'add an edge, e.g. "stt.text -> ep.text"',
  },
  {
    title: "F-002 a turn's data cannot flow into the session",
    from: "{id: output, kind: output}",
    to: "{id: output, kind: output, scope: session}",
    at: "31:5",
    path: "edges[8]",
    message:
      'node "tts" belongs to a turn, node "output" to the session: a turn\'s data cannot flow back into the session',
    remedy: 'set "scope: turn" on node "output"',
  },
  {
    title: "F-002 an input fed twice",
    from: "edges:\n",
    to: "edges:\n  - {from: llm.text, to: tts.text}\n",
    at: "31:5",
    path: "edges[8]",
    message: "input tts.text is already fed by edges[0]",
    remedy: "feed each input from one edge",
  },
  {
    title: "F-002 a second caller",
    from: "{id: output, kind: output}",
    to: "{id: output, kind: output}\n  - {id: guest, kind: ingress}",
    at: "22:23",
    path: "nodes[9].kind",
    message: "a second node of kind ingress; a pipeline has one",
    remedy: 'remove node "guest" or node "caller"',
  },
  {
    title: "F-002 no way out",
    from: "  - {id: output, kind: output}\nedges:\n",
    to: "edges:\n",
    at: "5:3",
    path: "nodes",
    message: "the pipeline has no node of kind output",
    remedy: 'add "- {id: output, kind: output}" and connect it',
  },
  {
    title: "F-043 a buffer rule that has no meaning",
    from: "- caller.audio -> vad.audio",
    to: "- {from: caller.audio, to: vad.audio, buffer: {strategy: coalesce}}",
    at: "23:60",
    path: "edges[0].buffer.strategy",
    message: "only text can be coalesced, this edge carries audio",
    remedy: "use drop_oldest, drop_newest, latest_only or block",
  },
  {
    title: "F-078 a profile that is known and refused",
    from: "edges:\n",
    to: "profile: balanced/v1\nedges:\n",
    at: "22:10",
    path: "profile",
    message:
      "profile balanced/v1 is known but refused: its hedged provider calls and adaptive edges are not part of this release",
    remedy: "use simple/v1 and set the budgets, policy and buffers that matter in the spec",
  },
  {
    title: "F-078 a profile nobody knows",
    from: "edges:\n",
    to: "profile: turbo/v1\nedges:\n",
    at: "22:10",
    path: "profile",
    message: 'unknown profile "turbo/v1"',
    remedy: "use simple/v1; known names: simple/v1, balanced/v1, accuracy/v1, latency/v1, telephony/v1",
  },
  {
    title: "F-002 a secret written out",
    from: "{candidates: [local/responder]}",
    to: "{candidates: [{name: openai/chat, settings: {api_key: hunter2}}]}",
    at: "16:69",
    path: "nodes[5].provider.candidates[0].settings.api_key",
    message: '"api_key" must name a secret, not hold it',
    remedy: "name an environment variable instead, e.g. env:OPENAI_API_KEY",
  },
];

describe("a faulty spec", () => {
  test.each(cases)("$title", ({ from, to, at, path, message, remedy }) => {
    const start = path === "nodes" ? edited(small, "  - tts.audio -> output.audio\n", "") : small;
    const [problem, ...more] = problemsOf(edited(start, from, to));
    expect(`${problem?.line}:${problem?.column}`).toBe(at);
    expect(problem).toMatchObject({ file: "bad.yaml", path, message, remedy });
    expect(more).toEqual([]);
  });

  test("F-001 all problems at once, sorted by place", () => {
    let text = edited(small, "name: small", "name: Small");
    text = edited(text, "{id: ep, kind: endpointing}", "{id: ep, kind: endpointing, settings: {onset_frames: 99}}");
    text = edited(text, "kind: stt\n", "kind: stt\n    voice: x\n");
    text = edited(text, "llm.text -> segmenter.text", "llm.text -> tts.text");
    expect(problemsOf(text).map((p) => `${p.line}:${p.column} ${p.code} ${p.path}`)).toEqual([
      "2:7 bad_format name",
      "9:5 unknown_field nodes[2].voice",
      "13:58 out_of_range nodes[3].settings.onset_frames",
      "18:5 unconnected_input nodes[6]",
      "31:5 input_taken edges[7]",
    ]);
  });

  test("F-001 a longer cycle through several nodes is named whole", () => {
    const text = `schema: rspp/pipeline/v1
name: ring
version: 1
nodes:
  - {id: caller, kind: ingress}
  - {id: a, kind: filter}
  - {id: b, kind: filter}
  - {id: c, kind: filter}
  - {id: output, kind: output}
edges:
  - a.out -> b.in
  - b.out -> c.in
  - c.out -> a.in
  - caller.audio -> output.audio
`;
    expect(problemsOf(text)).toMatchObject([
      { line: 13, column: 5, path: "edges[2]", message: "this edge closes a cycle: a -> b -> c -> a" },
    ]);
  });

  test("F-001 printed for people: place, field, line with caret, help", () => {
    const text = edited(small, "candidates:\n", "canidates:\n");
    expect(formatProblems(problemsOf(text, "specs/mine.yaml"), text)).toBe(
      [
        'specs/mine.yaml:10:7: error: nodes[2].provider.canidates: unknown field "canidates" in the provider of a node',
        "   10 |       canidates:",
        "      |       ^",
        '   help: did you mean "candidates"?',
      ].join("\n"),
    );
  });

  test.each([
    ["", "the file holds no pipeline spec"],
    ["# nothing\n", "the file holds no pipeline spec"],
    ["hello", 'expected the fields of a pipeline spec, found text "hello"'],
    ["- a", "expected the fields of a pipeline spec, found a list"],
    ["a: b: c", "Nested mappings are not allowed in compact mappings"],
    ["a: 1\n---\nb: 2\n", "a second document, which is no module"],
    ["name: !secret x", "Unresolved tag: !secret"],
    ["[".repeat(20_000), "the file cannot be read: it is nested too deeply"],
    ["- ".repeat(20_000), "the file cannot be read: it is nested too deeply"],
    [`#${"x".repeat(256 * 1024)}`, "the file is larger than 256 KiB"],
    [`#${"é".repeat(128 * 1024)}`, "the file is larger than 256 KiB"],
  ])("F-001 a file that is no spec at all (%#)", (text, message) => {
    expect(problemsOf(text)[0]?.message).toBe(message);
  });

  test("F-001 limits on nodes, edges and texts", () => {
    const nodes = Array.from({ length: 65 }, (_, i) => `  - {id: n${i}, kind: filter}\n`).join("");
    const many = edited(small, "edges:\n", `${nodes}edges:\n`);
    expect(problemsOf(many)[0]).toMatchObject({ path: "nodes", message: "74 nodes, allowed are 1 to 64" });
    const edges = "  - caller.audio -> vad.audio\n".repeat(257);
    expect(problemsOf(edited(small, "edges:\n", `edges:\n${edges}`))[0]).toMatchObject({
      path: "edges",
      message: "266 edges, allowed are 1 to 256",
    });
    const long = edited(small, "edges:\n", `conversation: {greeting: ${"a".repeat(2001)}}\nedges:\n`);
    expect(problemsOf(long)).toMatchObject([
      { path: "conversation.greeting", message: "2001 characters, allowed are 1 to 2000", remedy: "shorten it" },
    ]);
  });

  test("F-001 more than a hundred problems end with their number", () => {
    const text = Array.from({ length: 150 }, (_, i) => `field${i}x: 1\n`).join("");
    const problems = problemsOf(text);
    expect(problems.length).toBe(101);
    expect(problems.at(-1)?.message).toMatch(/^\d+ more problems are not shown$/);
  });
});

describe("secrets in a spec", () => {
  const key = `sk-${"abc123".repeat(6)}`;

  test.each([
    ["model", key],
    ["prompt", `use Bearer ${"a1".repeat(12)}`],
    ["api_key", "hunter2"],
    ["auth-token", "hunter2"],
    ["api_key", "[hunter2]"],
  ])("a literal secret in %s is refused and not printed", (name, value) => {
    const settings = `{candidates: [local/responder], settings: {${name}: ${value}}}`;
    const text = edited(small, "{candidates: [local/responder]}", settings);
    const problems = problemsOf(text);
    expect(problems.map((problem) => problem.code)).toEqual(["secret_literal"]);
    const printed = formatProblems(problems, text) + JSON.stringify(problems);
    expect(printed).not.toContain("hunter2");
    expect(printed).not.toMatch(/abc123|a1a1/);
  });

  test("a misspelt field does not print its secret either", () => {
    const text = edited(small, "name: small\n", `name: small\napi_key: hunter2\nmodel: ${key}\n`);
    expect(formatProblems(problemsOf(text), text)).not.toMatch(/hunter2|abc123/);
  });

  test("a secret by reference is accepted, max_tokens is no secret", () => {
    const settings = "{candidates: [openai/chat], settings: {api_key: env:OPENAI_API_KEY, max_tokens: 200}}";
    const spec = parsed(edited(small, "{candidates: [local/responder]}", settings));
    expect(spec.nodes[5]?.provider?.settings).toEqual({ api_key: "env:OPENAI_API_KEY", max_tokens: 200 });
    const wrong = edited(small, "{candidates: [local/responder]}", settings.replace("OPENAI_API_KEY", "openai-key"));
    expect(problemsOf(wrong)[0]?.remedy).toMatch(/e\.g\. env:OPENAI_API_KEY$/);
  });
});

describe("a good spec", () => {
  test.each(["voice-assistant.yaml", "echo.yaml"])("F-001 %s has no problem", (name) => {
    expect(parseSpec(readSpecFile(name), name).ok).toBe(true);
  });

  test("F-002 the same spec as JSON, indented with tabs", () => {
    const { origin: _, ...document } = parsed(small);
    const { origin: _origin, ...again } = parsed(JSON.stringify(document, null, "\t"), "small.json");
    expect(again).toEqual(document);
  });
});

test("NF-010 a version is its digits as they stand: 1.10 is not 1.1", () => {
  expect(parsed(edited(small, "version: 1\n", "version: 1.10\n")).version).toBe("1.10");
});
