import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { compileSpec } from "./compile-spec.ts";
import { applyLayers } from "./layers.ts";
import { parseOverrides } from "./overrides.ts";
import { parseSpec } from "./parse-spec.ts";
import { resolvedView } from "./resolved-view.ts";

const text = `schema: rspp/pipeline/v1
name: spoken
version: 1
modules:
  - {id: answer, use: spoken-answer@1, with: {first_min_chars: 7}}
variables:
  town: {type: string, default: Bern}
nodes:
  - {id: caller, kind: ingress}
  - {id: keypad, kind: dtmf}
  - {id: context, kind: context}
  - {id: llm, kind: llm, provider: {candidates: [local/responder]}}
  - {id: output, kind: output}
edges:
  - keypad.utterance -> context.utterance
  - context.messages -> llm.messages
  - llm.text -> answer.text
  - answer.audio -> output.audio
`;
const tenant = `schema: rspp/overrides/v1
layer: tenant
name: acme
version: 2
policy:
  barge_in: false
`;

test("F-080 F-081 each value with whose it is and the file and line it was written at, inserted nodes and providers included", () => {
  const file = new URL("../../../pipelines/modules/spoken-answer@1.yaml", import.meta.url);
  const spec = parseSpec(text, "spoken.yaml", {
    names: () => [],
    find: () => ({ file: "modules/spoken-answer@1.yaml", text: readFileSync(file, "utf8") }),
  });
  const over = parseOverrides(tenant, "acme.yaml");
  if (!spec.ok || !over.ok) throw new Error("the documents hold");
  const layered = applyLayers(spec.value, [over.value]);
  const view = layered.ok ? resolvedView(layered.value) : layered;
  if (!layered.ok || !view.ok) throw new Error("the layers hold");
  const row = (path: string) => {
    const { value, source, at } = view.value.rows.find((one) => one.path === path) ?? {};
    return [value, source, at];
  };
  const profile = "defaulting_source=execution_profile/simple/v1";
  expect(row("policy.bargeIn")).toEqual(["false", "tenant/acme@2", "acme.yaml:6"]);
  expect(row("policy.secondProposal")).toEqual(["preempt", profile, ""]);
  expect(row("nodes.llm.candidates[0].provider")).toEqual(["local/responder", "spec", "spoken.yaml:12"]);
  expect(row("nodes.answer__segmenter.settings.first_min_chars")).toEqual(["7", "spec", "spoken.yaml:5"]);
  expect(row("variables.town.default")).toEqual(["Bern", "spec", "spoken.yaml:7"]);
  const [kind, from, at] = row("nodes.answer__tts.kind");
  expect([kind, from]).toEqual(["tts", "module/spoken-answer@1"]);
  expect(at).toMatch(/^modules\/spoken-answer@1\.yaml:\d+$/);
  const [provider, by] = row("nodes.answer__tts.candidates[0].provider");
  expect([provider, by]).toEqual(["local/flite", "module/spoken-answer@1"]);
  expect(view.value.rows.every(({ source }) => source !== "unknown")).toBe(true);
  const compiled = compileSpec(layered.value);
  expect(compiled.ok && compiled.value).toEqual(view.value.compiled);
});
