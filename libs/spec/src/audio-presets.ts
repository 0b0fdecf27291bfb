/** Named bounds for audio (F-054): what an edge gives up when it cannot keep up, its time or its sound. */
import type { BufferSpec } from "@rspp/kernel/graph";

type Preset = Pick<BufferSpec, "strategy" | "maxItems" | "maxQueueMs" | "maxBlockMs"> & { maxLatencyMs?: number };

export const AUDIO_PRESETS: Readonly<Record<string, Preset>> = {
  /** What is older than 200 ms is of no use: the newest goes on, the rest is dropped and told. */
  latency_first: { strategy: "drop_oldest", maxItems: 20, maxQueueMs: 200, maxBlockMs: 0, maxLatencyMs: 200 },
  /** Nothing is lost while the producer can be held back for 5 s: 10 s of audio wait. */
  accuracy_first: { strategy: "block", maxItems: 1_000, maxQueueMs: 10_000, maxBlockMs: 5_000 },
};

export const AUDIO_PRESET_NAMES: readonly string[] = Object.keys(AUDIO_PRESETS);
