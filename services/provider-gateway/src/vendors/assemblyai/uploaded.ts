import { bytesToS16 } from "@rspp/audio/pcm";
import { writeWav } from "@rspp/audio/wav";
import { type Failure, failureOfStatus, lost, malformed } from "../stt/failure.ts";
import { heardOf } from "../stt/heard.ts";
import { httpUrl, jsonObject } from "../stt/line-socket.ts";
import { intakeRateHz } from "../stt/pcm-intake.ts";
import type { GatheredRequest } from "../stt/recognition.ts";
import { fittingTerms, primaryLanguage } from "../stt/settings.ts";
import { saysQuota, spokenOf, wordsOf } from "./answer.ts";
import type { AssemblyAiAsked } from "./stt.ts";

const answerBytesMax = 4 * 1024 * 1024;
const transcriptIdForm = /^[\w-]{1,64}$/;

type Answer = { readonly value: Record<string, unknown> } | { readonly failure: Failure };

/** Uploads the utterance, orders its transcript, asks until it is done. */
export async function transcribeUploaded(
  asked: AssemblyAiAsked,
  request: GatheredRequest,
): Promise<Failure | undefined> {
  const base = httpUrl(asked.access.baseUrl);
  const call = (path: string, body?: Uint8Array<ArrayBuffer> | string): Promise<Answer> =>
    ask(`${base}${path}`, asked.key, request.signal, body);
  const wav = writeWav(bytesToS16(request.pcm), { rateHz: intakeRateHz, channels: 1 });
  const uploaded = await call("/v2/upload", wav as Uint8Array<ArrayBuffer>);
  if ("failure" in uploaded) return uploaded.failure;
  request.alive();
  const ordered = await call("/v2/transcript", JSON.stringify(orderOf(asked.values, uploaded.value.upload_url)));
  if ("failure" in ordered) return ordered.failure;
  const id = ordered.value.id;
  if (typeof id !== "string" || !transcriptIdForm.test(id)) return malformed;
  for (let answer: Answer = ordered; ; answer = await call(`/v2/transcript/${id}`)) {
    if ("failure" in answer) return answer.failure;
    switch (answer.value.status) {
      case "completed":
        return tell(answer.value, request);
      case "error":
        return { kind: "error", detail: "the endpoint could not transcribe the audio" };
      case "queued":
      case "processing":
        request.alive();
        await pause(asked.values.poll_ms, request.signal);
        break;
      default:
        return malformed;
    }
  }
}

function orderOf(values: AssemblyAiAsked["values"], audioUrl: unknown): object {
  const terms = fittingTerms(values.key_terms);
  return {
    audio_url: audioUrl,
    speech_model: values.model || "universal",
    ...(values.language === "" ? { language_detection: true } : { language_code: languageCode(values.language) }),
    ...(terms.length === 0 ? {} : { keyterms_prompt: terms }),
  };
}

/** `en_us` for `en-US`, but the language alone for the others. */
function languageCode(tag: string): string {
  return /^en[-_](us|uk|au)$/i.test(tag) ? tag.toLowerCase().replace("-", "_") : primaryLanguage(tag);
}

function tell(transcript: Record<string, unknown>, request: GatheredRequest): Failure | undefined {
  const { text, confidence, language_code: code } = transcript;
  const words = wordsOf(transcript.words);
  if ((typeof text !== "string" && text !== null) || words === undefined) return malformed;
  request.heard(
    heardOf(text ?? "", true, {
      confidence: typeof confidence === "number" ? confidence : undefined,
      language: typeof code === "string" ? code.replace("_", "-") : undefined,
      words: spokenOf(words),
    }),
  );
  return undefined;
}

async function ask(
  url: string,
  key: string,
  signal: AbortSignal,
  body: Uint8Array<ArrayBuffer> | string | undefined,
): Promise<Answer> {
  try {
    const type = typeof body === "string" ? "application/json" : "application/octet-stream";
    const response = await fetch(url, {
      signal,
      redirect: "error",
      headers: { authorization: key, ...(body === undefined ? {} : { "content-type": type }) },
      ...(body === undefined ? {} : { method: "POST", body }),
    });
    const text = await response.text();
    if (!response.ok) return { failure: failureOfStatus(response.status, saysQuota(text)) };
    const value = text.length <= answerBytesMax ? jsonObject(text) : undefined;
    return value === undefined ? { failure: malformed } : { value };
  } catch {
    return { failure: lost };
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
