/** What a pipeline may have beside its nodes: each is one small function, with draws of its own. */
import type { BufferDocument, NodeDocument, PolicyDocument, ToolDocument } from "@rspp/spec/spec";
import type { Rng } from "./rng.ts";
import { add, type Draft, join } from "./spec-draft.ts";

/** Of every custom node: longer than it takes where nothing is wrong, and soon over where something is. */
const nodeLimits = { event_timeout_ms: 300, hook_timeout_ms: 100 } as const;

const tools: readonly ToolDocument[] = [
  { name: "lookup", description: "Looks a departure up.", side_effect: "none", http: { url: "http://tools.test/l" } },
  { name: "note", description: "Keeps a note.", side_effect: "idempotent", http: { url: "http://tools.test/n" } },
  { name: "book", description: "Books a seat.", side_effect: "side_effecting", http: { url: "http://tools.test/b" } },
];
/** What a model here may call, whether its node offers it or not. */
export const TOOL_NAMES: readonly string[] = tools.map(({ name }) => name);

/** Tools of a language model. */
export function toolsOf(parent: Rng): Pick<NodeDocument, "tools" | "tool_limits"> {
  const rng = parent.fork("tools");
  if (!rng.chance(35)) return {};
  const offered = tools.filter(() => rng.chance(70));
  if (offered.length === 0) return {};
  const given = offered.map((tool) => {
    const deadline_ms = rng.int(150, 900);
    const filler = rng.chance(30) ? { filler: { text: "One moment please.", after_ms: rng.int(20, 120) } } : {};
    return { ...tool, deadline_ms, ...filler };
  });
  const tool_limits = {
    per_turn_max: rng.int(1, 4),
    rounds_max: rng.int(1, 3),
    parallel_max: rng.int(1, 2),
    result_bytes_max: rng.int(16, 200),
    late_result: rng.pick(["note", "propose"] as const),
  };
  return { tools: given, ...(rng.chance(80) ? { tool_limits } : {}) };
}

/** A node of somebody else's in the reply's words; now and then with a fallback. */
export function readBy(draft: Draft, from: string): string {
  const rng = draft.rng.fork("reader");
  if (!rng.chance(25)) return from;
  const fallback = rng.chance(35) ? { fallback: "own-words" } : {};
  const limits = { ...nodeLimits, max_in_flight: rng.pick([1, 1, 3]) };
  add(draft, { id: "reader", kind: "custom", package: "reader@1.0.0", limits, ...fallback });
  if (fallback.fallback !== undefined)
    add(draft, { id: "own-words", kind: "canned", settings: { text: "That cannot be read out." } });
  join(draft, from, "reader.text");
  return "reader.text";
}

/** One in the caller's audio, of the session's scope. */
export function heardThrough(draft: Draft, from: string): string {
  if (!draft.rng.fork("gain").chance(12)) return from;
  const limits = { ...nodeLimits, max_in_flight: 4, queue: 50 };
  add(draft, { id: "gain", kind: "custom", package: "gain@1.0.0", scope: "session", limits });
  join(draft, from, "gain.audio");
  return "gain.audio";
}

/** One in the reply's audio. */
export function spokenThrough(draft: Draft, from: string): string {
  if (!draft.rng.fork("loudness").chance(12)) return from;
  const limits = { ...nodeLimits, max_in_flight: 8 };
  add(draft, { id: "loudness", kind: "custom", package: "gain@1.0.0", scope: "turn", limits });
  join(draft, from, "loudness.audio");
  return "loudness.audio";
}

/** The caller's audio to detector and recogniser as one sync group (F-146), or sampled on its way to the detector. */
export function synchronised(draft: Draft): void {
  const rng = draft.rng.fork("sync");
  const edge = (to: string): { buffer?: BufferDocument } | undefined => draft.edges.find((one) => one.to === to);
  const [detector, recogniser] = [edge("vad.audio"), edge("stt.audio")];
  if (detector === undefined || recogniser === undefined) return;
  if (rng.chance(25)) {
    const policy = rng.pick(["atomic_drop", "drop_with_discontinuity", "drop_with_discontinuity"] as const);
    const sync = { domain: "mic", policy, scope: rng.pick(["edge_local", "plan_wide"] as const) };
    const bounds = (): BufferDocument => ({ strategy: "drop_oldest", max_items: rng.int(2, 12), max_queue_ms: 400 });
    detector.buffer = { ...bounds(), sync };
    recogniser.buffer = { ...bounds(), sync };
  } else if (rng.chance(14)) detector.buffer = { strategy: "sample", sample_every: 2, max_items: 100 };
}

/** Steps down (F-048), and a reply that goes on as text where its voice has failed (F-137). */
export function degrade(draft: Draft): { degrade?: unknown } {
  const rng = draft.rng.fork("degrade");
  const textOnly = rng.chance(20);
  const named = (id: string): boolean => draft.nodes.some((node) => node.id === id);
  const postures = rng.chance(30)
    ? [1, 2].map((level) => ({
        id: `step-${level}`,
        nodes: {
          [draft.voice]: { posture: level },
          ...(named("llm") ? { llm: { posture: level }, context: { history_parts: 20 } } : {}),
        },
      }))
    : null;
  if (!textOnly && postures === null) return {};
  const calm = postures === null ? {} : { calm_ms: rng.int(500, 8_000), postures };
  return { degrade: { ...calm, ...(textOnly ? { text_only: true } : {}) } };
}

/** What is said of a turn that failed (F-135). */
export function errors(parent: Rng): { errors?: unknown } {
  return parent.fork("errors").chance(15) ? { errors: { default: "Sorry, that went wrong." } } : {};
}

export function dialogue(rng: Rng): PolicyDocument {
  const own = rng.fork("dialogue");
  return {
    ...(rng.chance(20) ? { silence: silence(rng, own) } : {}),
    ...(rng.chance(15) ? { back_channel: { words: ["please", "again"], max_ms: 400 } } : {}),
    ...(rng.chance(15) ? { min_speech_ms: 60 } : {}),
    ...(rng.chance(15) ? { history: { turns_max: rng.int(8, 20) } } : {}),
    ...longest(own),
    ...(own.chance(15) ? { hang_up: { say: "Goodbye then." } } : {}),
  };
}

function silence(rng: Rng, own: Rng): NonNullable<PolicyDocument["silence"]> {
  const asked = { after_ms: rng.int(4_000, 12_000), prompts: ["Are you still there?"], max_prompts: rng.int(1, 3) };
  // biome-ignore lint/suspicious/noThenProperty: the field's name in the file; a document is never awaited
  return own.chance(40) ? { ...asked, then: "hang_up" } : { ...asked, then: "nothing" };
}

/** The longest call, with its warning now and then: whoever is cut off calls again. */
function longest(rng: Rng): Pick<PolicyDocument, "max_call_ms" | "max_call_warning"> {
  if (!rng.chance(15)) return {};
  const max_call_ms = rng.int(15_000, 50_000);
  const warned = rng.chance(60);
  return { max_call_ms, ...(warned ? { max_call_warning: { before_ms: 5_000, say: "We have to stop soon." } } : {}) };
}
