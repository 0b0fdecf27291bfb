import { bytesToS16 } from "@rspp/audio/pcm";
import { writeWav } from "@rspp/audio/wav";
import OpenAI, { APIConnectionError, APIConnectionTimeoutError, APIError, toFile } from "openai";
import type { ManagedProvider } from "../../attempt.ts";
import { type Failure, failureOfStatus, lost, malformed } from "../stt/failure.ts";
import { heardOf } from "../stt/heard.ts";
import { httpUrl, jsonObject } from "../stt/line-socket.ts";
import { intakeRateHz } from "../stt/pcm-intake.ts";
import { type Asked, createRecogniser } from "../stt/provider.ts";
import type { GatheredRequest } from "../stt/recognition.ts";
import { fittingTerms, primaryLanguage, recogniserSpecs } from "../stt/settings.ts";
import type { VendorAccess } from "../vendor.ts";
import { readSse } from "./sse.ts";

const specs = {
  ...recogniserSpecs,
  model: { type: "string", default: "gpt-4o-mini-transcribe" },
  /** Text that guides the model's style; key terms are added to it. */
  prompt: { type: "string", default: "" },
} as const;

type Values = Asked<typeof specs>["values"];
type Create = OpenAI.Audio.TranscriptionCreateParams;

const textCharsMax = 32_768;

/**
 * `openai/stt`: any OpenAI-compatible transcription endpoint. The utterance goes in one request when it has ended; with
 * streaming its words come back while they are written.
 */
export function createOpenAiStt(access: VendorAccess): ManagedProvider {
  return createRecogniser(access, { name: "openai/stt", specs, keyOptional: true, gathered: transcribe });
}

async function transcribe(
  { values, key, access }: Asked<typeof specs>,
  request: GatheredRequest,
): Promise<Failure | undefined> {
  const client = new OpenAI({
    // The client wants one, where the endpoint may want none.
    apiKey: key || "none",
    ...(key === "" ? { defaultHeaders: { Authorization: null } } : {}),
    baseURL: httpUrl(access.baseUrl),
    organization: null,
    project: null,
    maxRetries: 0,
    timeout: 600_000,
    logLevel: "off",
    fetch: fetchWhole,
  });
  try {
    const wav = writeWav(bytesToS16(request.pcm), { rateHz: intakeRateHz, channels: 1 });
    const file = await toFile(wav, "utterance.wav", { type: "audio/wav" });
    // Read here: an endpoint may answer in one piece though asked for a stream.
    const response = await client.audio.transcriptions
      .create({ file, ...paramsOf(values) } as Create, { signal: request.signal })
      .asResponse();
    const streamed = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
    if (!streamed) return whole(await response.text(), request);
    return response.body === null ? malformed : await events(response.body, request);
  } catch (error) {
    return failureOf(error);
  }
}

/**
 * Fetch with the form written out first. Node reads a form's files while it sends them, and a request that fails or is
 * cancelled meanwhile rejects a promise that nobody holds, which would end the process.
 */
async function fetchWhole(url: string | URL | Request, init?: RequestInit): Promise<Response> {
  if (!(init?.body instanceof FormData)) return fetch(url, init);
  const written = new Response(init.body);
  const headers = new Headers(init.headers);
  headers.set("content-type", written.headers.get("content-type") ?? "");
  return fetch(url, { ...init, headers, body: await written.bytes() });
}

/** What each family of models takes; the endpoint refuses what it does not know. */
function paramsOf(values: Values): Omit<Create, "file"> {
  const { model, streaming, language, prompt } = values;
  const terms = fittingTerms(values.key_terms);
  const gpt = model.startsWith("gpt-");
  const keywords = model.startsWith("gpt-transcribe");
  const logprobs = /^gpt-4o(-mini)?-transcribe(?!-diarize)/.test(model);
  const stream = streaming && model !== "whisper-1";
  const hint =
    keywords || terms.length === 0 ? prompt : `${prompt} Words that may be said: ${terms.join(", ")}.`.trim();
  return {
    model,
    ...(stream ? { stream } : {}),
    ...(language === "" ? {} : { language: primaryLanguage(language) }),
    ...(hint === "" ? {} : { prompt: hint }),
    ...(keywords && terms.length > 0 ? { keywords: terms } : {}),
    ...(logprobs ? { include: ["logprobs"] } : {}),
    ...(gpt || stream
      ? { response_format: "json" }
      : { response_format: "verbose_json", timestamp_granularities: ["word"] }),
  } as Omit<Create, "file">;
}

interface Answer {
  readonly text?: unknown;
  readonly languages?: { readonly code?: string }[];
  readonly language?: unknown;
  readonly logprobs?: { readonly logprob?: number }[];
  readonly words?: { readonly word?: string; readonly start?: number; readonly end?: number }[];
}

function tellFinal(answer: Answer, request: GatheredRequest): Failure | undefined {
  const { text, languages, language, logprobs, words } = answer;
  if (typeof text !== "string" || text.length > textCharsMax) return malformed;
  if ([languages, logprobs, words].some((list) => list !== undefined && list !== null && !Array.isArray(list)))
    return malformed;
  // Whisper writes the language's English name, which is no tag.
  const tag = languages?.[0]?.code ?? (typeof language === "string" && language.length <= 3 ? language : undefined);
  const spoken = (words ?? []).map(({ word = "", start = Number.NaN, end = Number.NaN }) => ({
    text: word.trim(),
    startUs: start * 1e6,
    endUs: end * 1e6,
  }));
  request.heard(heardOf(text.trim(), true, { confidence: likelihood(logprobs), language: tag, words: spoken }));
  return undefined;
}

/** The mean over the tokens. */
function likelihood(logprobs: Answer["logprobs"]): number | undefined {
  if (logprobs === undefined || logprobs === null || logprobs.length === 0) return undefined;
  const sum = logprobs.reduce((all, { logprob = 0 }) => all + logprob, 0);
  return Math.exp(sum / logprobs.length);
}

function whole(text: string, request: GatheredRequest): Failure | undefined {
  const answer = jsonObject(text);
  return answer === undefined ? malformed : tellFinal(answer, request);
}

async function events(body: NonNullable<Response["body"]>, request: GatheredRequest): Promise<Failure | undefined> {
  let soFar = "";
  for await (const data of readSse(body)) {
    if (data === "[DONE]") break;
    const event = jsonObject(data);
    if (event === undefined) return malformed;
    if (event.error !== undefined) return failureInStream(event.error);
    if (event.type === "transcript.text.done") return tellFinal(event, request);
    if (event.type === "transcript.text.delta") {
      if (typeof event.delta !== "string") return malformed;
      soFar += event.delta;
      if (soFar.length > textCharsMax) return malformed;
      request.heard(heardOf(soFar.trim(), false, {}));
    } else request.alive();
  }
  return lost;
}

function failureInStream(error: unknown): Failure {
  const { code, type } = (error ?? {}) as { code?: unknown; type?: unknown };
  const said = `${String(code)} ${String(type)}`;
  if (/quota/.test(said)) return failureOfStatus(429, true);
  if (/rate_limit/.test(said)) return failureOfStatus(429);
  if (/overload/.test(said)) return failureOfStatus(503);
  return { kind: "error", detail: "the endpoint reported an error in its stream" };
}

function failureOf(error: unknown): Failure {
  if (error instanceof APIConnectionTimeoutError) return { kind: "timeout", detail: "the endpoint did not answer" };
  if (error instanceof APIConnectionError || !(error instanceof APIError)) return lost;
  const { status, code, type } = error as { status?: number; code?: unknown; type?: unknown };
  if (status === undefined) return lost;
  if (code === "content_filter" || code === "content_policy_violation") {
    return { kind: "safety_block", detail: "the endpoint's content filter refused the audio" };
  }
  return failureOfStatus(status, code === "insufficient_quota" || type === "insufficient_quota");
}
