import type { Duplex } from "node:stream";
import type { protos } from "@google-cloud/speech";
import { type Failure, lost } from "../stt/failure.ts";
import type { LineEvents, SttLine } from "../stt/recognition.ts";
import { configOf, heardFrom } from "./answer.ts";
import { type Connectable, cancelCall, whenConnected } from "./call.ts";
import { failureOfGrpc } from "./grpc-failure.ts";
import type { GoogleAsked, Reached } from "./stt.ts";

type Response = protos.google.cloud.speech.v1.IStreamingRecognizeResponse;

interface Stream extends Duplex {
  cancel(): void;
}

interface SpeechStub extends Connectable {
  streamingRecognize(metadata: object, options: object): Stream;
}

const bytesPerUs = 32 / 1_000;
/** Written and not yet taken by the network; a vendor that reads so slowly is given up. */
const backlogBytesMax = 4 * 1024 * 1024;
const silence = new Uint8Array(3_200);

/** One `StreamingRecognize` on the client's stub: what the client wraps it in begins a call even after its cancel. */
export class GoogleLine implements SttLine {
  readonly #events: LineEvents;
  #stream: Stream | undefined;
  #sentUs = 0;
  #backlogBytes = 0;
  /** Where silence was put in to keep the stream, in its own time. */
  readonly #silences: { readonly atUs: number; readonly us: number }[] = [];
  #endpoint = false;
  #finished = false;
  #over = false;

  constructor(reached: Reached, asked: GoogleAsked, events: LineEvents) {
    this.#events = events;
    reached.client.initialize().then(
      (made) => {
        const stub = made as unknown as SpeechStub;
        whenConnected(stub, asked.values.connect_timeout_ms, (connected) => {
          if (connected) this.#begin(stub, reached, asked);
          else this.#fail(lost);
        });
      },
      () => this.#fail({ kind: "error", detail: "the client could not be set up" }),
    );
  }

  audio(pcm: Uint8Array): void {
    if (this.#over) return;
    this.#sentUs += pcm.length / bytesPerUs;
    this.#backlogBytes += pcm.length;
    this.#stream?.write({ audioContent: pcm }, () => {
      this.#backlogBytes -= pcm.length;
    });
    if (this.#backlogBytes > backlogBytesMax) {
      this.#fail({ kind: "overload", detail: "the endpoint does not take audio as fast as it comes" });
    }
  }

  finish(): void {
    if (this.#over) return;
    this.#finished = true;
    this.#stream?.end();
  }

  /** The vendor has no message for it: a tenth of a second of silence, taken off the words' times again. */
  keepAlive(): void {
    this.#silences.push({ atUs: this.#sentUs, us: silence.length / bytesPerUs });
    this.audio(silence);
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#stream !== undefined) cancelCall(this.#stream);
  }

  #begin(stub: SpeechStub, { channel }: Reached, { values, key }: GoogleAsked): void {
    if (this.#over) return;
    const stream = stub.streamingRecognize(channel.metadata(key), {});
    this.#stream = stream;
    stream.on("data", (response: Response) => this.#response(response));
    stream.on("error", (error: unknown) => this.#fail(failureOfGrpc(error)));
    stream.on("end", () => this.#ended());
    stream.write({
      streamingConfig: { config: configOf(values), interimResults: values.partials, enableVoiceActivityEvents: true },
    });
    this.#events.ready();
  }

  #response(response: Response): void {
    if (this.#over) return;
    const { error, results, speechEventType } = response;
    if (error?.code) return this.#fail(failureOfGrpc({ code: error.code, details: error.message }));
    if (speechEventType === "SPEECH_ACTIVITY_END" || speechEventType === "END_OF_SINGLE_UTTERANCE")
      this.#endpoint = true;
    this.#events.alive();
    const guesses: string[] = [];
    let language: string | null | undefined;
    for (const { alternatives, isFinal, languageCode } of results ?? []) {
      language = languageCode;
      if (isFinal) this.#tellFinal(alternatives?.[0], languageCode);
      else guesses.push((alternatives?.[0]?.transcript ?? "").trim());
    }
    const guess = guesses.join(" ").trim();
    if (guess !== "") this.#events.heard(heardFrom({ transcript: guess }, { final: false, language, ...this.#hint() }));
  }

  #tellFinal(alternative: Parameters<typeof heardFrom>[0], language: string | null | undefined): void {
    const heard = heardFrom(alternative, { final: true, language, ...this.#hint() }, (us) => this.#spokenUs(us));
    this.#events.heard(heard);
  }

  #hint(): { endpoint?: boolean } {
    const endpoint = this.#endpoint;
    this.#endpoint = false;
    return endpoint ? { endpoint } : {};
  }

  #spokenUs(us: number): number {
    return this.#silences.reduce((at, put) => (put.atUs < us ? at - put.us : at), us);
  }

  #ended(): void {
    if (this.#over) return;
    if (!this.#finished) return this.#fail(lost);
    this.close();
    this.#events.done();
  }

  #fail(failure: Failure): void {
    if (this.#over) return;
    this.close();
    this.#events.failed(failure);
  }
}
