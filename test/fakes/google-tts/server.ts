/**
 * A fake of Google Cloud Text-to-Speech v1 (`google.cloud.texttospeech.v1.TextToSpeech`) over gRPC, from its published protocol
 * buffers: a stream whose first message is the configuration and all others text, and one request with one answer, a WAV.
 */
import { createRequire } from "node:module";
import * as grpc from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";
import { type Fake, type FakeAnswer, type FakeCall, FakeState, type Fault, fakeSpeech } from "../fake.ts";

export const googleTtsKey = "AIzaSyFake0123456789abcdefghijklmnop-tts";
const { status } = grpc;

interface AudioConfig {
  readonly audioEncoding?: string;
  readonly sampleRateHertz?: number;
  readonly speakingRate?: number;
}
interface Pronunciations {
  readonly pronunciations?: readonly { phrase?: string; phoneticEncoding?: string; pronunciation?: string }[];
}
interface Voice {
  readonly languageCode?: string;
  readonly name?: string;
}
interface StreamingRequest {
  readonly streamingConfig?: {
    readonly voice?: Voice;
    readonly streamingAudioConfig?: AudioConfig;
    readonly customPronunciations?: Pronunciations;
  };
  readonly input?: { readonly text?: string };
}
interface SynthesizeRequest {
  readonly input?: { readonly text?: string; readonly ssml?: string; readonly customPronunciations?: Pronunciations };
  readonly voice?: Voice;
  readonly audioConfig?: AudioConfig;
}

type Streaming = grpc.ServerDuplexStream<StreamingRequest, object | Buffer>;
type Unary = grpc.ServerUnaryCall<SynthesizeRequest, object | Buffer>;
type Done = grpc.sendUnaryData<object | Buffer>;

export async function startGoogleTtsFake(answer: FakeAnswer = { audioMs: 200 }): Promise<Fake> {
  const state = new FakeState(answer);
  const server = new grpc.Server();
  server.addService(speechService(), {
    listVoices: (_call: unknown, done: Done) => done(refuse(status.UNIMPLEMENTED, "not served here")),
    streamingSynthesize: (call: Streaming) => new Stream(state, call).run(),
    synthesizeSpeech: (call: Unary, done: Done) => synthesize(state, call, done),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    baseUrl: `http://127.0.0.1:${port}`,
    key: googleTtsKey,
    fault: (kind, calls) => state.fault(kind, calls),
    script: (said) => state.script(said),
    violations: state.violations,
    calls: state.calls,
    close: async () => server.forceShutdown(),
  };
}

/** What the client's package ships. Raw bytes go out as they are, for answers that are none. */
function speechService(): grpc.ServiceDefinition {
  const require = createRequire(import.meta.url);
  const json = require("@google-cloud/text-to-speech/build/protos/protos.json") as Parameters<typeof fromJSON>[0];
  const definition = fromJSON(json, { enums: String, longs: String, defaults: false });
  const service = definition["google.cloud.texttospeech.v1.TextToSpeech"] as grpc.ServiceDefinition;
  const entries = Object.entries(service).map(([name, method]) => {
    const write = method.responseSerialize;
    const responseSerialize = (value: object): Buffer => (Buffer.isBuffer(value) ? value : write(value));
    return [name, { ...method, responseSerialize }] as const;
  });
  return Object.fromEntries(entries);
}

const refuse = (code: grpc.status, details: string): Partial<grpc.ServiceError> => ({ code, details });
const repeated = "What was sent may be repeated here: zanzibar quicksilver";
const noMessage = Buffer.from([0x0a, 0xff, 0xff, 0xff, 0x7f, 0x01]);

function refusal(metadata: grpc.Metadata, fault: Fault): Partial<grpc.ServiceError> | undefined {
  if (metadata.get("x-goog-api-key")[0] !== googleTtsKey || fault === "unauthorized")
    return refuse(status.UNAUTHENTICATED, `API key not valid. ${repeated}`);
  if (fault === "rate_limited")
    return refuse(
      status.RESOURCE_EXHAUSTED,
      "Quota exceeded for quota metric 'Requests' and limit 'Requests per minute'",
    );
  if (fault === "server_error") return refuse(status.INTERNAL, `Internal error encountered. ${repeated}`);
  return undefined;
}

function problemOf(voice: Voice | undefined, audio: AudioConfig | undefined, encodings: readonly string[]): string {
  if (!/^[a-z]{2,3}-[A-Za-z]{2,4}/.test(voice?.languageCode ?? "")) return "language_code";
  if (!encodings.includes(audio?.audioEncoding ?? "")) return "audio_encoding";
  const rate = audio?.sampleRateHertz ?? 24_000;
  if (rate < 8_000 || rate > 48_000) return "sample_rate_hertz";
  const pace = audio?.speakingRate ?? 1;
  return pace !== 0 && (pace < 0.25 || pace > 2) ? "speaking_rate" : "";
}

function factsOf(call: FakeCall, voice?: Voice, audio?: AudioConfig, custom?: Pronunciations): void {
  const { languageCode: language, name } = voice ?? {};
  const pronunciations = custom?.pronunciations ?? [];
  Object.assign(call.facts, { language, voice: name, rate: audio?.speakingRate, ...audio, pronunciations });
}

class Stream {
  readonly #state: FakeState;
  readonly #call: Streaming;
  readonly #told: FakeCall;
  readonly #gone = new AbortController();
  readonly #texts: string[] = [];
  #fault: Fault = "none";
  #config: StreamingRequest["streamingConfig"];
  #speaking = Promise.resolve();
  #over = false;

  constructor(state: FakeState, call: Streaming) {
    this.#state = state;
    this.#call = call;
    this.#told = state.begin();
  }

  run(): void {
    const call = this.#call;
    this.#fault = this.#state.takeFault();
    call.on("error", () => {});
    call.on("cancelled", () => {
      this.#state.end(this.#told, "client");
      this.#over = true;
      this.#gone.abort();
    });
    const refused = refusal(call.metadata, this.#fault);
    if (refused !== undefined) return this.#fail(refused);
    call.on("data", (request: StreamingRequest) => this.#request(request));
    call.on("end", () => {
      this.#speaking = this.#speaking.then(() => this.#finish());
    });
  }

  #request({ streamingConfig, input }: StreamingRequest): void {
    if (this.#config === undefined) {
      const { voice, streamingAudioConfig, customPronunciations } = streamingConfig ?? {};
      if (streamingConfig === undefined) return this.#invalid("the first message has no streaming_config");
      factsOf(this.#told, voice, streamingAudioConfig, customPronunciations);
      const problem = problemOf(voice, streamingAudioConfig, ["PCM", "ALAW", "MULAW", "OGG_OPUS"]);
      if (problem !== "") return this.#invalid(problem);
      if (!/Chirp3-HD|Chirp-HD/.test(voice?.name ?? "")) return this.#invalid("a voice that does not stream");
      this.#config = streamingConfig;
      this.#told.facts.texts = this.#texts;
      return;
    }
    if (streamingConfig !== undefined) return this.#invalid("a second streaming_config");
    const text = input?.text ?? "";
    if (text === "" || Buffer.byteLength(text) > 5_000) return this.#invalid("input");
    this.#texts.push(text);
    this.#speaking = this.#speaking.then(() => this.#speak());
  }

  async #speak(): Promise<void> {
    const fault = this.#fault;
    if (fault === "timeout_before") return new Promise(() => {});
    if (fault === "garbage") this.#write(noMessage);
    if (fault === "empty" || fault === "garbage") return;
    const { audioMs = 200, chunkMs = 0 } = this.#state.answer;
    const audio = fakeSpeech(fault, audioMs, this.#config?.streamingAudioConfig?.sampleRateHertz ?? 24_000);
    // An odd number of bytes: samples are cut in two.
    for (let at = 0; at < audio.length; at += 1_921) {
      this.#write({ audioContent: audio.subarray(at, at + 1_921) });
      if (fault === "disconnect") {
        this.#over = true;
        this.#state.end(this.#told, "server");
        cut(this.#call);
        return;
      }
      if (fault === "timeout_midway" || fault === "stall") return new Promise(() => {});
      await pause(chunkMs, this.#gone.signal);
    }
  }

  /** A cancel ends the requests, too, a moment before it is told. */
  async #finish(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#over) return;
    this.#over = true;
    this.#state.end(this.#told, "server");
    this.#call.end();
  }

  #write(value: object | Buffer): void {
    if (!this.#over) this.#call.write(value);
  }

  #invalid(what: string): void {
    this.#state.violation(`INVALID_ARGUMENT: ${what}`);
    this.#fail(refuse(status.INVALID_ARGUMENT, `${what}. ${repeated}`));
  }

  #fail(error: Partial<grpc.ServiceError>): void {
    if (this.#over) return;
    this.#over = true;
    this.#state.end(this.#told, "server");
    this.#call.emit("error", error);
  }
}

function synthesize(state: FakeState, call: Unary, done: Done): void {
  const told = state.begin();
  const fault = state.takeFault();
  const { input, voice, audioConfig } = call.request;
  factsOf(told, voice, audioConfig, input?.customPronunciations);
  Object.assign(told.facts, { texts: [input?.text ?? input?.ssml] });
  const gone = new AbortController();
  call.on("cancelled", () => {
    state.end(told, "client");
    gone.abort();
  });
  const answer = (error: Partial<grpc.ServiceError> | null, value: object | Buffer | null = null): void => {
    if (gone.signal.aborted) return;
    state.end(told, "server");
    done(error, value);
  };
  const refused = refusal(call.metadata, fault);
  if (refused !== undefined) return answer(refused);
  const problem = problemOf(voice, audioConfig, ["LINEAR16", "MP3", "OGG_OPUS", "MULAW", "ALAW", "PCM"]);
  const text = input?.text ?? input?.ssml ?? "";
  if (problem !== "" || text === "" || Buffer.byteLength(text) > 5_000) {
    state.violation(`INVALID_ARGUMENT: ${problem === "" ? "input" : problem}`);
    return answer(refuse(status.INVALID_ARGUMENT, repeated));
  }
  if (fault === "timeout_before" || fault === "timeout_midway" || fault === "stall") return;
  if (fault === "disconnect") {
    state.end(told, "server");
    return cut(call);
  }
  if (fault === "garbage") return answer(null, noMessage);
  const { audioMs = 200, chunkMs = 0 } = state.answer;
  const rateHz = audioConfig?.sampleRateHertz ?? 24_000;
  const audio = fault === "empty" ? Buffer.alloc(0) : wavOf(fakeSpeech(fault, audioMs, rateHz), rateHz);
  void pause(chunkMs, gone.signal).then(() => answer(null, { audioContent: audio }));
}

/** RIFF header of 44 bytes. */
function wavOf(pcm: Buffer, rateHz: number): Buffer {
  const head = Buffer.alloc(44);
  head.write("RIFF", 0, "latin1");
  head.writeUInt32LE(36 + pcm.length, 4);
  head.write("WAVEfmt ", 8, "latin1");
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(rateHz, 24);
  head.writeUInt32LE(rateHz * 2, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write("data", 36, "latin1");
  head.writeUInt32LE(pcm.length, 40);
  return Buffer.concat([head, pcm]);
}

/** The connection under a call, without an end. */
function cut(call: object): void {
  interface Held {
    readonly stream?: { readonly session?: { destroy(): void } };
    readonly nextCall?: Held;
  }
  let held = (call as { call?: Held }).call;
  while (held !== undefined && held.stream === undefined) held = held.nextCall;
  const session = held?.stream?.session;
  if (session === undefined) throw new Error("the call has no session to cut");
  // What was written leaves first.
  setTimeout(() => session.destroy(), 5);
}

function pause(ms: number, gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    gone.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
