import { TextToSpeechClient } from "@google-cloud/text-to-speech";
import { s16ToBytes } from "@rspp/audio/pcm";
import { parseWav, WavError } from "@rspp/audio/wav";
import type { Invocation, InvocationSink } from "@rspp/ports/provider";
import { endedInvocation, type ManagedProvider } from "../../attempt.ts";
import { readSettings, type SettingValues } from "../../settings.ts";
import { type ClauseRequest, ClauseSpeech } from "../speech/clause-speech.ts";
import { malformed, SpeechFailure } from "../speech/failure.ts";
import { formatOf, pronunciationsOf, speechSpecs } from "../speech/settings.ts";
import type { VendorAccess } from "../vendor.ts";
import { type Connectable, cancelCall, whenConnected } from "./call.ts";
import { type GoogleChannel, googleChannel } from "./channel.ts";
import { failureOfGrpc } from "./grpc-failure.ts";

const specs = {
  ...speechSpecs,
  language: { type: "string", default: "en-US" },
  /** The vendor's name of the voice, e.g. `en-US-Chirp3-HD-Aoede`; empty: that one of the language. Streaming wants Chirp 3 HD. */
  voice: { type: "string", default: "" },
  model: { type: "string", default: "" },
} as const;

type Values = SettingValues<typeof specs>;

/** The generated client's own calls, without its wrapper, so that a cancel reaches the call itself. */
interface SpeechStub extends Connectable {
  streamingSynthesize(metadata: object, options: object): DuplexCall;
  synthesizeSpeech(
    request: object,
    metadata: object,
    options: object,
    done: (error: unknown, response?: { audioContent?: unknown }) => void,
  ): { cancel(): void };
}

interface DuplexCall extends AsyncIterable<{ audioContent?: unknown }> {
  cancel(): void;
  write(message: object): void;
  end(): void;
}

interface Reached {
  readonly baseUrl: string;
  readonly client: TextToSpeechClient;
  readonly channel: GoogleChannel;
}

/**
 * `google/tts`: Cloud Text-to-Speech v1 over gRPC with an API key; `StreamingSynthesize`, or `SynthesizeSpeech` with setting
 * `streaming` false. A call for each clause: the answer's stream does not say where one text ends in it. It gives no word timings.
 */
export function createGoogleTts(access: VendorAccess): ManagedProvider {
  let reached: Reached | undefined;
  const reach = (): Reached => {
    const { baseUrl } = access;
    if (reached?.baseUrl === baseUrl) return reached;
    void reached?.client.close().catch(() => {});
    const channel = googleChannel("@google-cloud/text-to-speech", baseUrl, () => access.key());
    reached = { baseUrl, channel, client: new TextToSpeechClient(channel.options) };
    return reached;
  };
  return {
    name: "google/tts",
    modality: "tts",
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(access.clock, sink, "error", read.problem);
      const key = access.key();
      if (key === undefined) return endedInvocation(access.clock, sink, "unauthorized", "no key; set GOOGLE_API_KEY");
      return open(access, sink, new Voice(reach(), key, read.values), read.values);
    },
    warm: async () => {
      await reach()
        .client.initialize()
        .catch(() => {});
    },
    close: async () => {
      await reached?.client.close().catch(() => {});
      reached = undefined;
    },
  };
}

function open(access: VendorAccess, sink: InvocationSink, voice: Voice, values: Values): Invocation {
  const format = formatOf(values.output_format);
  const speak = (request: ClauseRequest): Promise<void> =>
    values.streaming ? voice.stream(request) : voice.whole(request);
  const { clock } = access;
  return new ClauseSpeech({ clock, sink, format, sourceHz: format.rateHz, values, speak, failure: failureOf });
}

class Voice {
  readonly #reached: Reached;
  readonly #key: string;
  readonly #values: Values;

  constructor(reached: Reached, key: string, values: Values) {
    this.#reached = reached;
    this.#key = key;
    this.#values = values;
  }

  async stream({ clause, out, signal, progress }: ClauseRequest): Promise<void> {
    const stub = await this.#connected(progress);
    if (signal.aborted) return;
    const call = stub.streamingSynthesize(this.#reached.channel.metadata(this.#key), {});
    const stop = (): void => cancelCall(call);
    signal.addEventListener("abort", stop, { once: true });
    try {
      const { rate, output_format } = this.#values;
      const sampleRateHertz = formatOf(output_format).rateHz;
      const streamingAudioConfig = { audioEncoding: "PCM", sampleRateHertz, speakingRate: rate };
      call.write({ streamingConfig: { voice: this.#voice(), streamingAudioConfig, ...this.#customPronunciations() } });
      call.write({ input: { text: clause.text } });
      call.end();
      for await (const { audioContent } of call) {
        progress();
        out.audio(bytesOf(audioContent));
      }
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  async whole({ clause, out, signal, progress }: ClauseRequest): Promise<void> {
    const stub = await this.#connected(progress);
    if (signal.aborted) return;
    const { rate, output_format } = this.#values;
    const sampleRateHertz = formatOf(output_format).rateHz;
    const request = {
      input: { text: clause.text, ...this.#customPronunciations() },
      voice: this.#voice(),
      audioConfig: { audioEncoding: "LINEAR16", sampleRateHertz, speakingRate: rate },
    };
    const answer = await new Promise<{ audioContent?: unknown }>((resolve, reject) => {
      const metadata = this.#reached.channel.metadata(this.#key);
      const call = stub.synthesizeSpeech(request, metadata, {}, (error, response) => {
        if (response === undefined) reject(error);
        else resolve(response);
      });
      signal.addEventListener("abort", () => cancelCall(call), { once: true });
    });
    progress();
    out.audio(samplesOf(bytesOf(answer.audioContent), sampleRateHertz));
  }

  /** From then on what is waited for is the answer: a connection that does not come about ends the invocation by its deadline. */
  async #connected(progress: () => void): Promise<SpeechStub> {
    const stub = (await this.#reached.client.initialize()) as unknown as SpeechStub;
    const { connect_timeout_ms } = this.#values;
    if (!(await new Promise<boolean>((tell) => whenConnected(stub, connect_timeout_ms, tell))))
      throw new SpeechFailure("disconnect", "no connection to the endpoint");
    progress();
    return stub;
  }

  #voice(): object {
    const { language, voice, model } = this.#values;
    const name = voice === "" ? `${language}-Chirp3-HD-Aoede` : voice;
    return { languageCode: language, name, ...(model === "" ? {} : { modelName: model }) };
  }

  /** the vendor knows the words by itself, wherever they stand. */
  #customPronunciations(): object {
    const spoken = [...pronunciationsOf(this.#values.pronunciations)];
    if (spoken.length === 0) return {};
    const pronunciations = spoken.map(([phrase, pronunciation]) => ({
      phrase,
      phoneticEncoding: "PHONETIC_ENCODING_IPA",
      pronunciation,
    }));
    return { customPronunciations: { pronunciations } };
  }
}

function bytesOf(content: unknown): Uint8Array {
  if (content instanceof Uint8Array) return content;
  throw malformed("answer: it is no audio");
}

/** LINEAR16 comes as a WAV. */
function samplesOf(bytes: Uint8Array, rateHz: number): Uint8Array {
  if (bytes.length === 0) return bytes;
  try {
    const wav = parseWav(bytes);
    if (wav.rateHz !== rateHz || wav.channels !== 1) throw malformed("answer: audio of another format");
    return s16ToBytes(wav.samples);
  } catch (error) {
    if (!(error instanceof WavError)) throw error;
    if (error.code === "no_audio") return new Uint8Array(0);
    throw malformed("answer: it is no audio");
  }
}

function failureOf(error: unknown): SpeechFailure {
  const { kind, detail } = failureOfGrpc(error);
  return new SpeechFailure(kind, detail);
}
