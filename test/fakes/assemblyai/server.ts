/**
 * AssemblyAI: Universal Streaming v3 (`/v3/ws`) and pre-recorded audio (`/v2/upload`, `/v2/transcript`) of assemblyai.com/docs:
 * "Message Sequence", "Streaming API", "Turn Detection", "Common session errors and closures", and its OpenAPI document.
 */
import { randomUUID } from "node:crypto";
import type { Fake, FakeAnswer, Fault } from "../fake.ts";
import { type FakeConnection, type FakeExchange, startFake } from "../server.ts";
import { garbage, scriptOf, spokenWords } from "../spoken.ts";

const key = "aai0123456789abcdef0123456789abcdef";
const parameters = new Set([
  "sample_rate",
  "encoding",
  "speech_model",
  "format_turns",
  "keyterms_prompt",
  "end_of_turn_confidence_threshold",
  "min_turn_silence",
  "max_turn_silence",
  "vad_threshold",
  "language_detection",
  "inactivity_timeout",
  "filter_profanity",
  "token",
]);

export function startAssemblyAi(answer: FakeAnswer = {}): Promise<Fake> {
  const recordings = new Recordings();
  return startFake({
    key,
    answer,
    handlers: { socket: (connection) => stream(connection), http: (exchange) => recordings.serve(exchange) },
  });
}

// --- streaming ---

/** Credentials and parameters are looked at when the connection stands; what is wrong is an `Error`, then the close. */
async function stream(connection: FakeConnection): Promise<void> {
  const { request, url, fault } = connection;
  for (const [name, value] of url.searchParams) connection.call.facts[name] = factOf(name, value);
  const refuse = (code: number, error: string): void => {
    connection.send({ type: "Error", error_code: code, error });
    connection.close(code, "See Error message for details");
  };
  if (url.pathname !== "/v3/ws") return refuse(3006, "Unknown path");
  if (request.headers.authorization !== key || fault === "unauthorized")
    return refuse(1008, "Unauthorized Connection: Missing Authorization header");
  if (fault === "rate_limited") return refuse(3009, "Too many concurrent sessions");
  if (fault === "server_error") return refuse(3005, "Session Cancelled: An error occurred");
  const problem = parameterProblem(url);
  if (problem !== undefined) return refuse(3006, problem);
  const id = randomUUID();
  connection.send({ type: "Begin", id, expires_at: 1_900_000_000 });
  await new Session(connection, refuse).run();
}

function factOf(name: string, value: string): unknown {
  if (name !== "keyterms_prompt") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function parameterProblem({ searchParams: given }: URL): string | undefined {
  for (const name of given.keys()) if (!parameters.has(name)) return `Unknown parameter ${name}`;
  if (!/^\d+$/.test(given.get("sample_rate") ?? "")) return "Sample rate must be a positive integer";
  if (!["pcm_s16le", "pcm_mulaw"].includes(given.get("encoding") ?? "pcm_s16le")) return "Invalid encoding";
  if (given.has("keyterms_prompt") && !Array.isArray(factOf("keyterms_prompt", given.get("keyterms_prompt") ?? "")))
    return "Invalid keyterms_prompt";
  const idle = Number(given.get("inactivity_timeout") ?? 5);
  return idle >= 5 && idle <= 3_600 ? undefined : "Invalid inactivity_timeout";
}

class Session {
  readonly #connection: FakeConnection;
  readonly #refuse: (code: number, error: string) => void;
  readonly #formatted: boolean;
  readonly #begun = Promise.withResolvers<void>();
  readonly #forced = Promise.withResolvers<void>();
  readonly #terminated = Promise.withResolvers<void>();
  #terminating = false;

  constructor(connection: FakeConnection, refuse: (code: number, error: string) => void) {
    this.#connection = connection;
    this.#refuse = refuse;
    this.#formatted = connection.url.searchParams.get("format_turns") === "true";
    connection.socket.on("message", (data: Buffer, binary: boolean) => this.#message(data, binary));
    connection.gone.addEventListener("abort", () => this.#end());
  }

  async run(): Promise<void> {
    const { fault, answer } = this.#connection;
    const { partials, transcript } = scriptOf(answer, fault);
    await this.#begun.promise;
    if (fault === "garbage") return void this.#connection.send(garbage);
    for (const text of partials) {
      if (!this.#connection.send(turn(text, { ended: false, formatted: false }))) return;
      if (fault === "timeout_midway" || fault === "stall") return;
      if (fault === "disconnect") return this.#connection.cut();
      if (!(await this.#connection.pause(answer.chunkMs ?? 1))) return;
    }
    if (fault === "disconnect" || fault === "timeout_midway" || fault === "stall") return;
    await Promise.race([this.#forced.promise, this.#terminated.promise]);
    if (transcript !== "") this.#lastTurn(transcript, fault);
    await this.#terminated.promise;
    this.#connection.send({ type: "Termination", audio_duration_seconds: 1, session_duration_seconds: 1 });
    if (fault === "late_data") this.#connection.send(turn("later still", { ended: true, formatted: true, order: 1 }));
    this.#connection.close(1000);
  }

  #lastTurn(transcript: string, fault: Fault): void {
    this.#connection.send(turn(transcript, { ended: true, formatted: false }));
    if (this.#formatted) this.#connection.send(turn(transcript, { ended: true, formatted: true }));
    if (fault === "late_data") this.#connection.send(turn(`${transcript} late`, { ended: true, formatted: false }));
  }

  #message(data: Buffer, binary: boolean): void {
    const { call, violation } = this.#connection;
    if (this.#terminating) return violation("a message after Terminate");
    if (binary) return this.#audio(data);
    const type = typeOf(data);
    if (type === "ForceEndpoint") this.#forced.resolve();
    else if (type === "KeepAlive") call.facts.keepAlives = Number(call.facts.keepAlives ?? 0) + 1;
    else if (type === "Terminate") {
      this.#terminating = true;
      this.#end();
    } else if (type !== "UpdateConfiguration") violation("a text message of an unknown type");
  }

  /** Fifty milliseconds to a second a message. */
  #audio(data: Buffer): void {
    const rateHz = Number(this.#connection.url.searchParams.get("sample_rate"));
    const ms = data.length / 2 / (rateHz / 1_000);
    if (ms < 50 || ms > 1_000) {
      this.#connection.violation("audio of less than 50 or more than 1000 ms");
      return this.#refuse(3007, `Input Duration Violation: ${ms} ms`);
    }
    this.#begun.resolve();
  }

  #end(): void {
    for (const one of [this.#begun, this.#forced, this.#terminated]) one.resolve();
  }
}

function typeOf(data: Buffer): unknown {
  try {
    return (JSON.parse(data.toString("utf8")) as { type?: unknown }).type;
  } catch {
    return undefined;
  }
}

/** A partial holds its last word back from the transcript: it is not final yet. */
function turn(text: string, about: { ended: boolean; formatted: boolean; order?: number }): object {
  const words = spokenWords(text).map(({ word, startS, endS }, at, all) => ({
    start: Math.round(startS * 1_000),
    end: Math.round(endS * 1_000),
    text: word,
    confidence: 0.94,
    word_is_final: about.ended || at < all.length - 1,
  }));
  const certain = about.ended
    ? text
    : words
        .filter((word) => word.word_is_final)
        .map((word) => word.text)
        .join(" ");
  return {
    turn_order: about.order ?? 0,
    turn_is_formatted: about.formatted,
    end_of_turn: about.ended,
    transcript: certain,
    end_of_turn_confidence: about.ended ? 0.9 : 0.01,
    words,
    utterance: about.ended ? text : "",
    type: "Turn",
  };
}

// --- pre-recorded ---

class Recordings {
  readonly #uploads = new Set<string>();
  /** How often each transcript was asked for. */
  readonly #asked = new Map<string, { polls: number; facts: Record<string, unknown> }>();

  async serve(exchange: FakeExchange): Promise<void> {
    const { request, url, fault } = exchange;
    if (request.headers.authorization !== key || fault === "unauthorized")
      return exchange.json(401, { error: "Authentication error, API token missing/invalid" });
    if (fault === "rate_limited") return exchange.json(429, { error: "Too many requests" }, { "retry-after": "1" });
    if (fault === "server_error") return exchange.json(500, { error: "Internal server error" });
    const { pathname } = url;
    if (request.method === "POST" && pathname === "/v2/upload") return this.#upload(exchange);
    if (request.method === "POST" && pathname === "/v2/transcript") return this.#order(exchange);
    if (request.method === "GET" && pathname.startsWith("/v2/transcript/")) return this.#poll(exchange);
    return exchange.json(404, { error: "Not found" });
  }

  async #upload(exchange: FakeExchange): Promise<void> {
    const { body, request } = exchange;
    if (request.headers["content-type"] !== "application/octet-stream") exchange.violation("the upload's content type");
    if (body.length === 0) return exchange.json(422, { error: "Upload failed, no data" });
    const uploadUrl = `https://cdn.assemblyai.com/upload/${randomUUID()}`;
    this.#uploads.add(uploadUrl);
    await this.#answer(exchange, { upload_url: uploadUrl });
  }

  async #order(exchange: FakeExchange): Promise<void> {
    let order: Record<string, unknown>;
    try {
      order = JSON.parse(exchange.body.toString("utf8")) as Record<string, unknown>;
    } catch {
      return exchange.json(400, { error: "Invalid JSON" });
    }
    if (!this.#uploads.has(String(order.audio_url))) return exchange.json(400, { error: "Unknown audio_url" });
    if (order.language_code !== undefined && order.language_detection === true)
      return exchange.json(400, { error: "`language_detection` is not available when `language_code` is specified." });
    if (order.language_code !== undefined && !/^[a-z]{2,3}(_[a-z]{2})?$/.test(String(order.language_code)))
      return exchange.json(400, { error: "Invalid language_code" });
    Object.assign(exchange.call.facts, order);
    const id = randomUUID();
    this.#asked.set(id, { polls: 0, facts: order });
    await this.#answer(exchange, { id, status: "queued", text: null, words: null });
  }

  async #poll(exchange: FakeExchange): Promise<void> {
    const id = exchange.url.pathname.slice("/v2/transcript/".length);
    const known = this.#asked.get(id);
    if (known === undefined) return exchange.json(404, { error: "Transcript not found" });
    known.polls += 1;
    if (known.polls === 1) return this.#answer(exchange, { id, status: "processing", text: null, words: null });
    const { transcript } = scriptOf(exchange.answer, exchange.fault);
    await this.#answer(exchange, {
      id,
      status: "completed",
      text: transcript,
      confidence: 0.95,
      language_code: known.facts.language_code ?? "en_us",
      audio_duration: 1,
      words: spokenWords(transcript).map(({ word, startS, endS }) => ({
        text: word,
        start: Math.round(startS * 1_000),
        end: Math.round(endS * 1_000),
        confidence: 0.95,
        speaker: null,
      })),
    });
  }

  async #answer(exchange: FakeExchange, value: object): Promise<void> {
    const { fault, response } = exchange;
    const bytes = Buffer.from(fault === "garbage" ? garbage : JSON.stringify(value));
    response.writeHead(200, { "content-type": "application/json" });
    await exchange.write(bytes.subarray(0, bytes.length >> 1));
    if (fault === "disconnect") return exchange.cut();
    if (fault === "timeout_midway" || fault === "stall") return exchange.hold();
    await exchange.write(bytes.subarray(bytes.length >> 1));
    response.end();
  }
}
