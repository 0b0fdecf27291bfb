/**
 * A fake of ElevenLabs' speech (API reference): the socket `stream-input`, where text comes in parts and audio goes out with the
 * time of each character, counted from the start of its own message; and `POST /v1/text-to-speech/{voice}` with or without
 * timestamps, streamed or whole.
 */
import type { Fake, FakeAnswer, Fault } from "../fake.ts";
import { fakeSpeech } from "../fake.ts";
import { type FakeExchange, startFake } from "../server.ts";
import { acceptSocket, serveSocket } from "./socket.ts";

export const elevenLabsKey = "xi-fake-000";

export function startElevenLabsFake(): Promise<Fake> {
  return startFake({
    key: elevenLabsKey,
    answer: { audioMs: 200 },
    handlers: { http: answer, accept: acceptSocket, socket: serveSocket },
  });
}

const fields = [
  ...["text", "model_id", "language_code", "voice_settings", "pronunciation_dictionary_locators", "seed"],
  ...["previous_text", "next_text", "previous_request_ids", "next_request_ids", "use_pvc_as_ivc"],
  ...["apply_text_normalization", "apply_language_text_normalization", "audio_effects"],
];

async function answer(exchange: FakeExchange): Promise<void> {
  const { request, url, fault, call } = exchange;
  const path = /^\/v1\/text-to-speech\/([^/]+)(\/stream)?(\/with-timestamps)?$/.exec(url.pathname);
  if (request.method !== "POST" || path === null) {
    exchange.violation(`${request.method} ${url.pathname} is not served`);
    return refuse(exchange, 404, "not_found");
  }
  if (request.headers["xi-api-key"] !== elevenLabsKey || fault === "unauthorized")
    return refuse(exchange, 401, "invalid_api_key");
  if (fault === "rate_limited")
    return refuse(exchange, 429, "too_many_concurrent_requests", { "maximum-concurrent-requests": "5" });
  if (fault === "server_error") return refuse(exchange, 500, "internal_error");
  const rateHz = Number(/^pcm_(8000|16000|22050|24000|44100)$/.exec(url.searchParams.get("output_format") ?? "")?.[1]);
  const body = JSON.parse(exchange.body.toString("utf8")) as Record<string, unknown>;
  Object.assign(call.facts, { voice: path[1], ...body, outputFormat: url.searchParams.get("output_format") });
  const problem = problemOf(body, rateHz);
  if (problem !== "") {
    exchange.violation(`422: ${problem}`);
    return exchange.json(422, { detail: [{ loc: ["body"], msg: problem, type: "value_error" }] });
  }
  return send(exchange, String(body.text), rateHz, { streamed: path[2] !== undefined, timed: path[3] !== undefined });
}

function refuse(exchange: FakeExchange, status: number, code: string, headers: Record<string, string> = {}): void {
  const message = "What was sent may be repeated here: zanzibar quicksilver";
  exchange.json(status, { detail: { status: code, message } }, { "request-id": "req0", ...headers });
}

function problemOf(body: Record<string, unknown>, rateHz: number): string {
  const unknown = Object.keys(body).find((field) => !fields.includes(field));
  if (unknown !== undefined) return `unknown field ${unknown}`;
  if (Number.isNaN(rateHz)) return "output_format";
  if (typeof body.text !== "string" || body.text === "") return "text";
  const { speed = 1 } = (body.voice_settings ?? {}) as { speed?: number };
  return speed >= 0.7 && speed <= 1.2 ? "" : "voice_settings.speed";
}

interface Shape {
  readonly streamed: boolean;
  readonly timed: boolean;
}

async function send(exchange: FakeExchange, text: string, rateHz: number, { streamed, timed }: Shape): Promise<void> {
  const { response, fault } = exchange;
  if (fault === "garbage") {
    response.writeHead(200, { "content-type": timed ? "application/json" : "text/html" });
    response.end("<html>zanzibar quicksilver</html>");
    return;
  }
  const parts = partsOf(text, rateHz, fault, exchange.answer, streamed ? 4 : 1);
  response.writeHead(200, { "content-type": timed ? "application/json" : "audio/pcm" });
  response.flushHeaders();
  for (const part of parts) {
    const line = timed ? JSON.stringify(timedPart(part)) + (streamed ? "\n" : "") : part.audio;
    const half = Math.ceil(line.length / 2);
    if (!(await exchange.write(line.slice(0, half)))) return;
    if (fault === "disconnect") return exchange.cut();
    if (fault === "timeout_midway" || fault === "stall") return exchange.hold();
    if (!(await exchange.pause(exchange.answer.chunkMs ?? 0))) return;
    if (!(await exchange.write(line.slice(half)))) return;
  }
  response.end();
}

export interface SpokenPart {
  readonly audio: Buffer;
  readonly chars: string[];
  /** From the start of this part. */
  readonly startsMs: number[];
  readonly durationsMs: number[];
}

/** Every character as long as every other; the audio in `count` parts, each with its own characters. */
export function partsOf(text: string, rateHz: number, fault: Fault, answer: FakeAnswer, count: number): SpokenPart[] {
  const chars = [...text];
  const audio = fault === "empty" ? Buffer.alloc(0) : fakeSpeech(fault, answer.audioMs ?? 200, rateHz);
  const perPart = Math.max(1, Math.ceil(chars.length / count));
  const msPerChar = audio.length / 2 / (rateHz / 1_000) / chars.length;
  const byteOf = (char: number): number => Math.round((char * audio.length) / chars.length / 2) * 2;
  const parts: SpokenPart[] = [];
  for (let at = 0; at < chars.length; at += perPart) {
    const own = chars.slice(at, at + perPart);
    parts.push({
      audio: audio.subarray(byteOf(at), byteOf(at + own.length)),
      chars: own,
      startsMs: own.map((_, i) => Math.round(i * msPerChar)),
      durationsMs: own.map(() => Math.round(msPerChar)),
    });
  }
  return parts;
}

function timedPart({ audio, chars, startsMs, durationsMs }: SpokenPart): object {
  const alignment = {
    characters: chars,
    character_start_times_seconds: startsMs.map((ms) => ms / 1_000),
    character_end_times_seconds: startsMs.map((ms, i) => (ms + (durationsMs[i] ?? 0)) / 1_000),
  };
  return { audio_base64: audio.toString("base64"), alignment, normalized_alignment: alignment };
}
