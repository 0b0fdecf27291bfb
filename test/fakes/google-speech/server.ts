/**
 * Google Cloud Speech-to-Text v1 (`google.cloud.speech.v1.Speech`) over gRPC, of its published protocol buffers and of
 * "StreamingRecognizeRequest", "Quotas and limits" and "Model adaptation" at cloud.google.com/speech-to-text.
 */
import { createRequire } from "node:module";
import * as grpc from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";
import { type Fake, type FakeAnswer, type FakeCall, FakeState, type Fault } from "../fake.ts";
import { scriptOf, spokenWords } from "../spoken.ts";

const key = "AIzaSyFake0123456789abcdefghijklmnopqrs";
const audioMessageBytesMax = 25 * 1024;
const { status } = grpc;

interface Config {
  readonly encoding?: string;
  readonly sampleRateHertz?: number;
  readonly languageCode?: string;
  readonly model?: string;
  readonly enableWordTimeOffsets?: boolean;
  readonly adaptation?: { readonly phraseSets?: { readonly phrases?: { readonly value?: string }[] }[] };
}

interface StreamingRequest {
  readonly streamingConfig?: { readonly config?: Config; readonly interimResults?: boolean };
  readonly audioContent?: Buffer;
}

interface RecognizeRequest {
  readonly config?: Config;
  readonly audio?: { readonly content?: Buffer };
}

type Streaming = grpc.ServerDuplexStream<StreamingRequest, object | Buffer>;
type Unary = grpc.ServerUnaryCall<RecognizeRequest, object | Buffer>;
type Done = grpc.sendUnaryData<object | Buffer>;

export async function startGoogleSpeech(answer: FakeAnswer = {}): Promise<Fake> {
  const state = new FakeState(answer);
  const server = new grpc.Server();
  server.addService(speechService(), {
    streamingRecognize: (call: Streaming) => void new Stream(state, call).run(),
    recognize: (call: Unary, done: Done) => recognize(state, call, done),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    baseUrl: `http://127.0.0.1:${port}`,
    key,
    fault: (kind, calls) => state.fault(kind, calls),
    script: (said) => state.script(said),
    violations: state.violations,
    calls: state.calls,
    close: async () => server.forceShutdown(),
  };
}

/** What the client's package ships, so that the fake and the vendor cannot disagree. Raw bytes go out as they are. */
function speechService(): grpc.ServiceDefinition {
  const found = createRequire(import.meta.url);
  const json = found("@google-cloud/speech/build/protos/protos.json") as Parameters<typeof fromJSON>[0];
  const definition = fromJSON(json, { enums: String, longs: String, defaults: false });
  const service = definition["google.cloud.speech.v1.Speech"] as grpc.ServiceDefinition;
  return Object.fromEntries(
    Object.entries(service).map(([name, method]) => {
      const write = method.responseSerialize;
      return [
        name,
        { ...method, responseSerialize: (value: object) => (Buffer.isBuffer(value) ? value : write(value)) },
      ];
    }),
  );
}

const refuse = (code: grpc.status, details: string): Partial<grpc.ServiceError> => ({ code, details });

/** Faults and credentials, before anything is looked at. */
function refusal(metadata: grpc.Metadata, fault: Fault): Partial<grpc.ServiceError> | undefined {
  if (metadata.get("x-goog-api-key")[0] !== key || fault === "unauthorized")
    return refuse(status.UNAUTHENTICATED, "API key not valid. Please pass a valid API key.");
  if (fault === "rate_limited")
    return refuse(
      status.RESOURCE_EXHAUSTED,
      "Quota exceeded for quota metric 'Requests' and limit 'Requests per minute'",
    );
  if (fault === "server_error") return refuse(status.INTERNAL, "Internal error encountered.");
  return undefined;
}

function configProblem(config: Config | undefined): string | undefined {
  if (config === undefined) return "Invalid recognition 'config': missing.";
  if (config.encoding !== "LINEAR16") return "Invalid recognition 'config': bad encoding..";
  const rate = config.sampleRateHertz ?? 0;
  if (rate < 8_000 || rate > 48_000) return "Invalid recognition 'config': bad sample rate hertz.";
  if (!/^[a-z]{2,3}(-[A-Za-z0-9]+)*$/.test(config.languageCode ?? ""))
    return "Invalid recognition 'config': bad language";
  const phrases = (config.adaptation?.phraseSets ?? []).flatMap((set) => set.phrases ?? []);
  return phrases.some(({ value = "" }) => value === "" || value.length > 100) ? "Invalid phrase" : undefined;
}

function factsOf(call: FakeCall, config: Config | undefined): void {
  const { model, languageCode: language, sampleRateHertz, encoding } = config ?? {};
  const terms = (config?.adaptation?.phraseSets ?? []).flatMap((set) => (set.phrases ?? []).map(({ value }) => value));
  Object.assign(call.facts, { model, language, sampleRateHertz, encoding, keyTerms: terms });
}

// --- streaming ---

class Stream {
  readonly #state: FakeState;
  readonly #call: Streaming;
  readonly #told: FakeCall;
  readonly #begun = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #gone = new AbortController();
  #config: StreamingRequest["streamingConfig"];
  #over = false;

  constructor(state: FakeState, call: Streaming) {
    this.#state = state;
    this.#call = call;
    this.#told = state.begin();
    call.on("cancelled", () => this.#left());
    call.on("error", () => {});
    if (call.cancelled) this.#left();
  }

  #left(): void {
    this.#state.end(this.#told, "client");
    this.#gone.abort();
    this.#over = true;
    this.#begun.resolve();
    this.#ended.resolve();
  }

  async run(): Promise<void> {
    const fault = this.#state.takeFault();
    const { answer } = this.#state;
    const refused = refusal(this.#call.metadata, fault);
    if (refused !== undefined) return this.#fail(refused);
    this.#call.on("data", (request: StreamingRequest) => this.#request(request));
    this.#call.on("end", () => {
      this.#begun.resolve();
      this.#ended.resolve();
    });
    if (fault === "timeout_before") return;
    await this.#begun.promise;
    if (fault === "garbage") return this.#write(Buffer.from([0x12, 0xff, 0xff, 0xff, 0x7f, 0x01]));
    const { partials, transcript } = scriptOf(answer, fault);
    for (const text of this.#config?.interimResults === true ? partials : []) {
      if (this.#over) return;
      this.#write(result(text, { final: false }));
      if (fault === "timeout_midway" || fault === "stall") return;
      if (fault === "disconnect") return this.#cut();
      await pause(answer.chunkMs ?? 1, this.#gone.signal);
    }
    if (fault === "disconnect") return this.#cut();
    if (fault === "timeout_midway" || fault === "stall") return;
    await this.#ended.promise;
    // A cancel ends the requests, too, a moment before it is told.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#over) return;
    if (transcript !== "") {
      this.#write({ speechEventType: "SPEECH_ACTIVITY_END", speechEventTime: { seconds: "1", nanos: 0 } });
      this.#write(result(transcript, { final: true, times: this.#config?.config?.enableWordTimeOffsets === true }));
    }
    if (this.#over) return;
    this.#over = true;
    this.#state.end(this.#told, "server");
    this.#call.end();
  }

  #request({ streamingConfig, audioContent }: StreamingRequest): void {
    if (this.#config === undefined) {
      if (streamingConfig === undefined) return this.#invalid("Malformed request: the first must be a streamingConfig");
      if (audioContent !== undefined && audioContent.length > 0) return this.#invalid("audio in the first request");
      factsOf(this.#told, streamingConfig.config);
      const problem = configProblem(streamingConfig.config);
      if (problem !== undefined) return this.#invalid(problem);
      this.#config = streamingConfig;
      return;
    }
    if (streamingConfig !== undefined) return this.#invalid("Malformed request: a second streamingConfig");
    const bytes = audioContent?.length ?? 0;
    this.#told.bytesIn += bytes;
    if (bytes > audioMessageBytesMax) return this.#invalid(`audio chunk of ${bytes} bytes, at most 25600`);
    if (bytes % 2 === 1) this.#state.violation("half a sample of LINEAR16");
    this.#begun.resolve();
  }

  #write(value: object | Buffer): void {
    if (!this.#over) this.#call.write(value);
  }

  #invalid(details: string): void {
    this.#state.violation(details);
    this.#fail(refuse(status.INVALID_ARGUMENT, details));
  }

  #fail(error: Partial<grpc.ServiceError>): void {
    if (this.#over) return;
    this.#over = true;
    this.#state.end(this.#told, "server");
    this.#call.emit("error", error);
  }

  #cut(): void {
    this.#over = true;
    this.#state.end(this.#told, "server");
    cut(this.#call);
  }
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

function result(transcript: string, about: { final: boolean; times?: boolean }): object {
  return {
    results: [
      {
        alternatives: [about.final ? alternative(transcript, about.times ?? false) : { transcript }],
        isFinal: about.final,
        stability: about.final ? 0 : 0.9,
        resultEndTime: { seconds: "1", nanos: 0 },
        languageCode: "en-us",
      },
    ],
  };
}

function alternative(transcript: string, times: boolean): object {
  const words = spokenWords(transcript).map(({ word, startS, endS }) => ({
    word,
    startTime: durationOf(startS),
    endTime: durationOf(endS),
  }));
  return { transcript, confidence: 0.93, ...(times ? { words } : {}) };
}

function durationOf(s: number): object {
  const whole = Math.floor(s);
  return { seconds: String(whole), nanos: Math.round((s - whole) * 1e9) };
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

// --- one request ---

function recognize(state: FakeState, call: Unary, done: Done): void {
  const told = state.begin();
  const fault = state.takeFault();
  let over = false;
  call.on("cancelled", () => {
    over = true;
    state.end(told, "client");
  });
  const answer = (error: Partial<grpc.ServiceError> | null, value?: object | Buffer): void => {
    if (over) return;
    over = true;
    state.end(told, "server");
    done(error, value ?? null);
  };
  const { config, audio } = call.request;
  const bytes = audio?.content?.length ?? 0;
  told.bytesIn = bytes;
  factsOf(told, config);
  const refused = refusal(call.metadata, fault);
  if (refused !== undefined) return answer(refused);
  const problem = configProblem(config);
  if (problem !== undefined) return answer(refuse(status.INVALID_ARGUMENT, problem));
  if (bytes === 0) return answer(refuse(status.INVALID_ARGUMENT, "RecognitionAudio not set."));
  if (bytes > 10 * 1024 * 1024 || bytes > (config?.sampleRateHertz ?? 1) * 2 * 60)
    return answer(refuse(status.INVALID_ARGUMENT, "Sync input too long. Use LongRunningRecognize."));
  if (fault === "timeout_before" || fault === "timeout_midway" || fault === "stall") return;
  if (fault === "disconnect") {
    over = true;
    state.end(told, "server");
    return cut(call);
  }
  if (fault === "garbage") return answer(null, Buffer.from([0x12, 0xff, 0xff, 0xff, 0x7f, 0x01]));
  const { transcript } = scriptOf(state.answer, fault);
  const times = config?.enableWordTimeOffsets === true;
  const results = transcript === "" ? [] : [{ alternatives: [alternative(transcript, times)], languageCode: "en-us" }];
  answer(null, { results, totalBilledTime: { seconds: "1" } });
}
