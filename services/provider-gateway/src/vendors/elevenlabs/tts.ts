import type { Invocation, InvocationSink } from "@rspp/ports/provider";
import { endedInvocation, type ManagedProvider } from "../../attempt.ts";
import { type ClauseRequest, ClauseSpeech } from "../speech/clause-speech.ts";
import { errorBody, malformed } from "../speech/failure.ts";
import { formatOf } from "../speech/settings.ts";
import type { VendorAccess } from "../vendor.ts";
import { AlignedClause, secondsAlignmentOf } from "./aligned-words.ts";
import { codeOfBody, failureOfCode } from "./failure.ts";
import {
  dictionaries,
  type ElevenLabsValues,
  languageCode,
  readElevenLabsSettings,
  sendsMarkup,
  sentText,
  voiceSettings,
} from "./settings.ts";
import { StreamInputSpeech } from "./stream-input.ts";

/**
 * `elevenlabs/tts`: the socket `stream-input`, text going in clause by clause and audio coming out with the time of each
 * character; with setting `streaming` false a request for each clause (`with-timestamps`).
 */
export function createElevenLabsTts(access: VendorAccess): ManagedProvider {
  const { clock } = access;
  return {
    name: "elevenlabs/tts",
    modality: "tts",
    open(request, sink) {
      const read = readElevenLabsSettings(request.settings);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      const key = access.key();
      if (key === undefined) {
        return endedInvocation(clock, sink, "unauthorized", "no key; set ELEVENLABS_API_KEY");
      }
      const { values } = read;
      return values.streaming
        ? new StreamInputSpeech({ access, sink, key, values })
        : openWhole(access, sink, key, values);
    },
  };
}

function openWhole(access: VendorAccess, sink: InvocationSink, key: string, values: ElevenLabsValues): Invocation {
  const format = formatOf(values.output_format);
  const speak = (request: ClauseRequest): Promise<void> => sayWhole(access.baseUrl, key, values, request);
  return new ClauseSpeech({ clock: access.clock, sink, format, sourceHz: format.rateHz, values, speak });
}

async function sayWhole(baseUrl: string, key: string, values: ElevenLabsValues, request: ClauseRequest): Promise<void> {
  const { clause, out, signal, progress } = request;
  const { rateHz } = formatOf(values.output_format);
  const url = new URL(`${baseUrl}/v1/text-to-speech/${encodeURIComponent(values.voice)}/with-timestamps`);
  url.protocol = url.protocol.replace("ws", "http");
  url.searchParams.set("output_format", `pcm_${rateHz}`);
  const response = await fetch(url, {
    method: "POST",
    signal,
    redirect: "error",
    headers: { "xi-api-key": key, "content-type": "application/json" },
    body: JSON.stringify({
      text: sentText(values, clause.text).text,
      model_id: values.model,
      voice_settings: voiceSettings(values),
      ...(values.language === "" ? {} : { language_code: languageCode(values.language) }),
      ...dictionaries(values),
    }),
  });
  if (!response.ok) throw failureOfCode(response.status, codeOfBody(await errorBody(response.body)));
  progress();
  const answer = (await readJson(response, progress)) as { audio_base64?: unknown; alignment?: unknown } | null;
  if (typeof answer?.audio_base64 !== "string") throw malformed("answer: it holds no audio");
  const aligned = new AlignedClause(clause, sendsMarkup(values));
  const { chars, startsMs, durationsMs } = secondsAlignmentOf(answer.alignment) ?? none;
  for (const [i, sign] of chars.entries()) {
    const startUs = (startsMs[i] ?? 0) * 1_000;
    aligned.take(sign, Math.round(startUs), Math.round(startUs + (durationsMs[i] ?? 0) * 1_000));
  }
  out.words(aligned.words(true));
  out.audio(Buffer.from(answer.audio_base64, "base64"));
}

const none = { chars: [], startsMs: [], durationsMs: [] };
/** A clause of five minutes at 24 kHz in base64, and its alignment. */
const answerBytesMax = 24 * 1_024 * 1_024;

async function readJson(response: Response, progress: () => void): Promise<unknown> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    progress();
    bytes += part.length;
    if (bytes > answerBytesMax) throw malformed("answer: it is too long");
    parts.push(part);
  }
  return JSON.parse(Buffer.concat(parts).toString("utf8"));
}
