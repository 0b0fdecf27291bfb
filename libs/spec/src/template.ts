/** Templates: a whole pipeline from provider configuration alone (F-079). The graph is that of `pipelines/specs`. */
import type { EdgeDocument, NodeDocument, ProviderDocument, SpecDocument, TemplateDocument } from "./spec.ts";
import { SPEC_SCHEMA } from "./spec-schema.ts";

export const TEMPLATE_NAMES: readonly string[] = ["voice-assistant"];

/** Source of values a template gives, beside `spec` and the profile. */
export function templateSource(name: string): string {
  return `template/${name}`;
}

type Providers = TemplateDocument["providers"];

/** Place of each provider in the graph below; the field paths of errors and provenance are moved by it. */
export const TEMPLATE_PROVIDER_PATHS: readonly { template: string; spec: string }[] = [
  { template: "providers.stt", spec: "nodes[2].provider" },
  { template: "providers.llm", spec: "nodes[5].provider" },
  { template: "providers.tts", spec: "nodes[7].provider" },
];

function nodesOf(providers: Providers): NodeDocument[] {
  return [
    { id: "caller", kind: "ingress" },
    { id: "vad", kind: "vad" },
    { id: "stt", kind: "stt", provider: providers.stt },
    { id: "endpointing", kind: "endpointing" },
    { id: "context", kind: "context" },
    { id: "llm", kind: "llm", provider: providers.llm },
    { id: "segmenter", kind: "segmenter" },
    { id: "tts", kind: "tts", provider: providers.tts },
    { id: "output", kind: "output" },
  ];
}

const edges: readonly (string | EdgeDocument)[] = [
  "caller.audio -> vad.audio",
  "caller.audio -> stt.audio",
  "vad.activity -> endpointing.activity",
  "stt.text -> endpointing.text",
  "endpointing.utterance -> context.utterance",
  "context.messages -> llm.messages",
  "llm.text -> segmenter.text",
  "segmenter.text -> tts.text",
  "tts.audio -> output.audio",
];

/** The spec a checked template file stands for; its own fields are laid over the template's. */
export function fillTemplate(document: TemplateDocument): SpecDocument {
  const { template, providers, ...own } = document;
  return {
    ...own,
    name: own.name ?? template,
    version: own.version ?? "1",
    conversation: { greeting: "Welcome. How can I help you?", ...own.conversation },
    nodes: nodesOf(providers),
    edges,
  };
}

/** A provider by name, by candidates in order, or written out. */
export type ProviderChoice = string | readonly string[] | ProviderDocument;

function providerOf(choice: ProviderChoice): ProviderDocument {
  if (typeof choice === "string") return { candidates: [choice] };
  return isNames(choice) ? { candidates: choice } : choice;
}

function isNames(choice: readonly string[] | ProviderDocument): choice is readonly string[] {
  return Array.isArray(choice);
}

export interface TemplateInput extends Partial<Omit<TemplateDocument, "template" | "providers" | "schema">> {
  template: string;
  providers: { stt: ProviderChoice; llm: ProviderChoice; tts: ProviderChoice };
}

/** The template file that `expandTemplate` checks and fills. */
export function templateDocument(input: TemplateInput): TemplateDocument {
  const { stt, llm, tts } = input.providers;
  return {
    schema: SPEC_SCHEMA,
    ...input,
    providers: { stt: providerOf(stt), llm: providerOf(llm), tts: providerOf(tts) },
  };
}
