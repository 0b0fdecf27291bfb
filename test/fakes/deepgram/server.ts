/**
 * Deepgram's `/v1/listen`, live (WebSocket) and pre-recorded (HTTP), of developers.deepgram.com: "Live Audio", "Pre-Recorded
 * Audio", "Finalize", "Close Stream", "Keep Alive", "Errors", "Keyterm Prompting", "Recovering From Connection Errors".
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Fake, FakeAnswer, FakeCall, Fault } from "../fake.ts";
import { type FakeConnection, type FakeExchange, startFake } from "../server.ts";
import { garbage, scriptOf, spokenWords } from "../spoken.ts";

const key = "dg-0a1b2c3d4e5f60718293a4b5c6d7e8f901234567";
const shared = ["model", "language", "version", "punctuate", "smart_format", "numerals", "profanity_filter", "redact"];
const sharedToo = ["diarize", "keyterm", "keywords", "search", "replace", "tag", "extra", "mip_opt_out", "callback"];
const liveOnly = ["encoding", "sample_rate", "channels", "interim_results", "endpointing", "utterance_end_ms"];
const liveToo = ["vad_events", "multichannel", "no_delay"];
const recordedOnly = ["encoding", "detect_language", "paragraphs", "utterances", "utt_split", "filler_words"];
const live = new Set([...shared, ...sharedToo, ...liveOnly, ...liveToo]);
const recorded = new Set([...shared, ...sharedToo, ...recordedOnly, "multichannel", "summarize", "topics", "intents"]);
const booleans = ["punctuate", "smart_format", "interim_results", "vad_events", "detect_language"];

export function startDeepgram(answer: FakeAnswer = {}): Promise<Fake> {
  return startFake({
    key,
    answer,
    handlers: {
      accept: ({ request, url, fault, call }) => {
        const refused = refusal(request, url, fault, call, live);
        if (refused === undefined) return undefined;
        const body = JSON.stringify(refused.body);
        return { status: refused.status, body, headers: { "content-type": "application/json", "dg-request-id": id() } };
      },
      socket: (connection) => listen(connection),
      http: (exchange) => transcribe(exchange),
    },
  });
}

const id = (): string => randomUUID();
const failure = (err_code: string, err_msg: string) => ({ err_code, err_msg, request_id: id() });

interface Refusal {
  readonly status: number;
  readonly body: unknown;
}

function refusal(
  request: IncomingMessage,
  url: URL,
  fault: Fault,
  call: FakeCall,
  known: ReadonlySet<string>,
): Refusal | undefined {
  Object.assign(call.facts, Object.fromEntries([...url.searchParams.keys()].map((name) => [name, factOf(url, name)])));
  const { authorization = "" } = request.headers;
  if (url.pathname !== "/v1/listen") return { status: 404, body: failure("Not Found", "Not Found") };
  const authorized = authorization === `Token ${key}` || authorization === `token ${key}`;
  if (!authorized || fault === "unauthorized")
    return { status: 401, body: failure("INVALID_AUTH", "Invalid credentials.") };
  if (fault === "rate_limited") {
    const said = "Too many requests. Please try again later";
    return { status: 429, body: failure("TOO_MANY_REQUESTS", said) };
  }
  if (fault === "server_error") return { status: 500, body: failure("INTERNAL_SERVER_ERROR", "Internal error") };
  const problem = parameterProblem(url, known);
  return problem === undefined ? undefined : { status: 400, body: failure("Bad Request", problem) };
}

function factOf(url: URL, name: string): string | string[] {
  const all = url.searchParams.getAll(name);
  return name === "keyterm" || name === "keywords" ? all : (all[0] ?? "");
}

function parameterProblem({ searchParams: given }: URL, known: ReadonlySet<string>): string | undefined {
  for (const name of given.keys()) if (!known.has(name)) return `Invalid query string: unknown parameter ${name}`;
  for (const name of booleans) {
    if (given.has(name) && !["true", "false"].includes(given.get(name) ?? "")) return `Failed to parse ${name}`;
  }
  if (known === live && given.has("encoding") && !/^\d+$/.test(given.get("sample_rate") ?? ""))
    return "sample_rate is required with encoding";
  const nova3 = /^nova-3/.test(given.get("model") ?? "");
  if (nova3 && given.has("keywords")) return "Keywords are not supported for Nova-3. Please use `keyterm` instead.";
  if (!nova3 && given.has("keyterm")) return "Keyterm Prompting is supported for Nova-3 only.";
  if (given.has("endpointing") && !/^(false|\d+)$/.test(given.get("endpointing") ?? "")) return "Invalid endpointing";
  return undefined;
}

// --- live ---

async function listen(connection: FakeConnection): Promise<void> {
  const { socket, fault, answer, violation } = connection;
  const { partials, transcript } = scriptOf(answer, fault);
  const begun = Promise.withResolvers<void>();
  const finalize = Promise.withResolvers<void>();
  const closing = Promise.withResolvers<void>();
  let closed = false;
  connection.gone.addEventListener("abort", () => {
    for (const one of [begun, finalize, closing]) one.resolve();
  });
  socket.on("message", (data: Buffer, binary: boolean) => {
    if (closed) return violation("a message after CloseStream");
    if (binary) {
      if (data.length === 0) return violation("an empty binary message");
      if (data.length % 2 === 1) violation("half a sample of linear16");
      return begun.resolve();
    }
    const type = typeOf(data);
    if (type === "Finalize") finalize.resolve();
    else if (type === "CloseStream") {
      closed = true;
      for (const one of [begun, finalize, closing]) one.resolve();
    } else if (type === "KeepAlive")
      connection.call.facts.keepAlives = Number(connection.call.facts.keepAlives ?? 0) + 1;
    else violation("a text message of an unknown type");
  });
  await begun.promise;
  if (fault === "garbage") return void connection.send(garbage);
  for (const text of partials) {
    if (!connection.send(results(text, { final: false }))) return;
    if (fault === "timeout_midway" || fault === "stall") return;
    if (fault === "disconnect") return connection.cut();
    if (!(await connection.pause(answer.chunkMs ?? 1))) return;
  }
  if (fault === "disconnect" || fault === "timeout_midway" || fault === "stall") return;
  await finalize.promise;
  connection.send(results(transcript, { final: true, fromFinalize: true }));
  if (fault === "late_data")
    for (let n = 0; n < 3; n++) connection.send(results(`${transcript} late`, { final: n > 1 }));
  await closing.promise;
  connection.send({
    type: "Metadata",
    transaction_key: "deprecated",
    request_id: id(),
    sha256: "0".repeat(64),
    created: new Date(0).toISOString(),
    duration: connection.call.bytesIn / 32_000,
    channels: 1,
  });
  connection.close(1000);
  if (fault === "late_data") connection.send(results("later still", { final: true }));
}

function typeOf(data: Buffer): unknown {
  try {
    return (JSON.parse(data.toString("utf8")) as { type?: unknown }).type;
  } catch {
    return undefined;
  }
}

function results(transcript: string, about: { final: boolean; fromFinalize?: boolean }): object {
  const spoken = spokenWords(transcript);
  return {
    type: "Results",
    channel_index: [0, 1],
    duration: spoken.at(-1)?.endS ?? 0,
    start: 0,
    is_final: about.final,
    speech_final: about.final && transcript !== "",
    from_finalize: about.fromFinalize ?? false,
    channel: { alternatives: [alternative(transcript)] },
    metadata: {
      request_id: id(),
      model_info: { name: "general-nova-3", version: "2025-04-17.21547", arch: "nova-3" },
      model_uuid: id(),
    },
  };
}

function alternative(transcript: string): object {
  return {
    transcript,
    confidence: transcript === "" ? 0 : 0.97,
    words: spokenWords(transcript).map(({ word, startS, endS }) => ({
      word: word.toLowerCase(),
      start: startS,
      end: endS,
      confidence: 0.96,
      punctuated_word: word,
    })),
  };
}

// --- pre-recorded ---

async function transcribe(exchange: FakeExchange): Promise<void> {
  const { request, url, body, fault, call, answer, response } = exchange;
  if (request.method !== "POST") return exchange.json(405, failure("Method Not Allowed", "POST it"));
  const refused = refusal(request, url, fault, call, recorded);
  if (refused !== undefined) return exchange.json(refused.status, refused.body);
  if (!url.searchParams.has("encoding") && body.subarray(0, 4).toString("latin1") !== "RIFF")
    return exchange.json(
      400,
      failure("Bad Request", "Bad Request: failed to process audio: corrupt or unsupported data"),
    );
  const { transcript } = scriptOf(answer, fault);
  const text = JSON.stringify({
    metadata: {
      transaction_key: "deprecated",
      request_id: id(),
      sha256: "0".repeat(64),
      created: new Date(0).toISOString(),
      duration: 1,
      channels: 1,
      models: [id()],
      model_info: {},
    },
    results: { channels: [{ alternatives: [alternative(transcript)] }] },
  });
  response.writeHead(200, { "content-type": "application/json", "dg-request-id": id() });
  const half = Buffer.from(fault === "garbage" ? garbage : text);
  await exchange.write(half.subarray(0, half.length >> 1));
  if (fault === "disconnect") return exchange.cut();
  if (fault === "timeout_midway" || fault === "stall") return exchange.hold();
  await exchange.write(half.subarray(half.length >> 1));
  response.end();
}
