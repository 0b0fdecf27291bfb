import { describe, expect, test } from "vitest";
import { compileSpec } from "./compile-spec.ts";
import { expandTemplate } from "./parse-spec.ts";
import type { PipelineSpec } from "./spec.ts";
import { TEMPLATE_PROVIDER_PATHS } from "./template.ts";
import { compiled, parsed, problemsOf, readSpecFile } from "./testing.ts";

const providers = { stt: ["local/pocketsphinx", "sim/stt"], llm: "local/responder", tts: "local/flite" } as const;

function expanded(): PipelineSpec {
  const spec = expandTemplate({ template: "voice-assistant", providers });
  if (!spec.ok) throw new Error(spec.error[0]?.message);
  return spec.value;
}

describe("templates", () => {
  test("F-079 provider configuration alone gives a full pipeline", () => {
    const result = compileSpec(expanded());
    if (!result.ok) throw new Error("unreachable");
    const pipeline = result.value;
    expect(pipeline.graph.pipelineVersion).toBe("voice-assistant@1");
    expect(pipeline.graph.nodes.length).toBe(9);
    expect(pipeline.greeting).toBe("Welcome. How can I help you?");
    expect(pipeline.provenance["nodes.stt.candidates[1].provider"]).toBe("spec");
    expect(pipeline.provenance["nodes.caller.kind"]).toBe("template/voice-assistant");
    expect(pipeline.provenance.greeting).toBe("template/voice-assistant");
  });

  test("F-079 the template is the shipped file: same fingerprint with the same providers", () => {
    const shipped = readSpecFile("voice-assistant.yaml");
    const stt = parsed(shipped).nodes[2]?.provider;
    if (stt === undefined) throw new Error("the shipped file has a recogniser at nodes[2]");
    const spec = expandTemplate({ template: "voice-assistant", providers: { ...providers, stt } });
    if (!spec.ok) throw new Error(spec.error[0]?.message);
    const result = compileSpec(spec.value);
    expect(result.ok && result.value.fingerprint).toBe(compiled(shipped).fingerprint);
  });

  test("F-079 a file may give providers and a few values of its own", () => {
    const text = `schema: rspp/pipeline/v1
template: voice-assistant
name: front-desk
providers:
  stt: {candidates: [sim/stt]}
  llm: {candidates: [local/responder]}
  tts: {candidates: [local/flite], settings: {voice: slt}}
conversation:
  greeting: Front desk, good morning.
`;
    const pipeline = compiled(text);
    expect(pipeline.graph.pipelineVersion).toBe("front-desk@1");
    expect(pipeline.greeting).toBe("Front desk, good morning.");
    expect(pipeline.provenance.greeting).toBe("spec");
    expect(pipeline.provenance["nodes.tts.candidates[0].settings.voice"]).toBe("spec");
  });

  test("the moved field paths are those of the graph", () => {
    for (const { template, spec } of TEMPLATE_PROVIDER_PATHS) {
      const index = Number(/\d+/.exec(spec)?.[0]);
      expect(`providers.${expanded().nodes[index]?.kind}`).toBe(template);
    }
  });

  test("F-079 faults of a template file have their place and remedy", () => {
    const text = `schema: rspp/pipeline/v1
template: voice-asistant
profile: telephony/v1
budgets: {provider_attempt_ms: 9000}
providers: {stt: {candidates: [sim/stt]}, llm: {candidates: [responder]}}
`;
    expect(problemsOf(text).map(({ line, column, path, remedy }) => [`${line}:${column}`, path, remedy])).toEqual([
      ["2:11", "template", 'did you mean "voice-assistant"?'],
      ["3:10", "profile", "use simple/v1 and set the budgets, policy and buffers that matter in the spec"],
      ["5:12", "providers.tts", 'add "tts:"'],
      ["5:62", "providers.llm.candidates[0]", "write vendor/model, e.g. local/flite"],
    ]);
    const result = expandTemplate({ template: "nothing-like-it", providers });
    expect(result.ok ? "" : result.error[0]?.file).toBe("template:nothing-like-it");
  });
});
