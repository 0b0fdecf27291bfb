import { createRequire } from "node:module";
import {
  type Engine,
  type LanguageCode,
  PollyClient,
  type PollyClientConfig,
  SynthesizeSpeechCommand,
  type SynthesizeSpeechCommandInput,
  type VoiceId,
} from "@aws-sdk/client-polly";
import type { Invocation, InvocationSink } from "@rspp/ports/provider";
import { endedInvocation, type ManagedProvider } from "../../attempt.ts";
import { readSettings, type SettingValues } from "../../settings.ts";
import { type ClauseRequest, ClauseSpeech } from "../speech/clause-speech.ts";
import { failureOfStatus, failureOfThrown, malformed, type SpeechFailure } from "../speech/failure.ts";
import { type Markup, markup, plainMarkup } from "../speech/markup.ts";
import { formatOf, pronunciationsOf, speechSpecs } from "../speech/settings.ts";
import type { VendorAccess } from "../vendor.ts";
import { pollyBaseUrl } from "./entries.ts";
import { readSpeechMarks } from "./speech-marks.ts";

const specs = {
  ...speechSpecs,
  voice: { type: "string", default: "Joanna" },
  engine: { type: "string", default: "neural", oneOf: ["standard", "neural", "long-form", "generative"] },
  /** Names of lexicons stored with the vendor, at most 5. */
  lexicons: { type: "strings", default: [] },
  /** Times of the words, by a second request for each clause, which costs as much as the first. */
  word_timings: { type: "boolean", default: false },
} as const;

type Values = SettingValues<typeof specs>;

const lexiconsMax = 5;

/**
 * `polly/tts`: Amazon Polly, `SynthesizeSpeech` for each clause. Credentials: the key is the secret access key, option
 * `access_key_id` its id; or the key is `ID:SECRET` or `ID:SECRET:SESSION_TOKEN`, so that both change together.
 */
export function createPollyTts(access: VendorAccess): ManagedProvider {
  const clients = new Clients(access);
  return {
    name: "polly/tts",
    modality: "tts",
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(access.clock, sink, "error", read.problem);
      const client = clients.current();
      if (client === undefined) {
        const detail = "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a key ID:SECRET";
        return endedInvocation(access.clock, sink, "unauthorized", detail);
      }
      return open(access, client, sink, read.values);
    },
    close: async () => clients.close(),
  };
}

function open(access: VendorAccess, client: PollyClient, sink: InvocationSink, values: Values): Invocation {
  const format = formatOf(values.output_format);
  // The vendor gives 8 and 16 kHz.
  const sourceHz = format.rateHz === 8_000 ? 8_000 : 16_000;
  const voice = new Voice(client, values, sourceHz);
  const speak = (request: ClauseRequest): Promise<void> => voice.speak(request);
  return new ClauseSpeech({ clock: access.clock, sink, format, sourceHz, values, speak, failure: failureOf });
}

/** One client, and its connections, for as long as the credentials are the same. */
class Clients {
  readonly #access: VendorAccess;
  #client: PollyClient | undefined;
  #of = "";

  constructor(access: VendorAccess) {
    this.#access = access;
  }

  current(): PollyClient | undefined {
    const { baseUrl, options } = this.#access;
    const credentials = credentialsOf(this.#access.key(), options.access_key_id);
    if (credentials === undefined) return undefined;
    const region = options.region ?? "us-east-1";
    const of = JSON.stringify([baseUrl, region, credentials]);
    if (this.#client !== undefined && this.#of === of) return this.#client;
    // Requests under way on a client of before are not cut: it is only forgotten.
    this.#of = of;
    this.#client = new PollyClient({
      region,
      credentials,
      ...(baseUrl === pollyBaseUrl ? {} : { endpoint: baseUrl }),
      // Trying again is the gateway's, within the turn's budget.
      maxAttempts: 1,
      requestHandler: httpHandler(),
    });
    return this.#client;
  }

  close(): void {
    this.#client?.destroy();
    this.#client = undefined;
  }
}

const connectionsMax = 512;

/**
 * HTTP/1.1 in place of the SDK's HTTP/2, under which Node tells a lost connection as the answer's end: half a clause would
 * pass for a whole one.
 */
function httpHandler(): RequestHandler {
  const fromHere = createRequire(import.meta.url);
  const { NodeHttpHandler } = createRequire(fromHere.resolve("@aws-sdk/client-polly"))("@smithy/node-http-handler") as {
    NodeHttpHandler: new (options: object) => RequestHandler;
  };
  const agent = { keepAlive: true, maxSockets: connectionsMax };
  return new NodeHttpHandler({ httpAgent: agent, httpsAgent: agent });
}

type RequestHandler = NonNullable<PollyClientConfig["requestHandler"]>;

function credentialsOf(key: string | undefined, id: string | undefined) {
  if (key === undefined || key === "") return undefined;
  const [first = "", secret, sessionToken] = key.split(":");
  if (secret !== undefined) {
    return { accessKeyId: first, secretAccessKey: secret, ...(sessionToken === undefined ? {} : { sessionToken }) };
  }
  return id === undefined ? undefined : { accessKeyId: id, secretAccessKey: key };
}

class Voice {
  readonly #client: PollyClient;
  readonly #values: Values;
  readonly #sourceHz: number;
  readonly #spoken: ReadonlyMap<string, string>;

  constructor(client: PollyClient, values: Values, sourceHz: number) {
    this.#client = client;
    this.#values = values;
    this.#sourceHz = sourceHz;
    this.#spoken = pronunciationsOf(values.pronunciations);
  }

  async speak({ clause, out, signal, progress }: ClauseRequest): Promise<void> {
    const text = this.#textOf(clause.text);
    const input = this.#inputOf(text, text.text !== clause.text);
    const { word_timings: timed } = this.#values;
    const marks = timed ? this.#marks(input, text, signal) : undefined;
    // Its failure is met below, once the audio is in, or not at all when the audio has failed.
    marks?.catch(() => undefined);
    const pcm = { ...input, OutputFormat: "pcm", SampleRate: String(this.#sourceHz) } as const;
    const answer = await this.#client.send(new SynthesizeSpeechCommand(pcm), { abortSignal: signal });
    progress();
    if (answer.ContentType !== "audio/pcm") throw malformed("answer: it is no audio");
    const body = answer.AudioStream as unknown as Body;
    const stop = (): void => body.destroy?.();
    signal.addEventListener("abort", stop, { once: true });
    try {
      marks?.then(
        (words) => out.words(words),
        () => undefined,
      );
      for await (const bytes of body) {
        progress();
        out.audio(bytes);
      }
    } finally {
      signal.removeEventListener("abort", stop);
    }
    if (marks !== undefined) out.words(await marks);
  }

  async #marks(input: Request, text: Markup, signal: AbortSignal) {
    const json = { ...input, OutputFormat: "json", SpeechMarkTypes: ["word"] } as const;
    const answer = await this.#client.send(new SynthesizeSpeechCommand({ ...json, SpeechMarkTypes: ["word"] }), {
      abortSignal: signal,
    });
    const body = answer.AudioStream as unknown as AsyncIterable<Uint8Array>;
    return readSpeechMarks(body, text);
  }

  #textOf(text: string): Markup {
    const { rate } = this.#values;
    const paced = rate === 1 ? ["", ""] : [`<prosody rate="${Math.round(rate * 100)}%">`, "</prosody>"];
    const marked = markup(text, this.#spoken, `<speak>${paced[0]}`, `${paced[1]}</speak>`);
    return marked.respelt || rate !== 1 ? marked : plainMarkup(text);
  }

  #inputOf(text: Markup, ssml: boolean): Request {
    const { voice, engine, language, lexicons } = this.#values;
    return {
      Text: text.text,
      TextType: ssml ? "ssml" : "text",
      VoiceId: voice as VoiceId,
      Engine: engine as Engine,
      ...(language === "" ? {} : { LanguageCode: language as LanguageCode }),
      ...(lexicons.length === 0 ? {} : { LexiconNames: lexicons.slice(0, lexiconsMax) }),
    };
  }
}

/** The SDK's body: a stream of node:http. */
interface Body extends AsyncIterable<Uint8Array> {
  destroy?(): void;
}

type Request = Omit<SynthesizeSpeechCommandInput, "OutputFormat">;

const refusedNames =
  /^(?:UnrecognizedClient|InvalidSignature|SignatureDoesNotMatch|AccessDenied|ExpiredToken|InvalidClientTokenId|MissingAuthenticationToken|IncompleteSignature)/;

/** The SDK's errors hold the status, and the exception's name where the body told one. */
function failureOf(error: unknown): SpeechFailure {
  const { name = "", $metadata } = (error ?? {}) as { name?: string; $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode;
  if (refusedNames.test(name)) return failureOfStatus(403);
  if (/Throttling|TooManyRequests|RequestLimit/.test(name)) return failureOfStatus(429);
  if (status !== undefined && status >= 400) return failureOfStatus(status);
  if (status !== undefined || error instanceof SyntaxError) return malformed("answer");
  return failureOfThrown(error);
}
