import type { SettingValues } from "../../settings.ts";

/** What every vendor's language model understands; of `model` each vendor has its own default. */
export const chatSpecs = {
  model: { type: "string", default: "" },
  /** System message put before the conversation; empty: none. */
  prompt: { type: "string", default: "" },
  /** Default the model's own; some models take none. */
  temperature: { type: "number", default: -1, min: 0, max: 2 },
  max_tokens: { type: "number", default: 300, min: 1, max: 65_536 },
  /** Texts at which it stops. */
  stop: { type: "strings", default: [] },
  /** False: one request, one answer. */
  streaming: { type: "boolean", default: true },
  /** From the request to the head of its answer; not streaming, `stall_ms` is added, since the model works meanwhile. */
  connect_timeout_ms: { type: "number", default: 10_000, min: 1, max: 600_000 },
  /** Between two events of the answer; keep-alives are none. */
  stall_ms: { type: "number", default: 10_000, min: 1, max: 600_000 },
  /** Bound of the whole answer. All three in real time. */
  total_timeout_ms: { type: "number", default: 60_000, min: 1, max: 600_000 },
} as const;

export type ChatValues = SettingValues<typeof chatSpecs>;

/** The temperature asked for; undefined: the model's own. */
export function temperatureOf({ temperature }: ChatValues): number | undefined {
  return temperature < 0 ? undefined : temperature;
}
