import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { compileSpec } from "./compile-spec.ts";
import { bundleSpec, type ModuleLibrary } from "./module-library.ts";
import { parseSpec } from "./parse-spec.ts";
import { formatProblems, type SpecProblem } from "./problem.ts";
import { compiled, edited, small } from "./testing.ts";

const folder = new URL("../../../pipelines/modules/", import.meta.url);
const shipped = ["spoken-answer@1", "spoken-answer@2", "listening@1"];

function library(more: Readonly<Record<string, string>> = {}): ModuleLibrary {
  return {
    names: () => [...shipped, ...Object.keys(more)],
    find: (use) => {
      const own = more[use];
      if (own !== undefined) return { file: `modules/${use}.yaml`, text: own };
      if (!shipped.includes(use)) return undefined;
      return { file: `modules/${use}.yaml`, text: readFileSync(new URL(`${use}.yaml`, folder), "utf8") };
    },
  };
}

const spoken = `schema: rspp/pipeline/v1
name: spoken
version: 1
modules:
  - {id: answer, use: spoken-answer@1}
nodes:
  - {id: caller, kind: ingress}
  - {id: keypad, kind: dtmf}
  - {id: context, kind: context}
  - id: llm
    kind: llm
    provider: {candidates: [local/responder]}
  - {id: output, kind: output}
edges:
  - caller.audio -> output.audio
  - keypad.utterance -> context.utterance
  - context.messages -> llm.messages
  - llm.text -> answer.text
  - answer.audio -> output2.audio
`
  .replace("  - caller.audio -> output.audio\n", "")
  .replace("output2", "output");

const heard = `schema: rspp/pipeline/v1
name: heard
version: 1
modules:
  - {id: ear, use: listening@1, with: {recogniser: sim/stt, endpoint_silence_ms: 300}}
  - {id: voice, use: spoken-answer@1, with: {first_min_chars: 5}}
nodes:
  - {id: caller, kind: ingress}
  - {id: context, kind: context}
  - {id: llm, kind: llm, provider: {candidates: [local/responder]}}
  - {id: output, kind: output}
edges:
  - caller.audio -> ear.audio
  - ear.utterance -> context.utterance
  - context.messages -> llm.messages
  - llm.text -> voice.text
  - voice.audio -> output.audio
`;

function made(text: string, from = library()) {
  const spec = parseSpec(text, "spec.yaml", from);
  if (!spec.ok) throw new Error(formatProblems(spec.error, text));
  const result = compileSpec(spec.value);
  if (!result.ok) throw new Error(formatProblems(result.error, text));
  return { spec: spec.value, compiled: result.value };
}

function faults(text: string, from = library()): SpecProblem[] {
  const spec = parseSpec(text, "spec.yaml", from);
  if (spec.ok) throw new Error("expected problems, found none");
  return spec.error;
}

const line = ({ file, line, column, path, code }: SpecProblem): string => `${file}:${line}:${column} ${path} ${code}`;

describe("modules", () => {
  test("F-019 two pipelines import one module, each under names of its own, and it is one subgraph in both", () => {
    const [one, two] = [made(spoken).compiled, made(heard).compiled];
    const nodes = (pipeline: typeof one) => pipeline.graph.nodes.map(({ id }) => id);
    expect(nodes(one)).toEqual(["caller", "keypad", "context", "llm", "output", "answer__segmenter", "answer__tts"]);
    expect(nodes(two)).toContain("voice__tts");
    expect(one.modules).toEqual([
      { id: "answer", use: "spoken-answer@1", nodes: ["answer__segmenter", "answer__tts"] },
    ]);
    const voice = (pipeline: typeof one, id: string) => {
      const { kind, scope, candidates } = pipeline.graph.nodes.find((node) => node.id === id) ?? {};
      return { kind, scope, candidates };
    };
    expect(voice(one, "answer__tts")).toEqual(voice(two, "voice__tts"));
    expect(one.graph.edges.map(({ id }) => id)).toContain("answer__segmenter.text->answer__tts.text");
  });

  test("F-019 provenance names module and version; what the use sets is the author's", () => {
    const { provenance } = made(heard).compiled;
    expect(provenance["nodes.voice__tts.kind"]).toBe("module/spoken-answer@1");
    expect(provenance["nodes.voice__tts.candidates[0].provider"]).toBe("module/spoken-answer@1");
    expect(provenance["nodes.voice__segmenter.settings.first_min_chars"]).toBe("spec");
    expect(provenance["nodes.ear__endpointing.settings.endpoint_silence_ms"]).toBe("spec");
    expect(provenance["nodes.ear__stt.candidates[0].settings.language"]).toBe("module/listening@1");
  });

  test("F-019 moving to version 2 is explicit: the other version stays what it was", () => {
    const before = made(spoken).compiled;
    const after = made(edited(spoken, "spoken-answer@1", "spoken-answer@2")).compiled;
    expect(after.graph.nodes.map(({ id }) => id)).toContain("answer__breath");
    expect(after.fingerprint).not.toBe(before.fingerprint);
    expect(made(spoken).compiled.fingerprint).toBe(before.fingerprint);
    const [problem] = faults(edited(spoken, "spoken-answer@1", "spoken-answer@3"));
    expect(problem).toMatchObject({ code: "unknown_module", line: 5, path: "modules[0].use" });
    expect(problem?.remedy).toContain("spoken-answer@1, spoken-answer@2");
  });

  test("F-019 an input may lead to several inner nodes", () => {
    const edges = made(heard).compiled.graph.edges.map(({ id }) => id);
    expect(edges).toContain("caller.audio->ear__vad.audio");
    expect(edges).toContain("caller.audio->ear__stt.audio");
  });

  test("F-019 a module expands to what the author could have written out", () => {
    const renamed: Record<string, string> = { segmenter: "answer__segmenter", tts: "answer__tts" };
    const out = compiled(
      small
        .replace(/^ {2}- \{id: segmenter.*\n/m, "")
        .replace(/^ {2}- id: tts\n.*\n.*\n/m, "")
        .replace(
          /^ {2}- \{id: output, kind: output\}\n/m,
          (all) =>
            `${all}  - {id: answer__segmenter, kind: segmenter, settings: {first_min_chars: 12}}\n  - {id: answer__tts, kind: tts, provider: {candidates: [local/flite]}}\n`,
        )
        .replace(/(segmenter|tts)\./g, (_, id: string) => `${renamed[id]}.`)
        .replace(/ {2}- answer__segmenter.text -> answer__tts.text\n/, "")
        .replace(/$/, "  - answer__segmenter.text -> answer__tts.text\n"),
    );
    const used = small
      .replace("nodes:", "modules:\n  - {id: answer, use: spoken-answer@1}\nnodes:")
      .replace(/^ {2}- \{id: segmenter.*\n/m, "")
      .replace(/^ {2}- id: tts\n.*\n.*\n/m, "")
      .replace("llm.text -> segmenter.text", "llm.text -> answer.text")
      .replace(/ {2}- segmenter.text -> tts.text\n/, "")
      .replace("tts.audio", "answer.audio");
    expect(made(used).compiled.graph).toEqual(out.graph);
    expect(made(used).compiled.fingerprint).toBe(out.fingerprint);
  });

  test("F-019 a bundled text needs no library, keeps the lines of the spec and means the same", () => {
    const { spec, compiled: whole } = made(heard);
    const text = bundleSpec(heard, spec.origin.library ?? []);
    expect(text.startsWith(heard.trimEnd())).toBe(true);
    expect(spec.origin.library?.map(({ use }) => use)).toEqual(["listening@1", "spoken-answer@1"]);
    const alone = parseSpec(text, "bundle.yaml");
    if (!alone.ok) throw new Error(formatProblems(alone.error, text));
    const again = compileSpec(alone.value);
    expect(again.ok && again.value.fingerprint).toBe(whole.fingerprint);
    expect(alone.value.origin.library).toEqual([]);
    expect(faults(heard, { find: () => undefined, names: () => [] })[0]?.code).toBe("unknown_module");
  });
});

const inner = (name: string, uses: string): string => `schema: rspp/module/v1
name: ${name}
version: 1
modules:
  - {id: deeper, use: ${uses}}
inputs: {text: deeper.text}
outputs: {audio: deeper.audio}
nodes: []
edges: []
`;

describe("faulty modules", () => {
  test("F-019 a module within a module is expanded under both names", () => {
    const nested = library({ "wrap@1": inner("wrap", "spoken-answer@1") });
    const { compiled: whole } = made(edited(spoken, "spoken-answer@1", "wrap@1"), nested);
    expect(whole.modules?.map(({ id, use }) => `${id} ${use}`)).toEqual([
      "answer wrap@1",
      "answer__deeper spoken-answer@1",
    ]);
    expect(whole.graph.nodes.map(({ id }) => id)).toContain("answer__deeper__tts");
    expect(whole.provenance["nodes.answer__deeper__tts.kind"]).toBe("module/spoken-answer@1");
  });

  test("F-019 modules that use each other are refused, and so is a chain that is too deep", () => {
    const circle = library({ "a@1": inner("a", "b@1"), "b@1": inner("b", "a@1") });
    const [cycle] = faults(edited(spoken, "spoken-answer@1", "a@1"), circle);
    expect(line(cycle as SpecProblem)).toBe("modules/b@1.yaml:5:23 modules[0].use module_cycle");
    expect(cycle?.message).toContain("a@1 -> b@1 -> a@1");
    const chain = Object.fromEntries([1, 2, 3, 4, 5].map((i) => [`m${i}@1`, inner(`m${i}`, `m${i + 1}@1`)]));
    const [deep] = faults(edited(spoken, "spoken-answer@1", "m1@1"), library(chain));
    expect(deep).toMatchObject({ code: "module_depth", file: "modules/m4@1.yaml", line: 5 });
  });

  test.each([
    ["id: answer,", "id: llm,", "spec.yaml:5:10 modules[0].id duplicate_id"],
    ["answer.text", "answer.words", "spec.yaml:17:5 edges[2] unknown_port"],
    ["answer.text", "answer__segmenter.text", "spec.yaml:17:5 edges[2] unknown_node"],
    ["use: spoken-answer@1", "use: spoken-answer", "spec.yaml:5:23 modules[0].use bad_format"],
    ["@1}", "@1, with: {voices: a/b}}", "spec.yaml:5:55 modules[0].with.voices unknown_parameter"],
    ["@1}", "@1, with: {first_min_chars: many}}", "spec.yaml:5:64 modules[0].with.first_min_chars not_allowed"],
    ["@1}", "@1, with: {first_min_chars: 101}}", "spec.yaml:5:64 modules[0].with.first_min_chars not_allowed"],
    ["@1}", "@1, with: {voice: no slash}}", "spec.yaml:5:54 modules[0].with.voice bad_format"],
    ["spoken-answer@1", "listening@1", "spec.yaml:5:5 modules[0] missing_field"],
  ])("F-019 F-001 %s as %s is an error with its place", (from, to, expected) => {
    const problems = faults(edited(spoken, from, to));
    expect(problems.map(line)).toContain(expected);
    expect(problems.every(({ remedy }) => remedy.length > 0)).toBe(true);
  });

  test("F-019 F-001 a fault within a module is placed in the module's file, and its line is shown", () => {
    const broken = readFileSync(new URL("spoken-answer@1.yaml", folder), "utf8").replace(
      "- segmenter.text -> tts.text",
      "- segmenter.text -> tts.words",
    );
    const from = library({ "spoken-answer@9": broken.replace("version: 1", "version: 9") });
    const text = edited(spoken, "spoken-answer@1", "spoken-answer@9");
    const problems = faults(text, from);
    const fault = problems.find(({ code }) => code === "unknown_port");
    expect(fault).toMatchObject({ file: "modules/spoken-answer@9.yaml", path: "edges[0]" });
    expect(formatProblems(problems, text)).toContain("| ".concat("  - segmenter.text -> tts.words"));
  });

  test("F-019 a file that calls itself by another name or version is refused", () => {
    const from = library({ "mine@1": inner("yours", "spoken-answer@1") });
    expect(faults(edited(spoken, "spoken-answer@1", "mine@1"), from).map(line)).toEqual([
      "modules/mine@1.yaml:1:1 name module_mismatch",
    ]);
  });

  test("F-019 ${name} of no parameter is refused; $${ is text", () => {
    const file = `schema: rspp/module/v1
name: odd
version: 1
inputs: {text: policy.text}
outputs: {audio: tts.audio}
nodes:
  - {id: policy, kind: compliance, settings: {words: [x], words_action: replace, replacement: "$\${it}"}}
  - {id: tts, kind: tts, provider: {candidates: ["\${voice}"]}}
edges: [policy.text -> tts.text]
`;
    const from = library({ "odd@1": file });
    const problems = faults(edited(spoken, "spoken-answer@1", "odd@1"), from);
    expect(problems.map(line)).toEqual(["modules/odd@1.yaml:8:50 nodes[1].provider.candidates[0] unknown_parameter"]);
    const mended = library({ "odd@1": file.replace('"${voice}"', "local/flite") });
    const policy = made(edited(spoken, "spoken-answer@1", "odd@1"), mended).compiled.graph.nodes[5];
    expect(policy?.settings.replacement).toBe("${it}");
  });
});
