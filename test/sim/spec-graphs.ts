/**
 * A legal pipeline from a seed: a spec document is written and goes through the spec's own parser and compiler, so that
 * whatever an author may write is what a run is made of. Each capability is one small function over the draft.
 */

import { canonicalJson } from "@rspp/base/canonical-json";
import { compileSpec } from "@rspp/spec/compile-spec";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { parseSpec } from "@rspp/spec/parse-spec";
import type { BufferDocument, NodeDocument, PolicyDocument } from "@rspp/spec/spec";
import { nodeCatalogue } from "./node-packages.ts";
import type { Rng } from "./rng.ts";
import { budgets } from "./spec-budgets.ts";
import { add, chain, type Draft, join, newDraft } from "./spec-draft.ts";
import {
  degrade,
  dialogue,
  errors,
  heardThrough,
  readBy,
  spokenThrough,
  synchronised,
  toolsOf,
} from "./spec-extras.ts";
import { flattened, moduleDocument, moduleUse } from "./spec-modules.ts";

const llms = ["sim/llm", "sim/llm-b"];
const voices = ["sim/tts", "sim/tts-b"];

/** @throws Error when the compiler refuses what was written: then this generator, or the compiler, is wrong. */
export function drawPipeline(rng: Rng, speculateMs: number, policy: PolicyDocument): CompiledPipeline {
  const draft = drawSpec(rng, speculateMs);
  const document = documentOf(draft, policy);
  const { module } = draft;
  if (module === null) return compiled(JSON.stringify(document));
  const used = moduleUse(module);
  const { nodes, edges } = draft;
  const modular = { ...document, ...used, edges: [...edges, ...used.edges] };
  const made = compiled(`${JSON.stringify(modular)}\n---\n${JSON.stringify(moduleDocument(module))}\n`);
  const flat = flattened(module);
  const written = { ...document, nodes: [...nodes, ...flat.nodes], edges: [...edges, ...flat.edges] };
  differing.set(made, shapeOf(compiled(JSON.stringify(written))) !== shapeOf(made));
  return made;
}

const differing = new WeakMap<CompiledPipeline, boolean>();

/** Whether a pipeline with a module is another than the same written out (F-019). */
export function moduleDiffers(pipeline: CompiledPipeline): boolean {
  return differing.get(pipeline) === true;
}

function compiled(text: string): CompiledPipeline {
  const options = { nodes: nodeCatalogue };
  const parsed = parseSpec(text, "simulator", undefined, options);
  const made = parsed.ok ? compileSpec(parsed.value, options) : parsed;
  if (!made.ok) throw new Error(`an illegal spec was drawn: ${made.error[0]?.message ?? ""} in ${text}`);
  return made.value;
}

/** What executes, whatever its edges are called and in whichever order they stand (F-019). */
function shapeOf({ graph, policy }: CompiledPipeline): string {
  const edges = graph.edges.map(({ id: _, ...edge }) => edge);
  const plain = (all: readonly unknown[]): string[] => all.map((one) => withoutSources(one)).sort();
  return canonicalJson({ nodes: plain(graph.nodes), edges: plain(edges), policy: withoutSources(policy) });
}

/** Where a value came from differs: that is what provenance is for. */
function withoutSources(value: unknown): string {
  return JSON.stringify(value, (key, inner: unknown) => (key === "source" || key === "sources" ? undefined : inner));
}

function drawSpec(rng: Rng, speculateMs: number): Draft {
  const draft = newDraft(rng);
  const utterances = ear(draft, speculateMs);
  const words = rng.chance(75) ? model(draft, utterances) : interpreter(draft, utterances);
  voice(draft, readBy(draft, stream(draft, words)));
  buffers(draft);
  synchronised(draft);
  return draft;
}

function documentOf(draft: Draft, policy: PolicyDocument): Record<string, unknown> {
  const { rng } = draft;
  const bounds = budgets(draft);
  return {
    schema: "rspp/pipeline/v1",
    name: "drawn",
    version: 1,
    nodes: draft.nodes,
    edges: draft.edges,
    ...(bounds === null ? {} : { budgets: bounds }),
    policy: { ...policy, ...dialogue(rng) },
    ...degrade(draft),
    ...errors(rng),
    ...(rng.chance(20) ? { conversation: { system_prompt: "You drive the last train." } } : {}),
  };
}

/** What hears, up to the utterance; one recogniser, now and then a filter behind it, now and then keys beside it. */
function ear(draft: Draft, speculateMs: number): string[] {
  const { rng } = draft;
  add(draft, { id: "caller", kind: "ingress" });
  add(draft, { id: "vad", kind: "vad" });
  add(draft, { id: "stt", kind: "stt", provider: { candidates: ["sim/stt"] } });
  const settings = {
    min_speech_ms: 60,
    endpoint_silence_ms: rng.pick([80, 100, 140]),
    candidate_silence_ms: 60,
    speculate_ms: speculateMs,
  };
  add(draft, { id: "endpointing", kind: "endpointing", settings });
  const audio = heardThrough(draft, "caller.audio");
  join(draft, audio, "vad.audio");
  join(draft, audio, "stt.audio");
  join(draft, "vad.activity", "endpointing.activity");
  let heard = "stt.text";
  if (rng.chance(30)) {
    add(draft, { id: "hearing", kind: "filter", scope: "session", settings: { drop_words: ["moon"] } });
    join(draft, heard, "hearing.text");
    heard = "hearing.text";
  }
  join(draft, heard, "endpointing.text");
  if (!rng.chance(35)) return ["endpointing.utterance"];
  add(draft, { id: "keypad", kind: "dtmf", settings: { max_digits: rng.int(1, 4), timeout_ms: 200 } });
  return ["endpointing.utterance", "keypad.utterance"];
}

/** A language model over the conversation, with a second candidate or a fallback now and then. */
function model(draft: Draft, utterances: readonly string[]): string {
  const { rng } = draft;
  add(draft, { id: "context", kind: "context" });
  for (const utterance of utterances) join(draft, utterance, "context.utterance");
  const fallback = rng.chance(35) ? { fallback: "instead" } : {};
  const provider = { candidates: rng.chance(60) ? llms : ["sim/llm"] };
  add(draft, { id: "llm", kind: "llm", provider, ...fallback, ...toolsOf(rng) });
  if (fallback.fallback !== undefined) {
    if (rng.chance(50)) add(draft, { id: "instead", kind: "canned", settings: { text: "Nobody is here just now." } });
    else add(draft, { id: "instead", kind: "llm", provider: { candidates: ["sim/llm-b"] } });
  }
  join(draft, "context.messages", "llm.messages");
  return "llm.text";
}

/** No model answers: the caller's own words go on, those of the keys beside them. */
function interpreter(draft: Draft, utterances: readonly string[]): string {
  const [first = "", ...others] = utterances;
  if (others.length === 0) return first;
  const both = add(draft, { id: "both", kind: "merge", settings: { rule: "arrival/v1" } });
  for (const utterance of utterances) join(draft, utterance, `${both}.text`);
  return `${both}.text`;
}

/** One chain of text nodes, or two that a junction brings together, or two that divide the words by a condition. */
function stream(draft: Draft, from: string): string {
  const { rng } = draft;
  const shape = rng.pick(["one", "one", "one", "merge", "select", "divided"] as const);
  if (shape === "one") return chain(draft, from, rng.int(0, 3), textNode);
  const chars = rng.int(2, 9);
  const divided = shape === "divided";
  const one = chain(draft, from, rng.int(1, 2), textNode, divided ? `event.chars > ${chars}` : undefined);
  const two = chain(draft, from, rng.int(1, 2), textNode, divided ? `event.chars <= ${chars}` : undefined);
  const [a, b] = [one, two].map((port) => port.split(".")[0] ?? "");
  const settings =
    shape === "select"
      ? { choose: [`${a}: ${rng.pick(["language = en", "health = degraded"])}`, `${b}: otherwise`] }
      : rng.pick([{ rule: "arrival/v1" }, { rule: "timestamp/v1", wait_ms: 40 }]);
  add(draft, { id: "joined", kind: shape === "select" ? "select" : "merge", settings });
  join(draft, one, "joined.text");
  join(draft, two, "joined.text");
  return "joined.text";
}

function textNode(rng: Rng): Omit<NodeDocument, "id"> {
  switch (rng.pick(["filter", "translator", "compliance", "compliance", "filter"] as const)) {
    case "filter":
      return { kind: "filter", scope: "turn", settings: rng.chance(50) ? { min_chars: 2 } : { drop_words: ["moon"] } };
    case "translator":
      return {
        kind: "translator",
        settings: { target_language: "de" },
        provider: { candidates: rng.chance(50) ? llms : ["sim/llm"] },
      };
    case "compliance":
      return {
        kind: "compliance",
        settings: {
          card_numbers: "mask",
          words: ["leave for", "town and"],
          words_action: rng.pick(["mask", "replace"]),
        },
      };
  }
}

/** What speaks, with a second voice as a candidate or as a fallback; now and then imported as a module. */
function voice(draft: Draft, words: string): void {
  const { rng } = draft;
  const firstMinChars = rng.pick([4, 12, 24]);
  const second = rng.chance(20);
  const candidates = rng.chance(60) && !second ? voices : ["sim/tts"];
  add(draft, { id: "speaker", kind: "output", scope: "turn" });
  if (rng.fork("module").chance(25)) {
    draft.module = { words, firstMinChars, candidates, second };
    draft.voice = "answer__tts";
    return;
  }
  add(draft, { id: "segmenter", kind: "segmenter", settings: { first_min_chars: firstMinChars } });
  join(draft, words, "segmenter.text");
  add(draft, { id: "tts", kind: "tts", provider: { candidates }, ...(second ? { fallback: "other-voice" } : {}) });
  if (second) add(draft, { id: "other-voice", kind: "tts", provider: { candidates: ["sim/tts-b"] } });
  join(draft, "segmenter.text", "tts.text");
  join(draft, spokenThrough(draft, "tts.audio"), "speaker.audio");
}

/** Bounds and strategies of some edges; the profile's own stay for the others. */
function buffers(draft: Draft): void {
  for (const edge of draft.edges) {
    if (draft.rng.chance(40)) edge.buffer = bufferOf(draft.rng, edge.from);
  }
}

function bufferOf(rng: Rng, from: string): BufferDocument {
  return { ...boundsOf(rng, from), ...rulesOf(rng, from) };
}

/** What happens before the bounds are met: watermarks, credit, a cadence of partials. */
function rulesOf(rng: Rng, from: string): BufferDocument {
  const text = from === "stt.text" || from === "hearing.text";
  if (text) return rng.chance(30) ? { coalesce_ms: rng.int(20, 200) } : {};
  if (from === "caller.audio" || from === "gain.audio" || from === "vad.activity") return {};
  switch (rng.pick(["none", "none", "watermark", "credit", "hybrid"] as const)) {
    case "watermark":
      return { watermark: { high: 0.8, low: 0.4, action: "block" } };
    case "credit":
      return { flow: "credit", credits: rng.int(8, 64) };
    case "hybrid":
      return { flow: "hybrid", credits: rng.int(8, 64) };
    default:
      return {};
  }
}

function boundsOf(rng: Rng, from: string): BufferDocument {
  if (from === "caller.audio" || from === "gain.audio") {
    const strategy = rng.pick(["drop_oldest", "drop_newest"] as const);
    return { strategy, max_items: rng.int(10, 100), max_queue_ms: rng.int(200, 2_000) };
  }
  if (from === "tts.audio" || from === "loudness.audio")
    return { strategy: "block", max_items: rng.int(200, 6_000), max_block_ms: rng.int(200, 2_000) };
  if (from === "stt.text" || from === "hearing.text") return { strategy: "coalesce", max_items: rng.int(4, 64) };
  return { max_items: rng.int(64, 512), max_bytes: rng.int(65_536, 1_048_576) };
}
