/** The part that speaks as a module, and the same written out (F-019): both must come to the same. */
import type { EdgeDocument, NodeDocument } from "@rspp/spec/spec";
import type { VoiceModule } from "./spec-draft.ts";

const ID = "answer";

export function moduleDocument({ candidates, second }: VoiceModule): unknown {
  return {
    schema: "rspp/module/v1",
    name: "spoken",
    version: 1,
    parameters: { first_min_chars: { type: "number", whole: true, default: 99 } },
    inputs: { text: ["segmenter.text"] },
    outputs: { audio: "tts.audio" },
    nodes: [
      // biome-ignore lint/suspicious/noTemplateCurlyInString: stands for the parameter, in the module's own words
      { id: "segmenter", kind: "segmenter", settings: { first_min_chars: "${first_min_chars}" } },
      { id: "tts", kind: "tts", provider: { candidates }, ...(second ? { fallback: "other-voice" } : {}) },
      ...(second ? [{ id: "other-voice", kind: "tts", provider: { candidates: ["sim/tts-b"] } }] : []),
    ],
    edges: ["segmenter.text -> tts.text"],
  };
}

export function moduleUse({ words, firstMinChars }: VoiceModule): { modules: unknown[]; edges: string[] } {
  return {
    modules: [{ id: ID, use: "spoken@1", with: { first_min_chars: firstMinChars } }],
    edges: [`${words} -> ${ID}.text`, `${ID}.audio -> speaker.audio`],
  };
}

export function flattened(module: VoiceModule): { nodes: NodeDocument[]; edges: (string | EdgeDocument)[] } {
  const { words, firstMinChars, candidates, second } = module;
  const [segmenter, tts, other] = [`${ID}__segmenter`, `${ID}__tts`, `${ID}__other-voice`];
  const nodes: NodeDocument[] = [
    { id: segmenter, kind: "segmenter", settings: { first_min_chars: firstMinChars } },
    { id: tts, kind: "tts", provider: { candidates }, ...(second ? { fallback: other } : {}) },
  ];
  if (second) nodes.push({ id: other, kind: "tts", provider: { candidates: ["sim/tts-b"] } });
  const edges = [`${words} -> ${segmenter}.text`, `${tts}.audio -> speaker.audio`, `${segmenter}.text -> ${tts}.text`];
  return { nodes, edges };
}
