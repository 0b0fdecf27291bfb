/**
 * A fake of OpenAI's `POST /v1/audio/speech` (API reference, "Create speech"): bearer key, refused unknown arguments, PCM of
 * 24 kHz in a chunked body, or server-sent events `speech.audio.delta` and `speech.audio.done`.
 */
import { type Fake, fakeSpeech } from "../fake.ts";
import { type FakeExchange, startFake } from "../server.ts";

const key = "sk-fake-speech-000";
const rateHz = 24_000;
const fields = ["input", "model", "voice", "instructions", "response_format", "speed", "stream_format"];

export function startOpenAiSpeechFake(): Promise<Fake> {
  return startFake({ key, basePath: "/v1", answer: { audioMs: 200 }, handlers: { http: answer } });
}

type Body = Record<string, unknown>;

async function answer(exchange: FakeExchange): Promise<void> {
  const { request, url, fault, call } = exchange;
  if (request.method !== "POST" || url.pathname !== "/v1/audio/speech") {
    exchange.violation(`${request.method} ${url.pathname} is not served`);
    return refuse(exchange, 404, "invalid_request_error", null);
  }
  if (request.headers.authorization !== `Bearer ${key}` || fault === "unauthorized")
    return refuse(exchange, 401, "invalid_request_error", "invalid_api_key");
  if (fault === "rate_limited")
    return refuse(exchange, 429, "requests", "rate_limit_exceeded", {
      "retry-after": "1",
      "x-ratelimit-limit-requests": "500",
      "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-requests": "120ms",
    });
  if (fault === "server_error") return refuse(exchange, 500, "server_error", null);
  const body = bodyOf(exchange);
  if (body === undefined) return refuse(exchange, 400, "invalid_request_error", null);
  Object.assign(call.facts, body);
  return speak(exchange, body);
}

function refuse(
  exchange: FakeExchange,
  status: number,
  type: string,
  code: string | null,
  headers: Record<string, string> = {},
): void {
  const error = { message: "What was sent may be repeated here: zanzibar quicksilver", type, param: null, code };
  exchange.json(status, { error }, { "x-request-id": "req_000", ...headers });
}

/** Undefined, and a violation, where the vendor would answer 400. */
function bodyOf(exchange: FakeExchange): Body | undefined {
  if (!/^application\/json/.test(exchange.request.headers["content-type"] ?? ""))
    exchange.violation("no JSON content type");
  const body = JSON.parse(exchange.body.toString("utf8")) as Body;
  const { input, model, voice, response_format = "mp3", speed = 1, stream_format = "audio" } = body;
  const problems = Object.keys(body)
    .filter((field) => !fields.includes(field))
    .map((field) => `unrecognized argument ${field}`);
  if (typeof input !== "string" || input === "" || input.length > 4_096) problems.push("input");
  if (typeof model !== "string" || typeof voice !== "string") problems.push("model or voice");
  if (typeof speed !== "number" || speed < 0.25 || speed > 4) problems.push("speed");
  if (!["mp3", "opus", "aac", "flac", "wav", "pcm"].includes(String(response_format))) problems.push("response_format");
  if (!["audio", "sse"].includes(String(stream_format))) problems.push("stream_format");
  if (stream_format === "sse" && /^tts-1/.test(String(model))) problems.push("stream_format of this model");
  for (const problem of problems) exchange.violation(`400: ${problem}`);
  return problems.length === 0 ? body : undefined;
}

async function speak(exchange: FakeExchange, body: Body): Promise<void> {
  const { response, fault } = exchange;
  const { audioMs = 200, chunkMs = 0 } = exchange.answer;
  const sse = body.stream_format === "sse";
  if (fault === "garbage") {
    response.writeHead(200, { "content-type": "text/html" });
    response.end("<html><body>zanzibar quicksilver</body></html>");
    return;
  }
  response.writeHead(200, { "content-type": sse ? "text/event-stream" : "audio/pcm", "transfer-encoding": "chunked" });
  response.flushHeaders();
  const audio = fault === "empty" ? Buffer.alloc(0) : fakeSpeech(fault, audioMs, rateHz);
  // An odd number of bytes: samples are cut in two.
  const size = 2_881;
  for (let at = 0; at < audio.length; at += size) {
    const part = audio.subarray(at, at + size);
    if (!(await exchange.write(sse ? delta(part) : part))) return;
    if (fault === "disconnect") return exchange.cut();
    if (fault === "timeout_midway" || fault === "stall") return exchange.hold();
    if (chunkMs > 0 && !(await exchange.pause(chunkMs))) return;
  }
  const usage = { input_tokens: 14, output_tokens: 101, total_tokens: 115 };
  if (sse) await exchange.write(`data: ${JSON.stringify({ type: "speech.audio.done", usage })}\n\n`);
  if (sse && fault === "late_data") await exchange.write(delta(audio));
  response.end();
}

const delta = (audio: Buffer): string =>
  `data: ${JSON.stringify({ type: "speech.audio.delta", audio: audio.toString("base64") })}\n\n`;
