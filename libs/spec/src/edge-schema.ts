/** The buffer of an edge as a spec writes it (`kernel.md` §5). Rules between the fields stand in `check-buffer.ts`. */
import { AUDIO_PRESET_NAMES } from "./audio-presets.ts";
import * as limits from "./limits.ts";
import { map, may, must, type NumberSchema, oneOf, text, whole } from "./schema.ts";

const fraction: NumberSchema = { type: "number", min: 0, max: 1, integer: false };
const sampleEvery = whole(2, 10_000);

const watermark = map("the watermark of an edge", {
  high: must(fraction),
  low: must(fraction),
  action: must(oneOf("block", "drop", "merge", "degrade", "fallback")),
});

const lanes = map("the lane rules of an edge", {
  control: may(oneOf("block")),
  telemetry: may(
    map("the telemetry rule of an edge", {
      strategy: must(oneOf("drop_newest", "drop_oldest", "latest_only", "sample")),
      max_items: may(whole(1, 10_000)),
      sample_every: may(sampleEvery),
    }),
  ),
});

const sync = map("the sync group of an edge", {
  domain: must(
    text(limits.ID_CHARS_MAX, { pattern: /^[a-z][a-z0-9_-]*$/, form: "lower-case letters, digits, _ and -" }),
  ),
  policy: must(oneOf("atomic_drop", "drop_with_discontinuity", "no_sync")),
  scope: may(oneOf("edge_local", "plan_wide")),
});

export const bufferSchema = map("the buffer of an edge", {
  preset: may(oneOf(...AUDIO_PRESET_NAMES)),
  strategy: may(oneOf("block", "drop_newest", "drop_oldest", "latest_only", "coalesce", "sample")),
  max_items: may(whole(1, 100_000)),
  max_bytes: may(whole(1, 64 * 1024 * 1024)),
  max_queue_ms: may(whole(1, 600_000)),
  max_latency_ms: may(whole(1, 60_000)),
  max_block_ms: may(whole(1, 60_000)),
  sample_every: may(sampleEvery),
  coalesce_ms: may(whole(1, 10_000)),
  watermark: may(watermark),
  flow: may(oneOf("signal", "credit", "hybrid")),
  credits: may(whole(1, 10_000)),
  lanes: may(lanes),
  sync: may(sync),
});
