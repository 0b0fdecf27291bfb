import { asMonoNs } from "@rspp/base/brand";
import { expect, test } from "vitest";
import { bindForSession, bindProviders, openAiCandidate, requireCandidates } from "./bind-providers.ts";
import { compileSpec } from "./compile-spec.ts";
import type { CompiledPipeline } from "./compiled.ts";
import { expandTemplate } from "./parse-spec.ts";
import { sessionConfigOf } from "./session-config.ts";

function pipeline(): CompiledPipeline {
  const providers = { stt: ["local/pocketsphinx", "sim/stt"], llm: "local/responder", tts: "local/flite" };
  const spec = expandTemplate({ template: "voice-assistant", providers });
  if (!spec.ok) throw new Error("the template holds");
  const compiled = compileSpec(spec.value);
  if (!compiled.ok) throw new Error("the template compiles");
  return compiled.value;
}

const all = ["local/pocketsphinx", "sim/stt", "local/responder", "local/flite", "openai/chat"];
const candidates = (of: CompiledPipeline, kind: string) =>
  of.graph.nodes.find((node) => node.kind === kind)?.candidates ?? [];

test("only what is available is bound, in the order of the spec, and the rest is named", () => {
  const { pipeline: bound, unavailable } = bindProviders(pipeline(), { available: ["sim/stt", "local/flite"] });
  expect(candidates(bound, "stt").map((c) => c.provider)).toEqual(["sim/stt"]);
  expect(unavailable).toContain("local/pocketsphinx");
});

test("F-153 transcripts reach the simulation alone, and not where audio is really recognised", () => {
  const transcripts = ["a question"];
  const real = bindForSession(pipeline(), { available: all, transcripts, llm: null });
  const simulated = bindForSession(pipeline(), { available: all.slice(1), transcripts, llm: null });
  if (!real.ok || !simulated.ok) throw new Error("both can be served");
  expect(JSON.stringify(real.value.graph)).not.toContain("a question");
  expect(candidates(simulated.value, "stt")).toMatchObject([{ provider: "sim/stt", settings: { transcripts } }]);
  expect(JSON.stringify(candidates(simulated.value, "llm"))).not.toContain("a question");
});

test("a node that nothing can serve is refused with what is available", () => {
  const bound = bindForSession(pipeline(), { available: ["sim/stt", "local/flite"], transcripts: [], llm: null });
  expect(bound).toMatchObject({ ok: false, error: { node: "llm" } });
  expect(bound.ok ? "" : bound.error.remedy).toContain("available are sim/stt, local/flite");
  expect(requireCandidates(pipeline(), all).ok).toBe(true);
});

test("an OpenAI-compatible endpoint goes first when the environment names it; a key stays a reference, and none is needed", () => {
  const llm = openAiCandidate({ baseUrl: "http://model.example/v1", hasKey: true, model: undefined });
  expect(llm).toEqual({ provider: "openai/chat", settings: { model: "gpt-4o-mini", api_key: "env:OPENAI_API_KEY" } });
  const bound = bindForSession(pipeline(), { available: all, transcripts: [], llm });
  expect(bound.ok && candidates(bound.value, "llm").map((c) => c.provider)[0]).toBe("openai/chat");
  expect(openAiCandidate({ baseUrl: "", hasKey: true, model: "m" })).toBeNull();
  const keyless = openAiCandidate({ baseUrl: "http://model.example/v1", hasKey: false, model: "m" });
  expect(keyless).toEqual({ provider: "openai/chat", settings: { model: "m" } });
});

test("a session starts with the pipeline's own values, its variables and the versions in force", () => {
  const authority = { epoch: 7, incarnation: "store-1", deadlineNs: asMonoNs(1) };
  const config = sessionConfigOf(pipeline(), {
    sessionId: "s",
    seed: "seed",
    authority,
    variables: { name: "Ada", age: 36 },
    snapshots: { routing: "routes@4" },
    recording: "L2",
  });
  expect(config).toMatchObject({ tenantId: "local", seed: "seed", authority, variables: { name: "Ada", age: 36 } });
  expect(config.snapshots).toMatchObject({ routing: "routes@4", admission: "local@1" });
  expect(config.recording.ceiling).toBe("L2");
});
