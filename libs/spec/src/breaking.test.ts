import { describe, expect, test } from "vitest";
import { breakingChanges, breakingProblems, majorOf } from "./breaking.ts";
import { edited, parsed, small } from "./testing.ts";

const variables = `variables:
  caller: {type: string, max_chars: 40}
  plan: {type: enum, values: [basic, gold], default: basic}
  visits: {type: number, min: 0, max: 9}
`;
const old = edited(small, "nodes:", `${variables}nodes:`);

const changes = (from: string, to: string): string[] =>
  breakingProblems(parsed(old), parsed(edited(old, from, to)), "small@4").map(
    ({ line, path, message }) => `${line} ${path}: ${message}`,
  );

describe("breaking changes within one MAJOR version", () => {
  test.each([
    [
      "  caller: {type: string, max_chars: 40}\n",
      "",
      '5 variables.caller: breaks small@4: variable "caller" is removed',
    ],
    [
      "type: string, max",
      "required: true, type: string, max",
      '5 variables.caller.required: breaks small@4: variable "caller" must be given now',
    ],
    [
      "variables:\n",
      "variables:\n  town: {type: string, required: true}\n",
      '5 variables.town: breaks small@4: variable "town" is new and must be given',
    ],
    [
      "caller: {type: string, max_chars: 40}",
      "caller: {type: number}",
      '5 variables.caller.type: breaks small@4: variable "caller" was a string and is a number now',
    ],
    ["[basic, gold]", "[basic]", '6 variables.plan.values: breaks small@4: variable "plan" no longer takes gold'],
    [
      "max_chars: 40",
      "max_chars: 39",
      '5 variables.caller.max_chars: breaks small@4: variable "caller" takes no more than 39 now',
    ],
    ["min: 0", "min: 1", '7 variables.visits.min: breaks small@4: variable "visits" takes no less than 1 now'],
    [
      "min: 0",
      "min: 0, whole: true",
      '7 variables.visits.whole: breaks small@4: variable "visits" takes whole numbers only now',
    ],
    [
      "max_chars: 40",
      'max_chars: 40, pattern: "[a-z]*"',
      '5 variables.caller.pattern: breaks small@4: variable "caller" has another pattern',
    ],
  ])("F-028 NF-010 %s -> %s is named with its field", (from, to, expected) => {
    expect(changes(from, to)).toEqual([expected]);
  });

  test("F-028 NF-010 a removed output, keypad or tool and a node whose ports are others are named", () => {
    const contract = (nodes: string) =>
      parsed(edited(small, "  - {id: output, kind: output}\n", `  - {id: output, kind: output}\n${nodes}`));
    const more = "  - {id: second, kind: output}\n  - {id: keys, kind: dtmf}\n";
    const edges = "edges:\n  - caller.audio -> second.audio\n  - keys.utterance -> context.utterance\n";
    const rich = parsed(
      edited(
        edited(small, "  - {id: output, kind: output}\n", `  - {id: output, kind: output}\n${more}`),
        "edges:\n",
        edges,
      ),
    );
    expect(breakingChanges(rich, contract("")).map(({ message }) => message)).toEqual([
      'node "second" of kind output is removed: what the caller hears',
      'node "keys" of kind dtmf is removed: keyed-in digits',
    ]);
    const [node] = rich.nodes.filter(({ id }) => id === "llm");
    if (node === undefined) throw new Error("no llm");
    const tool = { name: "weather", description: "d", side_effect: "none" } as never;
    const withTool = { ...rich, nodes: rich.nodes.map((one) => (one === node ? { ...one, tools: [tool] } : one)) };
    expect(breakingChanges(withTool, rich).map(({ message }) => message)).toEqual(['tool "weather" is removed']);
    const retyped = {
      ...rich,
      nodes: rich.nodes.map((one) => (one.id === "vad" ? { ...one, kind: "filter" as const } : one)),
    };
    expect(breakingChanges(rich, retyped)).toEqual([
      { path: "nodes[1].kind", message: "input vad.audio (audio) is removed" },
      { path: "nodes[1].kind", message: "output vad.activity (activity) is removed" },
    ]);
  });

  test("F-028 NF-010 another audio format is named", () => {
    const voice = (settings: string) =>
      parsed(
        edited(
          small,
          "    provider: {candidates: [local/flite]}",
          `    provider: {candidates: [local/flite], settings: {${settings}}}`,
        ),
      );
    const [first, ...others] = breakingChanges(voice("rate_hz: 16000"), voice("rate_hz: 8000"));
    expect(others).toEqual([]);
    expect(first).toEqual({
      path: "nodes[7].provider.settings.rate_hz",
      message: 'the audio format of "tts" changes: rate_hz was 16000, is 8000',
    });
  });

  test("NF-010 with a new MAJOR anything goes; widening and insides never break", () => {
    const next = edited(edited(old, "version: 1", "version: 2.0"), "  caller: {type: string, max_chars: 40}\n", "");
    expect(breakingProblems(parsed(old), parsed(next), "small@4")).toEqual([]);
    expect(changes("max_chars: 40", "max_chars: 80")).toEqual([]);
    expect(changes("[basic, gold]", "[basic, gold, silver]")).toEqual([]);
    expect(changes("variables:\n", "variables:\n  town: {type: string}\n")).toEqual([]);
    expect(changes("local/responder", "openai/chat")).toEqual([]);
    const [problem] = breakingProblems(parsed(old), parsed(edited(old, "[basic, gold]", "[basic]")), "small@4");
    expect(problem?.remedy).toBe("keep it as it was, or set version: 2");
  });

  test.each([
    ["1", "1"],
    ["1.2", "1"],
    ["1.2.3", "1"],
    ["01.2", "1"],
    ["10", "10"],
    ["1.2.3.4", "1.2.3.4"],
    ["draft", "draft"],
  ])("NF-010 the MAJOR of %s is %s", (version, major) => {
    expect(majorOf(version)).toBe(major);
  });
});
