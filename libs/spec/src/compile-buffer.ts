/** The BufferSpec of an edge: the author's values laid over the profile's (`kernel.md` §5). */
import type { BufferSpec, EdgeDefinition, PortType } from "@rspp/kernel/graph";
import { defaultBuffer } from "@rspp/kernel/profile";
import { CONDITION_EVALUATOR } from "@rspp/kernel/pure-functions";
import { AUDIO_PRESETS } from "./audio-presets.ts";
import type { Sources } from "./sources.ts";
import type { BufferDocument } from "./spec.ts";

interface Place {
  path: string;
  specPath: string;
}

export function compileBuffer(
  given: BufferDocument,
  scope: "session" | "turn",
  type: PortType,
  place: Place,
  sources: Sources,
): BufferSpec {
  const profile = defaultBuffer(sources.profile, scope, type);
  const preset = given.preset === undefined ? undefined : AUDIO_PRESETS[given.preset];
  const base = preset === undefined ? profile : { ...profile, ...preset };
  const pick = <T>(field: keyof BufferSpec, key: keyof BufferDocument, value: T | undefined, fallback: T): T => {
    const path = `${place.path}.${field}`;
    const picked = sources.pick(path, `${place.specPath}.${key}`, value, fallback);
    if (value === undefined && preset !== undefined && field in preset) sources.note(path, presetSource(given));
    return picked;
  };
  const strategy = pick("strategy", "strategy", given.strategy, base.strategy);
  // An edge that starts to block, or stops, cannot keep the other kind's waiting time.
  const blocks = strategy === "block" || given.watermark?.action === "block";
  const blockMs = !blocks ? 0 : base.strategy === "block" ? base.maxBlockMs : sources.profile.blockMs;
  return {
    maxItems: pick("maxItems", "max_items", given.max_items, base.maxItems),
    maxBytes: pick("maxBytes", "max_bytes", given.max_bytes, base.maxBytes),
    maxQueueMs: pick("maxQueueMs", "max_queue_ms", given.max_queue_ms, base.maxQueueMs),
    strategy,
    maxBlockMs: pick("maxBlockMs", "max_block_ms", blocks ? given.max_block_ms : undefined, blockMs),
    source: sourceOf(given, profile.source),
    ...latencyOf(given, preset?.maxLatencyMs, place, sources),
    ...extrasOf(given, place, sources),
  };
}

const presetSource = ({ preset }: BufferDocument): string => `preset/${preset ?? ""}/v1`;

/** Added latency has no bound unless the author, or a preset, sets one. */
function latencyOf(
  { max_latency_ms: given, ...buffer }: BufferDocument,
  preset: number | undefined,
  { path, specPath }: Place,
  sources: Sources,
): { maxLatencyMs?: number } {
  const maxLatencyMs = given ?? preset;
  if (maxLatencyMs === undefined) return {};
  if (given === undefined) sources.note(`${path}.maxLatencyMs`, presetSource(buffer));
  else sources.take(`${path}.maxLatencyMs`, `${specPath}.max_latency_ms`);
  return { maxLatencyMs };
}

/** Telemetry that waits on one edge, where its rule says nothing else. */
const TELEMETRY_ITEMS = 64;

/** What is absent unless the author asks for it. */
function extrasOf(given: BufferDocument, { path, specPath }: Place, sources: Sources): Partial<BufferSpec> {
  const { sample_every, coalesce_ms, watermark, flow, credits, lanes, sync, preset } = given;
  const telemetry = lanes?.telemetry;
  const extras: Partial<BufferSpec> = {
    ...(sample_every === undefined ? {} : { sampleEvery: sample_every }),
    ...(coalesce_ms === undefined ? {} : { coalesceMs: coalesce_ms }),
    ...(watermark === undefined ? {} : { watermark }),
    ...(flow === undefined ? {} : { flow }),
    ...(credits === undefined ? {} : { credits }),
    ...(lanes === undefined
      ? {}
      : {
          lanes: {
            ...(lanes.control === undefined ? {} : { control: lanes.control }),
            ...(telemetry === undefined
              ? {}
              : {
                  telemetry: {
                    strategy: telemetry.strategy,
                    maxItems: telemetry.max_items ?? TELEMETRY_ITEMS,
                    ...(telemetry.sample_every === undefined ? {} : { sampleEvery: telemetry.sample_every }),
                  },
                }),
          },
        }),
    ...(sync === undefined
      ? {}
      : { sync: { group: sync.domain, policy: sync.policy, scope: sync.scope ?? "edge_local" } }),
    ...(preset === undefined ? {} : { preset }),
  };
  for (const [field, key] of EXTRA_FIELDS)
    if (extras[field] !== undefined) sources.take(`${path}.${field}`, `${specPath}.${key}`);
  return extras;
}

const EXTRA_FIELDS: readonly [keyof BufferSpec, keyof BufferDocument][] = [
  ["sampleEvery", "sample_every"],
  ["coalesceMs", "coalesce_ms"],
  ["watermark", "watermark"],
  ["flow", "flow"],
  ["credits", "credits"],
  ["lanes", "lanes"],
  ["sync", "sync"],
  ["preset", "preset"],
];

/** Absent where every event travels; the plan names the evaluator's version with it (F-018). */
export function compileCondition(
  source: string | undefined,
  path: string,
  specPath: string,
  sources: Sources,
): Pick<EdgeDefinition, "condition"> {
  if (source === undefined) return {};
  sources.take(path, specPath);
  return { condition: { source, evaluator: CONDITION_EVALUATOR } };
}

const BOUNDS = ["strategy", "max_items", "max_bytes", "max_queue_ms", "max_block_ms"] as const;

/** `spec`, the profile's source, or both where only some values are the author's; provenance has them one by one. */
function sourceOf(given: BufferDocument, fallback: string): string {
  const own = BOUNDS.filter((key) => given[key] !== undefined).length;
  const all = given.strategy === "block" ? 5 : 4;
  if (own === 0) return fallback;
  return own === all && given.strategy !== undefined ? "spec" : `spec; ${fallback}`;
}
