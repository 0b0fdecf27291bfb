/**
 * How a WAV or a microphone reaches a running `npm start`: HTTP on loopback. The body is the caller's audio (a WAV, or raw
 * s16le as it is recorded), the answer is what the caller hears, as it is played. The WebSocket transport is the way for
 * applications; this door is for a terminal.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createResampler } from "@rspp/audio/resample";
import { parseWav, WavError, wavTo16kMono, writeWav } from "@rspp/audio/wav";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import type { Recording } from "@rspp/transport-loopback/adapter";
import { createAccount } from "./account.ts";
import { type Call, startCall } from "./call.ts";
import { InputError } from "./errors.ts";
import type { Platform } from "./platform.ts";

export interface TalkOptions {
  platform: Platform;
  pipeline: CompiledPipeline;
  /** False where no recogniser is that hears what is really said. */
  recognises: boolean;
  print: (line: string) => void;
}

/** A port that is held; what comes before {@link TalkDoor.serve} is told to come back. */
export interface TalkDoor {
  /** Serves until SIGINT or SIGTERM; running calls are drained. */
  serve(options: TalkOptions): Promise<void>;
  close(): void;
}

const WAV_BYTES_MAX = 32 << 20;
const CALL_MS_MAX = 600_000;
/** Silence after the last word in which an answer may still begin, milliseconds. */
const QUIET_MS = 3_000;
/** How far raw audio may come ahead of being spoken, and from when on it was a file and no microphone, milliseconds. */
const AHEAD_MS = 10_000;
const FILE_AHEAD_MS = 1_000;
const DEAF =
  "nothing can be recognised here, the recogniser is simulated: `apt-get install pocketsphinx pocketsphinx-en-us`, and start without --stt sim/stt";

/** @throws InputError when the port is taken: before anything else is begun, since people wait for the demonstration. */
export async function openTalkDoor(port: number): Promise<TalkDoor> {
  let serving: TalkOptions | null = null;
  const server = createServer((request, response) => {
    const foreign = foreignness(request);
    if (foreign !== "") return refuse(response, 403, foreign);
    if (serving === null) return refuse(response, 503, "the demonstration is still running: come back when it is over");
    const options = serving;
    handle(options, request, response).catch((error: unknown) => {
      // A caller who breaks off while he sends: no fault of ours.
      if (request.destroyed && !request.complete) return;
      options.print(`call failed: ${error instanceof Error ? error.message : String(error)}`);
      if (error instanceof InputError && !response.headersSent) return refuse(response, 503, error.message);
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  server.requestTimeout = CALL_MS_MAX;
  server.listen(port, "127.0.0.1");
  await once(server, "listening").catch((error: unknown) => refusePort(port, error));
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return {
    close,
    async serve(options) {
      serving = options;
      tellHow(server, port, options);
      await stopAsked();
      options.print("stopping: no new calls, running ones may finish for 5 s");
      server.close();
      await options.platform.runtime.drain(5_000);
      server.closeAllConnections();
    },
  };
}

function tellHow(server: Server, asked: number, { print, recognises }: TalkOptions): void {
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : asked;
  const url = `http://127.0.0.1:${port}/talk`;
  print("");
  print(`ready: talk to it at ${url} (Ctrl-C stops)${recognises ? "" : `; ${DEAF}`}`);
  print(`  a WAV:         curl -sS --data-binary @question.wav ${url} -o answer.wav`);
  print(
    `  a microphone:  arecord -q -f S16_LE -r 16000 -c 1 -t raw | curl -sSN -T - '${url}?rate=16000' | aplay -q -f S16_LE -r 16000 -c 1 -t raw`,
  );
}

/**
 * A page in a browser can send to loopback, and by a name of its own that leads here: what another origin or another host
 * name asks for is not asked by the person at this machine. "" when it is.
 */
function foreignness({ headers }: IncomingMessage): string {
  const host = URL.parse(`http://${headers.host ?? ""}`);
  if (host === null || !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(host.hostname))
    return "Host: only localhost or 127.0.0.1 is served here";
  if (headers.origin !== undefined && URL.parse(headers.origin)?.host !== host.host)
    return "Origin: pages of other sites are not served here";
  return "";
}

function refuse(response: ServerResponse, status: number, reason: string): void {
  response.writeHead(status, { "content-type": "text/plain" }).end(`${reason}\n`);
}

function refusePort(port: number, error: unknown): never {
  const code = (error as NodeJS.ErrnoException).code ?? "error";
  throw new InputError(`port ${port} cannot be opened (${code})\n   help: choose another with --port N`);
}

function stopAsked(): Promise<void> {
  return new Promise((resolve) => {
    process.once("SIGINT", () => resolve());
    process.once("SIGTERM", () => resolve());
  });
}

async function handle(options: TalkOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://localhost");
  if (url.pathname !== "/talk" || (request.method !== "POST" && request.method !== "PUT")) {
    return refuse(response, 404, "POST a WAV, or PUT raw s16le audio with ?rate=16000, to /talk");
  }
  const rate = url.searchParams.get("rate");
  if (rate === null) return talkWav(options, request, response);
  const rateHz = Number(rate);
  if (!Number.isInteger(rateHz) || rateHz < 8_000 || rateHz > 48_000) {
    return refuse(response, 400, "rate: a whole number of 8000 to 48000 hertz is needed");
  }
  return talkRaw(options, request, response, rateHz);
}

/** A whole WAV: spoken after the greeting; answered with a WAV once the agent has been quiet for a while. */
async function talkWav(options: TalkOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (!options.recognises) return refuse(response, 503, DEAF);
  const body = await readBody(request);
  let samples: Int16Array;
  try {
    if (body === null)
      throw new WavError("too_large", `The body has more than ${WAV_BYTES_MAX} bytes`, "Send a shorter WAV");
    samples = await wavTo16kMono(parseWav(body));
  } catch (error) {
    if (!(error instanceof WavError)) throw error;
    return refuse(response, 400, error.message);
  }
  const gone = (): boolean => response.destroyed;
  if (gone()) return;
  const call = open(options);
  response.once("close", () => call.adapter.end("caller_hung_up"));
  const { agent, agentRateHz } = await withCall(call, () => answerTo(options, call, samples, gone));
  if (gone()) return;
  response.writeHead(200, { "content-type": "audio/wav" }).end(writeWav(agent, { rateHz: agentRateHz, channels: 1 }));
}

async function answerTo(
  { platform, pipeline }: TalkOptions,
  call: Call,
  samples: Int16Array,
  gone: () => boolean,
): Promise<Recording> {
  const over = (): boolean => call.ended || gone();
  await platform.run(
    () => over() || (call.turns.size > 0 && settled(call)) || pipeline.greeting === undefined,
    CALL_MS_MAX,
  );
  if (over()) return call.adapter.recording();
  const turnsBefore = call.turns.size;
  let spoken = false;
  call.adapter.speak(samples, { onSpoken: () => (spoken = true) });
  await platform.run(() => over() || spoken, CALL_MS_MAX);
  await platform.run(() => over() || (call.turns.size > turnsBefore && settled(call)), QUIET_MS);
  await platform.run(() => over() || settled(call), CALL_MS_MAX);
  return call.adapter.recording();
}

function settled(call: Call): boolean {
  return [...call.turns.values()].every((turn) => turn.settled);
}

/** However the work ends, a caller who breaks off included, the call is over with it. */
async function withCall<T>(call: Call, work: (call: Call) => Promise<T>): Promise<T> {
  try {
    return await work(call);
  } finally {
    call.adapter.end("caller_hung_up");
  }
}

/** Raw audio both ways, as long as the caller sends. */
async function talkRaw(
  options: TalkOptions,
  request: IncomingMessage,
  response: ServerResponse,
  rateHz: number,
): Promise<void> {
  // Opened first, since it may be refused; what it plays comes later than the head of the answer.
  const call = open(options, (samples) => {
    // A reader that does not keep up loses audio, never the call.
    if (response.writableLength < 1 << 20)
      response.write(Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength));
  });
  response.writeHead(200, { "content-type": `audio/l16; rate=16000; channels=1` });
  response.flushHeaders();
  await withCall(call, () => hear(options.platform, call, request, rateHz));
  response.end();
}

/** A microphone sends as it speaks; a file comes faster and is made to wait, and its answer is waited for. */
async function hear(platform: Platform, call: Call, request: IncomingMessage, rateHz: number): Promise<void> {
  const { clock } = platform;
  const resampler = rateHz === 16_000 ? null : await createResampler({ inRateHz: rateHz, outRateHz: 16_000 });
  let odd: Uint8Array = new Uint8Array(0);
  let endNs = 0;
  const aheadMs = (): number => (endNs - clock.nowNs()) / 1e6;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      const bytes: Uint8Array = odd.length === 0 ? chunk : Buffer.concat([odd, chunk]);
      const even = bytes.length & ~1;
      odd = bytes.subarray(even);
      const samples = new Int16Array(new Uint8Array(bytes.subarray(0, even)).buffer);
      const spoken = resampler === null ? samples : resampler.process(samples);
      if (call.ended) return;
      if (spoken.length > 0) endNs = call.adapter.speak(spoken).endNs;
      if (aheadMs() > AHEAD_MS) await platform.run(() => call.ended || aheadMs() < AHEAD_MS, CALL_MS_MAX);
    }
  } catch (error) {
    // The caller has broken off: no fault of ours.
    if (!request.destroyed) throw error;
    return;
  } finally {
    resampler?.close();
  }
  if (aheadMs() < FILE_AHEAD_MS) return;
  await platform.run(() => call.ended || aheadMs() <= 0, CALL_MS_MAX);
  const turnsBefore = call.turns.size;
  await platform.run(() => call.ended || (call.turns.size > turnsBefore && settled(call)), QUIET_MS);
  await platform.run(() => call.ended || settled(call), CALL_MS_MAX);
}

function open(options: TalkOptions, onSamples?: (samples: Int16Array) => void): Call {
  const account = createAccount(options.print, options.platform.clock.nowNs());
  const call = startCall(options.platform, options.pipeline, {
    onEvent: account.event,
    ...(onSamples === undefined ? {} : { loopback: { onPlayed: (chunk) => onSamples(chunk.samples) } }),
  });
  void call.session.ended.then(({ reason }) => options.print(`call over: ${reason}`));
  return call;
}

async function readBody(request: IncomingMessage): Promise<Uint8Array | null> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > WAV_BYTES_MAX) return null;
    parts.push(part);
  }
  return Buffer.concat(parts);
}
