import { DeepgramClient } from "@deepgram/sdk";
import { type Failure, malformed } from "../stt/failure.ts";
import { jsonObject, LineSocket, socketUrl } from "../stt/line-socket.ts";
import type { LineEvents, SttLine } from "../stt/recognition.ts";
import { fittingTerms } from "../stt/settings.ts";
import { failureOfClose, heardFrom, saysQuota } from "./answer.ts";
import type { DeepgramAsked } from "./stt.ts";

type ListenSocket = Awaited<ReturnType<DeepgramClient["listen"]["v1"]["connect"]>>;
type Transport = Exclude<
  Awaited<ReturnType<NonNullable<NonNullable<ConstructorParameters<typeof DeepgramClient>[0]>["transportFactory"]>>>,
  undefined
>;

/**
 * One live utterance through the official client. The client's transport is our own socket, since the client's would
 * connect again by itself, hide the status of a refusal and throw on a message that is no JSON.
 */
export class DeepgramLine implements SttLine {
  readonly #events: LineEvents;
  readonly #asked: DeepgramAsked;
  #socket: ListenSocket | undefined;
  #transport: SocketTransport | undefined;
  #over = false;

  constructor(asked: DeepgramAsked, events: LineEvents) {
    this.#asked = asked;
    this.#events = events;
    this.#connect().catch(() => this.#fail({ kind: "error", detail: "the client could not connect" }));
  }

  audio(pcm: Uint8Array): void {
    this.#send((socket) => socket.sendMedia(pcm as Uint8Array<ArrayBuffer>));
  }

  /** Finalize has what was not yet told told as final; CloseStream ends the connection behind it. */
  finish(): void {
    this.#send((socket) => socket.sendFinalize({ type: "Finalize" }));
    this.#send((socket) => socket.sendCloseStream({ type: "CloseStream" }));
  }

  keepAlive(): void {
    this.#send((socket) => socket.sendKeepAlive({ type: "KeepAlive" }));
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#transport?.close();
    this.#socket?.close();
  }

  async #connect(): Promise<void> {
    const { values, key, access } = this.#asked;
    const terms = fittingTerms(values.key_terms);
    const client = new DeepgramClient({
      apiKey: key,
      baseUrl: socketUrl(access.baseUrl),
      reconnect: false,
      transportFactory: (url, headers) => this.#open(url, headers),
    });
    const socket = await client.listen.v1.connect({
      model: values.model,
      encoding: "linear16",
      sample_rate: 16_000,
      channels: 1,
      interim_results: String(values.partials),
      smart_format: String(values.smart_format),
      punctuate: String(values.smart_format),
      vad_events: "false",
      ...(values.language === "" ? {} : { language: values.language }),
      ...(values.endpointing_ms === 0 ? {} : { endpointing: values.endpointing_ms }),
      ...(terms.length === 0 ? {} : termsOf(values.model, terms)),
      reconnectAttempts: 0,
    });
    if (this.#over) return socket.close();
    this.#socket = socket;
    socket.on("open", () => this.#events.ready());
    socket.on("message", (message) => this.#message(message));
    socket.connect();
  }

  #open(url: string, headers: Record<string, string>): Transport {
    const transport = new SocketTransport(url, headers, {
      failed: (failure) => this.#fail(failure),
      closed: (code, reason) => this.#closed(code, reason),
    });
    this.#transport = transport;
    return transport;
  }

  #message(message: { type: string }): void {
    if (this.#over) return;
    switch (message.type) {
      case "Results":
        return this.#results(message as Extract<ListenMessage, { type: "Results" }>);
      case "Metadata":
        return this.#done();
      case "UtteranceEnd":
      case "SpeechStarted":
        return this.#events.alive();
      default:
        return this.#fail(malformed);
    }
  }

  #results(results: Extract<ListenMessage, { type: "Results" }>): void {
    const { is_final: final = false, speech_final: endpoint = false, from_finalize: last = false } = results;
    const heard = heardFrom(results.channel?.alternatives?.[0], { final, endpoint });
    if (heard === undefined) return this.#fail(malformed);
    this.#events.heard(heard);
    if (last) this.#done();
  }

  #closed(code: number, reason: string): void {
    this.#fail(failureOfClose(code, reason));
  }

  #done(): void {
    if (this.#over) return;
    this.close();
    this.#events.done();
  }

  #fail(failure: Failure): void {
    if (this.#over) return;
    this.close();
    this.#events.failed(failure);
  }

  #send(act: (socket: ListenSocket) => void): void {
    if (!this.#over && this.#socket !== undefined && this.#transport?.isOpen() === true) act(this.#socket);
  }
}

type ListenMessage = Parameters<NonNullable<Parameters<ListenSocket["on"]>[1]>>[0] & { type: string };

/** Nova-3 and later take key terms; the models before it know keywords. */
function termsOf(model: string, terms: readonly string[]): { keyterm: readonly string[] } | { keywords: string[] } {
  return /^(nova-2|nova($|-(?!3))|enhanced|base)/.test(model) ? { keywords: [...terms] } : { keyterm: [...terms] };
}

/** The client's seam for transports, over our socket. */
class SocketTransport implements Transport {
  readonly #line: LineSocket;
  #onOpen: () => void = () => {};
  #onMessage: (text: string) => void = () => {};

  constructor(
    url: string,
    headers: Record<string, string>,
    on: { failed(failure: Failure): void; closed(code: number, reason: string): void },
  ) {
    const message = (text: string) => {
      if (jsonObject(text) === undefined) on.failed(malformed);
      else this.#onMessage(text);
    };
    this.#line = new LineSocket(url, headers, { open: () => this.#onOpen(), message, ...on }, saysQuota);
  }

  send(data: unknown): void {
    if (typeof data === "string" || data instanceof Uint8Array) this.#line.send(data);
  }

  onOpen(listener: () => void): void {
    this.#onOpen = listener;
  }

  onMessage(listener: (message: string) => void): void {
    this.#onMessage = listener;
  }

  // Both are told past the client, which would say less.
  onError(): void {}
  onClose(): void {}

  isOpen(): boolean {
    return this.#line.isOpen;
  }

  close(): void {
    this.#line.end();
  }
}
