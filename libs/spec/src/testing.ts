/** Shared by the specs of this room: the shipped pipelines, and small edits of them. */
import { readdirSync, readFileSync } from "node:fs";
import { compileSpec } from "./compile-spec.ts";
import type { CompiledPipeline } from "./compiled.ts";
import type { ModuleLibrary } from "./module-library.ts";
import { parseSpec } from "./parse-spec.ts";
import { formatProblems, type SpecProblem } from "./problem.ts";
import type { PipelineSpec } from "./spec.ts";

const specs = new URL("../../../pipelines/specs/", import.meta.url);

export function readSpecFile(name: string): string {
  return readFileSync(new URL(name, specs), "utf8");
}

const modules = new URL("../../../pipelines/modules/", import.meta.url);

/** The shipped modules, for the pipelines that use some. */
export const shippedModules: ModuleLibrary = {
  find(use) {
    const file = `${use}.yaml`;
    if (!shippedModules.names().includes(use)) return undefined;
    return { file, text: readFileSync(new URL(file, modules), "utf8") };
  },
  names: () => readdirSync(modules).map((file) => file.replace(/\.yaml$/, "")),
};

export function parsed(text: string, file = "test.yaml"): PipelineSpec {
  const spec = parseSpec(text, file, shippedModules);
  if (!spec.ok) throw new Error(formatProblems(spec.error, text));
  return spec.value;
}

export function compiled(text: string): CompiledPipeline {
  const result = compileSpec(parsed(text));
  if (!result.ok) throw new Error(formatProblems(result.error, text));
  return result.value;
}

/** The problems of a text that must have some. */
export function problemsOf(text: string, file = "bad.yaml"): SpecProblem[] {
  const spec = parseSpec(text, file, shippedModules);
  if (spec.ok) throw new Error("expected problems, found none");
  return spec.error;
}

/** `text` with the one occurrence of `from` replaced. */
export function edited(text: string, from: string, to: string): string {
  if (text.split(from).length !== 2) throw new Error(`expected one "${from}"`);
  return text.replace(from, () => to);
}

/** A small pipeline with short lines, so that places are easy to count. */
export const small = `schema: rspp/pipeline/v1
name: small
version: 1
nodes:
  - {id: caller, kind: ingress}
  - {id: vad, kind: vad}
  - id: stt
    kind: stt
    provider:
      candidates:
        - sim/stt
  - {id: ep, kind: endpointing}
  - {id: context, kind: context}
  - id: llm
    kind: llm
    provider: {candidates: [local/responder]}
  - {id: segmenter, kind: segmenter}
  - id: tts
    kind: tts
    provider: {candidates: [local/flite]}
  - {id: output, kind: output}
edges:
  - caller.audio -> vad.audio
  - caller.audio -> stt.audio
  - vad.activity -> ep.activity
  - stt.text -> ep.text
  - ep.utterance -> context.utterance
  - context.messages -> llm.messages
  - llm.text -> segmenter.text
  - segmenter.text -> tts.text
  - tts.audio -> output.audio
`;
