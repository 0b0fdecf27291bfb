/**
 * The words of a pipeline: key terms for its recognisers, pronunciations for its voices. Key terms and phonetic
 * spellings become settings of the providers, of which each takes those it knows; other spellings are laid before the voice
 * by the kernel, whatever voice it is.
 */
import type { DialoguePolicy } from "@rspp/kernel/dialogue-policy";
import type { GraphDefinition, NodeKind, Settings } from "@rspp/kernel/graph";
import type { Report } from "./check-graph.ts";
import { looseField } from "./graph-view.ts";
import * as limits from "./limits.ts";
import { type Field, list, map, may, must, text } from "./schema.ts";
import type { Sources } from "./sources.ts";
import type { PipelineSpec } from "./spec.ts";

export interface VocabularyDocument {
  key_terms?: readonly string[];
  /** Each with one of `say` and `ipa`. */
  pronunciations?: readonly { text: string; say?: string; ipa?: string }[];
}

const term = text(limits.PHRASE_CHARS_MAX, { pattern: /\S/, form: "a word or phrase" });

export const vocabularyField: Field = may(
  map("the vocabulary", {
    key_terms: may(list("key terms", term, 1, limits.PHRASES_MAX)),
    pronunciations: may(
      list(
        "pronunciations",
        map("a pronunciation", {
          text: must(term),
          say: may(text(2 * limits.PHRASE_CHARS_MAX, { pattern: /\S/, form: "words as they are said" })),
          ipa: may(text(2 * limits.PHRASE_CHARS_MAX, { pattern: /^[^=]+$/, form: "phonetic letters, without =" })),
        }),
        1,
        limits.PHRASES_MAX,
      ),
    ),
  }),
);

/** Each word once, with one way to say it; what is listed has a node that takes it. */
export function checkVocabulary(document: unknown, report: Report): void {
  const vocabulary = looseField(document, "vocabulary");
  const spoken = looseField(vocabulary, "pronunciations");
  const seen = new Set<string>();
  for (const [i, entry] of (Array.isArray(spoken) ? spoken : []).entries()) {
    const path = `vocabulary.pronunciations[${i}]`;
    if ((looseField(entry, "say") === undefined) === (looseField(entry, "ipa") === undefined)) {
      const message = "a pronunciation has one of say and ipa";
      report({ path, code: "missing_field", message, remedy: "give say: as it is read, or ipa: in phonetic letters" });
    }
    const word = String(looseField(entry, "text") ?? "").toLowerCase();
    if (seen.has(word)) {
      const message = `${JSON.stringify(word)} has a pronunciation already`;
      report({ path: `${path}.text`, code: "duplicate_id", message, remedy: "keep one of them" });
    }
    seen.add(word);
  }
  for (const [field, kind] of [
    ["key_terms", "stt"],
    ["pronunciations", "tts"],
  ] as const) {
    if (looseField(vocabulary, field) === undefined || hasKind(document, kind)) continue;
    const message = `the pipeline has no ${kind} node that could take them`;
    report({ path: `vocabulary.${field}`, code: "not_allowed", message, remedy: `add a ${kind} node, or remove them` });
  }
}

function hasKind(document: unknown, kind: NodeKind): boolean {
  const nodes = looseField(document, "nodes");
  return !Array.isArray(nodes) || nodes.some((node) => looseField(node, "kind") === kind);
}

/** The graph with key terms and phonetic spellings among its providers' settings; what a candidate has of its own stays. */
export function withVocabulary(graph: GraphDefinition, spec: PipelineSpec, sources: Sources): GraphDefinition {
  const { key_terms: terms = [], pronunciations = [] } = spec.vocabulary ?? {};
  const phonetic = pronunciations.flatMap(({ text: word, ipa }) => (ipa === undefined ? [] : [`${word}=${ipa}`]));
  const given: Readonly<Partial<Record<NodeKind, Settings>>> = {
    ...(terms.length === 0 ? {} : { stt: { key_terms: terms } }),
    ...(phonetic.length === 0 ? {} : { tts: { pronunciations: phonetic } }),
  };
  if (Object.keys(given).length === 0) return graph;
  const nodes = graph.nodes.map((node) => {
    const more = given[node.kind];
    if (more === undefined) return node;
    const candidates = node.candidates.map((candidate, i) => {
      for (const key of Object.keys(more)) {
        if (candidate.settings[key] === undefined)
          sources.take(`nodes.${node.id}.candidates[${i}].settings.${key}`, `vocabulary.${key}`);
      }
      return { ...candidate, settings: { ...more, ...candidate.settings } };
    });
    return { ...node, candidates };
  });
  return { ...graph, nodes };
}

/** What the kernel itself rewrites before a voice. */
export function compilePronunciations(spec: PipelineSpec, sources: Sources): Pick<DialoguePolicy, "pronunciations"> {
  const spoken = (spec.vocabulary?.pronunciations ?? []).flatMap(({ text: word, say }) =>
    say === undefined ? [] : [{ text: word, say }],
  );
  if (spoken.length === 0) return {};
  sources.take("policy.pronunciations", "vocabulary.pronunciations");
  return { pronunciations: spoken };
}
