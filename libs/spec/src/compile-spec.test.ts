import { describe, expect, test } from "vitest";
import { compileSpec, specFingerprint } from "./compile-spec.ts";
import { compiledValues, explainRows, explainSpec } from "./explain-spec.ts";
import { compiled, edited, parsed, readSpecFile, small } from "./testing.ts";

const DEFAULTED = "defaulting_source=execution_profile/simple/v1";
const template = readSpecFile("voice-assistant.yaml");

function print(text: string): string {
  return compiled(text).fingerprint;
}

describe("the shipped pipelines", () => {
  test("F-002 the voice assistant compiles to its graph", () => {
    const pipeline = compiled(template);
    expect(pipeline.graph.pipelineVersion).toBe("voice-assistant@1");
    expect(pipeline.graph.nodes.map(({ id, kind, scope }) => `${id} ${kind} ${scope}`)).toEqual([
      "caller ingress session",
      "vad vad session",
      "stt stt session",
      "endpointing endpointing session",
      "context context turn",
      "llm llm turn",
      "segmenter segmenter turn",
      "tts tts turn",
      "output output turn",
    ]);
    expect(pipeline.graph.edges.map(({ id, type }) => `${id} ${type}`)).toEqual([
      "caller.audio->vad.audio audio",
      "caller.audio->stt.audio audio",
      "vad.activity->endpointing.activity activity",
      "stt.text->endpointing.text text",
      "endpointing.utterance->context.utterance utterance",
      "context.messages->llm.messages messages",
      "llm.text->segmenter.text text",
      "segmenter.text->tts.text text",
      "tts.audio->output.audio audio",
    ]);
    expect(pipeline.graph.nodes[2]?.candidates.map((candidate) => candidate.provider)).toEqual([
      "local/pocketsphinx",
      "sim/stt",
    ]);
    expect(pipeline.greeting).toBe("Welcome. How can I help you?");
    expect(pipeline.sttGrammar).toMatch(/^#JSGF V1\.0;\ngrammar assistant;\n/);
    expect(pipeline.policy.bargeIn).toBe(true);
    expect(pipeline.graph.nodes[3]?.settings).toMatchObject({ min_speech_ms: 120, endpoint_silence_ms: 500 });
  });

  test("F-002 the echo pipeline is seven nodes of session scope", () => {
    const { graph } = compiled(readSpecFile("echo.yaml"));
    expect(graph.nodes.map((node) => `${node.kind} ${node.scope}`)).toEqual([
      "ingress session",
      ...Array.from({ length: 5 }, () => "filter session"),
      "output session",
    ]);
    expect(graph.edges.length).toBe(6);
  });

  test("F-078 defaults are laid under the spec's values", () => {
    const pipeline = compiled(small);
    expect(pipeline.budgets).toEqual({
      turnFirstOutputMs: 2000,
      nodeSoftMs: 800,
      providerAttemptMs: 1000,
      cancelGraceMs: 75,
    });
    expect(pipeline.graph.edges[0]?.buffer).toEqual({
      maxItems: 100,
      maxBytes: 1_048_576,
      maxQueueMs: 1000,
      strategy: "drop_oldest",
      maxBlockMs: 0,
      source: DEFAULTED,
    });
    expect(pipeline.graph.edges[8]?.buffer).toMatchObject({ strategy: "block", maxItems: 6000, maxBlockMs: 2000 });
  });

  test("F-043 an edge's own bounds, and the waiting time that goes with its strategy", () => {
    const own = "- {id: mic, from: caller.audio, to: vad.audio, buffer: {strategy: block, max_items: 5}}";
    const pipeline = compiled(edited(small, "- caller.audio -> vad.audio", own));
    expect(pipeline.graph.edges[0]).toMatchObject({
      id: "mic",
      buffer: { strategy: "block", maxItems: 5, maxQueueMs: 1000, maxBlockMs: 2000, source: `spec; ${DEFAULTED}` },
    });
    expect(pipeline.provenance["edges.mic.buffer.maxItems"]).toBe("spec");
    expect(pipeline.provenance["edges.mic.buffer.maxBlockMs"]).toBe(DEFAULTED);
    const drop = "- {from: tts.audio, to: output.audio, buffer: {strategy: drop_oldest}}";
    const dropping = compiled(edited(small, "- tts.audio -> output.audio", drop));
    expect(dropping.graph.edges[8]?.buffer).toMatchObject({ strategy: "drop_oldest", maxBlockMs: 0 });
  });

  test("a candidate's settings are laid over those of its node", () => {
    const provider =
      "{settings: {voice: slt, rate: 1}, candidates: [local/flite, {name: sim/tts, settings: {rate: 2}}]}";
    const pipeline = compiled(edited(small, "{candidates: [local/flite]}", provider));
    expect(pipeline.graph.nodes[7]?.candidates).toEqual([
      { provider: "local/flite", settings: { voice: "slt", rate: 1 } },
      { provider: "sim/tts", settings: { voice: "slt", rate: 2 } },
    ]);
  });
});

describe("provenance", () => {
  test.each([
    ["voice-assistant", template],
    ["echo", readSpecFile("echo.yaml")],
    ["small", small],
  ])("F-078 every value of %s names its source, and nothing else has one", (_, text) => {
    const pipeline = compiled(text);
    const paths = [...compiledValues(pipeline)].map(([path]) => path);
    expect(Object.keys(pipeline.provenance).sort()).toEqual(paths.sort());
    const sources = new Set(Object.values(pipeline.provenance).map((source) => source.replace(/\/[a-z]+$/, "")));
    for (const source of sources) expect(["spec", "derived", "default", "node_kind", DEFAULTED]).toContain(source);
  });

  test("F-078 what the spec says and what the profile says are told apart", () => {
    const { provenance } = compiled(edited(small, "edges:\n", "budgets: {node_soft_ms: 500}\nedges:\n"));
    expect(provenance["budgets.nodeSoftMs"]).toBe("spec");
    expect(provenance["budgets.providerAttemptMs"]).toBe(DEFAULTED);
    expect(provenance["nodes.ep.settings.endpoint_silence_ms"]).toBe(DEFAULTED);
    expect(provenance["nodes.output.scope"]).toBe("derived");
    expect(provenance["nodes.vad.scope"]).toBe("node_kind/vad");
  });

  test("F-078 explain shows each value beside its source", () => {
    const pipeline = compiled(template);
    expect(explainRows(pipeline)).toContainEqual({ path: "budgets.cancelGraceMs", value: "75", source: DEFAULTED });
    const lines = explainSpec(pipeline).split("\n");
    expect(lines[0]).toBe(`pipeline voice-assistant@1, fingerprint ${pipeline.fingerprint}`);
    expect(lines.find((line) => line.startsWith("budgets.cancelGraceMs "))).toMatch(/ 75 +defaulting_source=/);
  });
});

describe("the fingerprint", () => {
  test("F-082 comments, metadata, names and layout do not change it", () => {
    const was = print(template);
    expect(was).toMatch(/^[0-9a-f]{64}$/);
    const bare = template.replace(/ # [^\n"]*$/gm, "").replace(/^ *# [^\n]*\n/gm, "");
    expect(bare.length).toBeLessThan(template.length - 1000);
    expect(print(bare)).toBe(was);
    expect(print(`${template}\n# one more\n`)).toBe(was);
    expect(print(edited(template, "owner: speech-runtime", "owner: somebody else"))).toBe(was);
    expect(print(edited(template, "language: en-US\n\n# Defaults", "team: x\n\n# Defaults"))).toBe(was);
    expect(print(edited(template, "version: 1\n", 'version: "2"\n'))).toBe(was);
    expect(print(edited(template, "kind: context\n", "kind: context\n    description: what was heard\n"))).toBe(was);
  });

  test("F-082 a default written out does not change it", () => {
    const explicit = edited(small, "edges:\n", "budgets: {node_soft_ms: 800}\npolicy: {id: mine}\nedges:\n");
    expect(print(explicit)).toBe(print(small));
  });

  test.each([
    ["greeting", 'greeting: "Welcome.', 'greeting: "Hello.'],
    ["a setting", "min_speech_ms: 120", "min_speech_ms: 140"],
    ["a candidate", "[local/flite]", "[local/flite, sim/tts]"],
    ["a policy", "barge_in: true", "barge_in: false"],
    ["a budget", "turn_first_output_ms: 2000", "turn_first_output_ms: 2500"],
    ["the recording level", "level: L0", "level: L1"],
    ["the output's lead", "lead_ms: 200", "lead_ms: 300"],
    ["a bound", "- tts.audio -> output.audio", "- {from: tts.audio, to: output.audio, buffer: {max_items: 10}}"],
    ["the grammar", "<story> = tell me a story;", "<story> = tell me a tale;"],
  ])("F-082 %s does change it", (_, from, to) => {
    expect(print(edited(template, from, to))).not.toBe(print(template));
  });

  test("specFingerprint is that of the compiled spec", () => {
    expect(specFingerprint(parsed(small))).toEqual({ ok: true, value: print(small) });
  });

  test("the fingerprint format is stable", () => {
    // A change here changes every published fingerprint: raise the format's version with it.
    expect(print(small)).toBe("3d364428d4d7d83dc5cebf73b59839b08b388484c43fd3eedc518ed3fa812b07");
  });
});

test("compileSpec refuses a spec altered after parsing, as a value", () => {
  const spec = parsed(small);
  const result = compileSpec({ ...spec, edges: spec.edges.slice(1), profile: "accuracy/v1" });
  expect(result.ok ? [] : result.error.map((problem) => problem.code)).toEqual([
    "profile_refused",
    "unconnected_input",
  ]);
});
