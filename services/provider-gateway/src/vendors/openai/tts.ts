import type { Invocation, InvocationOpen, InvocationSink } from "@rspp/ports/provider";
import { endedInvocation, type ManagedProvider } from "../../attempt.ts";
import { readSettings, type SettingValues } from "../../settings.ts";
import { type ClauseRequest, ClauseSpeech } from "../speech/clause-speech.ts";
import { errorBody, failureOfStatus, malformed, SpeechFailure } from "../speech/failure.ts";
import { formatOf, speechSpecs } from "../speech/settings.ts";
import type { VendorAccess } from "../vendor.ts";
import { readSse } from "./sse.ts";

const specs = {
  ...speechSpecs,
  model: { type: "string", default: "gpt-4o-mini-tts" },
  voice: { type: "string", default: "alloy" },
  /** How it is to be said, for models that take it; empty: none. */
  instructions: { type: "string", default: "" },
  /** `sse` tells the answer's end and what was used; not every server and model has it. */
  stream_format: { type: "string", default: "audio", oneOf: ["audio", "sse"] },
} as const;

type Values = SettingValues<typeof specs>;

/** Of the vendor's PCM: 16-bit, one channel. */
const sourceHz = 24_000;

/**
 * `openai/tts`: `POST /audio/speech` of OpenAI or any server like it, a request for each clause, its body passed on as it
 * comes. It gives no word timings and takes neither `language` nor `pronunciations`: the model goes by the text.
 */
export function createOpenAiTts(access: VendorAccess): ManagedProvider {
  const { clock } = access;
  return {
    name: "openai/tts",
    modality: "tts",
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      return open(access, request, sink, read.values);
    },
  };
}

function open(access: VendorAccess, request: InvocationOpen, sink: InvocationSink, values: Values): Invocation {
  const format = formatOf(values.output_format);
  const speak = (clause: ClauseRequest): Promise<void> => say(access, request, values, clause);
  return new ClauseSpeech({ clock: access.clock, sink, format, sourceHz, values, speak });
}

async function say(
  access: VendorAccess,
  { idempotencyKey }: InvocationOpen,
  values: Values,
  { clause, out, signal, progress }: ClauseRequest,
): Promise<void> {
  const key = access.key();
  const response = await fetch(`${access.baseUrl}/audio/speech`, {
    method: "POST",
    signal,
    redirect: "error",
    headers: {
      "content-type": "application/json",
      // A server of one's own may ask for no key.
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      "idempotency-key": `${idempotencyKey}/${clause.segment}`,
    },
    body: JSON.stringify({
      model: values.model,
      input: clause.text,
      voice: values.voice,
      response_format: "pcm",
      speed: values.rate,
      ...(values.stream_format === "sse" ? { stream_format: "sse" } : {}),
      ...(values.instructions === "" ? {} : { instructions: values.instructions }),
    }),
  });
  const type = response.headers.get("content-type") ?? "";
  if (!response.ok || response.body === null) throw await failureOf(response);
  progress();
  if (type.startsWith("text/event-stream")) {
    await readEvents(response.body, progress, (bytes) => out.audio(bytes));
    return;
  }
  if (!/^(?:audio\/|application\/octet-stream)/.test(type)) throw malformed("answer: it is no audio");
  for await (const bytes of response.body) {
    progress();
    out.audio(bytes);
  }
}

async function failureOf(response: Response): Promise<SpeechFailure> {
  let code = "";
  try {
    const { error } = JSON.parse(await errorBody(response.body)) as { error?: { code?: unknown; type?: unknown } };
    code = `${String(error?.code ?? "")} ${String(error?.type ?? "")}`;
  } catch {
    // The status alone says it.
  }
  return failureOfStatus(response.status, code);
}

interface SpeechEvent {
  type?: unknown;
  audio?: unknown;
  error?: { code?: unknown };
}

/** `speech.audio.delta` … `speech.audio.done`; others are left out, as the vendor adds some. */
async function readEvents(
  body: AsyncIterable<Uint8Array>,
  progress: () => void,
  audio: (bytes: Uint8Array) => void,
): Promise<void> {
  for await (const data of readSse(body)) {
    progress();
    if (data === "[DONE]") return;
    const event = JSON.parse(data) as SpeechEvent;
    if (event.type === "speech.audio.done") return;
    if (event.type === "error" || event.error !== undefined)
      throw new SpeechFailure("error", "the endpoint reported an error in its stream");
    if (event.type !== "speech.audio.delta") continue;
    if (typeof event.audio !== "string") throw malformed("event: its audio is no text");
    audio(Buffer.from(event.audio, "base64"));
  }
  throw new SpeechFailure("disconnect", "the stream ended before the answer did");
}
