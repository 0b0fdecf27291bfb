/** The BufferSpec of an edge: the author's values laid over the profile's (`kernel.md` §5). */
import type { BufferSpec, EdgeDefinition, PortType } from "@rspp/kernel/graph";
import { defaultBuffer } from "@rspp/kernel/profile";
import { CONDITION_EVALUATOR } from "@rspp/kernel/pure-functions";
import type { Sources } from "./sources.ts";
import type { BufferDocument } from "./spec.ts";

export function compileBuffer(
  given: BufferDocument,
  scope: "session" | "turn",
  type: PortType,
  place: { path: string; specPath: string },
  sources: Sources,
): BufferSpec {
  const base = defaultBuffer(sources.profile, scope, type);
  const pick = <T>(field: string, key: string, value: T | undefined, fallback: T): T =>
    sources.pick(`${place.path}.${field}`, `${place.specPath}.${key}`, value, fallback);
  const strategy = pick("strategy", "strategy", given.strategy, base.strategy);
  // An edge that starts to block, or stops, cannot keep the other kind's waiting time.
  const blockMs = strategy !== "block" ? 0 : base.strategy === "block" ? base.maxBlockMs : sources.profile.blockMs;
  return {
    maxItems: pick("maxItems", "max_items", given.max_items, base.maxItems),
    maxBytes: pick("maxBytes", "max_bytes", given.max_bytes, base.maxBytes),
    maxQueueMs: pick("maxQueueMs", "max_queue_ms", given.max_queue_ms, base.maxQueueMs),
    strategy,
    maxBlockMs: pick("maxBlockMs", "max_block_ms", strategy === "block" ? given.max_block_ms : undefined, blockMs),
    source: sourceOf(given, base.source),
  };
}

/** Absent where every event travels; the plan names the evaluator's version with it (F-018). */
export function compileCondition(
  source: string | undefined,
  path: string,
  specPath: string,
  sources: Sources,
): Pick<EdgeDefinition, "condition"> {
  if (source === undefined) return {};
  sources.note(path, sources.written(specPath));
  return { condition: { source, evaluator: CONDITION_EVALUATOR } };
}

/** `spec`, the profile's source, or both where only some values are the author's; provenance has them one by one. */
function sourceOf(given: BufferDocument, fallback: string): string {
  const own = Object.keys(given).length;
  const all = given.strategy === "block" ? 5 : 4;
  if (own === 0) return fallback;
  return own === all && given.strategy !== undefined ? "spec" : `spec; ${fallback}`;
}
