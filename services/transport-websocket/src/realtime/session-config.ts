/**
 * What `session.update` may change and what the pipeline has decided (docs/openai-realtime.md). Audio formats and turn
 * detection are the client's; instructions, voice and models are those of the pipeline, and `session.updated` shows them as
 * they are. What would leave an application waiting for something that never comes is refused. Pure.
 */
import { err, ok, type Result } from "@rspp/base/result";
import type { AudioFormat } from "@rspp/ports/provider";
import { echo } from "@rspp/wire/wire-error";
import { type Json, objectOf } from "./client-events.ts";
import { invalid, type RealtimeProblem } from "./problem.ts";

export type FormatName = "audio/pcm" | "audio/pcmu" | "audio/pcma";

export interface RealtimeConfig {
  readonly input: FormatName;
  readonly output: FormatName;
  /** Nothing is heard before `input_audio_buffer.commit` (F-042). */
  readonly manual: boolean;
}

export const DEFAULT_CONFIG: RealtimeConfig = { input: "audio/pcm", output: "audio/pcm", manual: false };

const formats: Readonly<Record<FormatName, AudioFormat>> = {
  "audio/pcm": { codec: "pcm_s16le", rateHz: 24_000, channels: 1 },
  "audio/pcmu": { codec: "mulaw", rateHz: 8_000, channels: 1 },
  "audio/pcma": { codec: "alaw", rateHz: 8_000, channels: 1 },
};

export function formatOf(name: FormatName): AudioFormat {
  return formats[name];
}

/** Bytes of one millisecond. */
export function bytesPerMs(name: FormatName): number {
  return name === "audio/pcm" ? 48 : 8;
}

/** Names of before the general release beside those of today. */
const formatNames: Readonly<Record<string, FormatName>> = {
  "audio/pcm": "audio/pcm",
  "audio/pcmu": "audio/pcmu",
  "audio/pcma": "audio/pcma",
  pcm16: "audio/pcm",
  g711_ulaw: "audio/pcmu",
  g711_alaw: "audio/pcma",
};

/** Known fields; those that decide nothing here are the pipeline's. */
const known: ReadonlySet<string> = new Set([
  "type",
  "id",
  "object",
  "audio",
  "client_secret",
  "expires_at",
  "include",
  "input_audio_format",
  "output_audio_format",
  "instructions",
  "max_output_tokens",
  "model",
  "output_modalities",
  "parallel_tool_calls",
  "prompt",
  "reasoning",
  "tool_choice",
  "tools",
  "tracing",
  "truncation",
]);

/** All of the update, or nothing of it. */
export function updated(config: RealtimeConfig, session: Json): Result<RealtimeConfig, RealtimeProblem> {
  const refused = refusedField(session);
  if (refused !== null) return err(refused);
  const audio = objectOf(session.audio) ?? {};
  const input = objectOf(audio.input) ?? {};
  const output = objectOf(audio.output) ?? {};
  const inputFormat = formatNamed(
    input.format ?? session.input_audio_format,
    "session.audio.input.format",
    config.input,
  );
  if (!inputFormat.ok) return inputFormat;
  const outputFormat = formatNamed(
    output.format ?? session.output_audio_format,
    "session.audio.output.format",
    config.output,
  );
  if (!outputFormat.ok) return outputFormat;
  const manual = manualOf(input.turn_detection, config.manual);
  if (!manual.ok) return manual;
  return ok({ input: inputFormat.value, output: outputFormat.value, manual: manual.value });
}

function refusedField(session: Json): RealtimeProblem | null {
  const strange = Object.keys(session).find((key) => !known.has(key));
  if (strange !== undefined)
    return invalid(
      "unknown_parameter",
      `session.${echo(strange)} is not known; leave it out.`,
      `session.${echo(strange)}`,
    );
  const { type, tools, output_modalities: modalities } = session;
  if (type !== undefined && type !== "realtime")
    return invalid("invalid_value", 'session.type is not "realtime", the one kind of session here.', "session.type");
  if (tools !== undefined && tools !== null && !(Array.isArray(tools) && tools.length === 0)) {
    const said =
      "Tools are declared by the pipeline and run on the server; declare them in its spec, and send none here.";
    return invalid("tools_not_supported", said, "session.tools");
  }
  if (Array.isArray(modalities) && !modalities.includes("audio")) {
    const said = 'The agent speaks; session.output_modalities is ["audio"], and its words come as a transcript.';
    return invalid("invalid_value", said, "session.output_modalities");
  }
  return null;
}

function formatNamed(value: unknown, param: string, before: FormatName): Result<FormatName, RealtimeProblem> {
  if (value === undefined || value === null) return ok(before);
  const object = objectOf(value);
  const name = object === null ? value : object.type;
  const found = typeof name === "string" && Object.hasOwn(formatNames, name) ? formatNames[name] : undefined;
  if (found === undefined) {
    const said = `${param} is none of audio/pcm (24000 Hz), audio/pcmu, audio/pcma.`;
    return err(invalid("invalid_value", said, param));
  }
  const rate = object?.rate;
  if (found === "audio/pcm" && rate !== undefined && rate !== 24_000)
    return err(invalid("invalid_value", `${param}.rate is not 24000, the one rate of audio/pcm.`, `${param}.rate`));
  return ok(found);
}

function manualOf(detection: unknown, before: boolean): Result<boolean, RealtimeProblem> {
  const param = "session.audio.input.turn_detection";
  if (detection === undefined) return ok(before);
  if (detection === null) return ok(true);
  const { type, create_response: answers } = objectOf(detection) ?? {};
  if (type !== undefined && type !== "server_vad" && type !== "semantic_vad") {
    const said = `${param}.type is neither server_vad nor semantic_vad; for push to talk set ${param} to null.`;
    return err(invalid("invalid_value", said, `${param}.type`));
  }
  if (answers === false) {
    const said = `The agent answers what was said by itself; for push to talk set ${param} to null.`;
    return err(invalid("invalid_value", said, `${param}.create_response`));
  }
  return ok(false);
}

/** The session as `session.created` and `session.updated` show it. */
export function sessionObject(id: string, model: string, config: RealtimeConfig): Json {
  const detection = { type: "server_vad", create_response: true, interrupt_response: true };
  return {
    type: "realtime",
    object: "realtime.session",
    id,
    model,
    output_modalities: ["audio"],
    instructions: "",
    tools: [],
    tool_choice: "auto",
    max_output_tokens: "inf",
    tracing: null,
    prompt: null,
    include: null,
    audio: {
      input: {
        format: formatObject(config.input),
        transcription: { model },
        noise_reduction: null,
        turn_detection: config.manual ? null : detection,
      },
      output: { format: formatObject(config.output), voice: "pipeline", speed: 1 },
    },
  };
}

export function formatObject(name: FormatName): Json {
  return name === "audio/pcm" ? { type: name, rate: 24_000 } : { type: name };
}
