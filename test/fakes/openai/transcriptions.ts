/** OpenAI's `POST /v1/audio/transcriptions` of its API reference: "Create transcription" and its stream events, "Error codes". */
import type { Fake, FakeAnswer } from "../fake.ts";
import { type FakeExchange, startFake } from "../server.ts";
import { garbage, scriptOf, spokenWords } from "../spoken.ts";

const key = "sk-proj-fake0123456789abcdefghijklmnopqrstuvwx";
const fields = new Set([
  "file",
  "model",
  "chunking_strategy",
  "include[]",
  "keywords[]",
  "language",
  "languages[]",
  "prompt",
  "response_format",
  "stream",
  "temperature",
  "timestamp_granularities[]",
]);

export function startOpenAiTranscriptions(answer: FakeAnswer = {}): Promise<Fake> {
  return startFake({ key, answer, basePath: "/v1", handlers: { http: serve } });
}

const failure = (message: string, type: string, code: string | null, param: string | null = null) => ({
  error: { message, type, param, code },
});
const invalid = (message: string, param: string) => failure(message, "invalid_request_error", null, param);

async function serve(exchange: FakeExchange): Promise<void> {
  const { request, url, fault } = exchange;
  if (request.headers.authorization !== `Bearer ${key}` || fault === "unauthorized") {
    const said = "Incorrect API key provided.";
    return exchange.json(401, failure(said, "invalid_request_error", "invalid_api_key"));
  }
  if (request.method !== "POST" || url.pathname !== "/v1/audio/transcriptions")
    return exchange.json(404, failure(`Invalid URL (${request.method})`, "invalid_request_error", null));
  if (fault === "rate_limited") {
    const headers = { "retry-after": "1", "x-ratelimit-limit-requests": "1", "x-ratelimit-remaining-requests": "0" };
    return exchange.json(429, failure("Rate limit reached", "requests", "rate_limit_exceeded"), headers);
  }
  if (fault === "server_error") {
    const said = "The server had an error while processing your request.";
    return exchange.json(500, failure(said, "server_error", null));
  }
  const form = await formOf(exchange);
  const problem = form === undefined ? invalid("Could not parse multipart form", "body") : await problemOf(form);
  if (form === undefined || problem !== undefined) return exchange.json(400, problem);
  const { call } = exchange;
  for (const name of new Set(form.keys())) if (name !== "file") call.facts[name.replace("[]", "")] = factOf(form, name);
  if (form.get("stream") === "true" && form.get("model") !== "whisper-1") return stream(exchange, form);
  return whole(exchange, form);
}

async function formOf({ request, body }: FakeExchange): Promise<FormData | undefined> {
  const headers = { "content-type": request.headers["content-type"] ?? "" };
  return new Response(new Uint8Array(body), { headers }).formData().catch(() => undefined);
}

function factOf(form: FormData, name: string): unknown {
  return name.endsWith("[]") ? form.getAll(name) : form.get(name);
}

async function problemOf(form: FormData): Promise<object | undefined> {
  for (const name of form.keys()) if (!fields.has(name)) return invalid(`Unrecognized request argument: ${name}`, name);
  const file = form.get("file");
  if (!(file instanceof File) || !/\.(wav|mp3|flac|m4a|ogg|webm|mp4|mpeg|mpga)$/.test(file.name))
    return invalid("Unrecognized file format.", "file");
  const head = Buffer.from(await file.slice(0, 4).arrayBuffer()).toString("latin1");
  if (file.name.endsWith(".wav") && head !== "RIFF") return invalid("Audio file might be corrupted", "file");
  const model = String(form.get("model") ?? "");
  if (model === "") return invalid("you must provide a model parameter", "model");
  const format = form.get("response_format") ?? "json";
  if (/^gpt-4o/.test(model) && format !== "json") return invalid(`response_format '${format}'`, "response_format");
  if (form.has("timestamp_granularities[]") && format !== "verbose_json")
    return invalid("timestamp_granularities needs verbose_json", "timestamp_granularities");
  if (form.has("include[]") && !/^gpt-4o(-mini)?-transcribe/.test(model)) return invalid("include", "include");
  if (form.has("keywords[]") && !model.startsWith("gpt-transcribe")) return invalid("keywords", "keywords");
  if (form.has("language") && !/^[a-z]{2,3}$/.test(String(form.get("language"))))
    return invalid("Invalid language. Must be given in ISO-639-1 format", "language");
  return undefined;
}

/** `e^-0.05` is 0.951. */
function logprobsOf(form: FormData, text: string): object {
  if (!form.getAll("include[]").includes("logprobs")) return {};
  const tokens = text === "" ? [] : text.split(/(?= )/);
  return { logprobs: tokens.map((token) => ({ token, logprob: -0.05, bytes: [...Buffer.from(token)] })) };
}

async function stream(exchange: FakeExchange, form: FormData): Promise<void> {
  const { fault, answer, response } = exchange;
  const { partials, transcript } = scriptOf(answer, fault);
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  if (fault === "garbage") {
    await exchange.write(`data: ${garbage}\n\n`);
    return void response.end();
  }
  const event = (value: object): Promise<boolean> => exchange.write(`data: ${JSON.stringify(value)}\n\n`);
  let told = "";
  for (const text of [...partials.filter((partial) => transcript.startsWith(partial)), transcript]) {
    const delta = text.slice(told.length);
    told = text;
    if (delta !== "" && !(await event({ type: "transcript.text.delta", delta, ...logprobsOf(form, delta) }))) return;
    if (fault === "timeout_midway" || fault === "stall") return exchange.hold();
    if (fault === "disconnect") return exchange.cut();
    if (!(await exchange.pause(answer.chunkMs ?? 1))) return;
  }
  await event({ type: "transcript.text.done", text: transcript, ...logprobsOf(form, transcript) });
  if (fault === "late_data") await event({ type: "transcript.text.delta", delta: " late" });
  response.end();
}

async function whole(exchange: FakeExchange, form: FormData): Promise<void> {
  const { fault, answer, response } = exchange;
  const { transcript } = scriptOf(answer, fault);
  const words = spokenWords(transcript).map(({ word, startS, endS }) => ({ word, start: startS, end: endS }));
  const verbose = form.get("response_format") === "verbose_json";
  const value = verbose
    ? { task: "transcribe", language: "english", duration: 1, text: transcript, words }
    : { text: transcript, ...logprobsOf(form, transcript) };
  const bytes = Buffer.from(fault === "garbage" ? garbage : JSON.stringify(value));
  response.writeHead(200, { "content-type": "application/json" });
  await exchange.write(bytes.subarray(0, bytes.length >> 1));
  if (fault === "disconnect") return exchange.cut();
  if (fault === "timeout_midway" || fault === "stall") return exchange.hold();
  await exchange.write(bytes.subarray(bytes.length >> 1));
  response.end();
}
