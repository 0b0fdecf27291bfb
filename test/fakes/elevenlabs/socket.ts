/** The socket `stream-input`: a first message of one space with the settings, texts that end in a space, an empty text at last. */
import type { FakeConnection } from "../server.ts";
import { elevenLabsKey, partsOf, type SpokenPart } from "./server.ts";

const queries = [
  ...["model_id", "language_code", "enable_logging", "enable_ssml_parsing", "optimize_streaming_latency"],
  ...["output_format", "inactivity_timeout", "sync_alignment", "auto_mode", "apply_text_normalization", "seed"],
];
const firstFields = [
  ...["text", "voice_settings", "generation_config", "pronunciation_dictionary_locators", "xi_api_key"],
  ...["xi-api-key", "authorization", "try_trigger_generation", "flush"],
];
const textFields = ["text", "try_trigger_generation", "flush", "voice_settings", "generation_config"];
/** Characters that must be waiting before it speaks of its own accord. */
const schedule = 120;

export function acceptSocket({ url }: { url: URL }): { status: number; body: string } | undefined {
  if (/^\/v1\/text-to-speech\/[^/]+\/stream-input$/.test(url.pathname)) return undefined;
  return { status: 403, body: '{"detail":"Not Found"}' };
}

export function serveSocket(connection: FakeConnection): void {
  const speaker = new Speaker(connection);
  connection.socket.on("message", (data, binary) => {
    if (binary) connection.violation("a binary message");
    speaker.received(String(data));
  });
}

class Speaker {
  readonly #connection: FakeConnection;
  readonly #rateHz: number;
  readonly #texts: string[] = [];
  #waiting = "";
  #begun = false;
  #ended = false;
  /** What was on its way when it was refused is no fault of the client's. */
  #refused = false;
  #speaking = Promise.resolve();

  constructor(connection: FakeConnection) {
    this.#connection = connection;
    const { url, call } = connection;
    for (const name of url.searchParams.keys()) {
      if (!queries.includes(name)) connection.violation(`unknown query ${name}`);
    }
    const format = url.searchParams.get("output_format") ?? "mp3_44100";
    this.#rateHz = Number(/^pcm_(8000|16000|22050|24000|44100)$/.exec(format)?.[1] ?? Number.NaN);
    if (Number.isNaN(this.#rateHz)) connection.violation(`output format ${format} is not served here`);
    Object.assign(call.facts, {
      voice: url.pathname.split("/")[3],
      model: url.searchParams.get("model_id"),
      language: url.searchParams.get("language_code"),
      ssml: url.searchParams.get("enable_ssml_parsing"),
      outputFormat: format,
      texts: this.#texts,
    });
  }

  received(data: string): void {
    if (this.#refused) return;
    const message = this.#parse(data);
    if (message === undefined) return this.#refuse("invalid_input_message", 1008);
    const { text } = message;
    if (this.#ended) return this.#connection.violation("a message after the end of the text");
    if (!this.#begun) return this.#first(message);
    if (text === "") {
      this.#ended = true;
      this.#generate();
      this.#then(() => this.#final());
      return;
    }
    if (typeof text !== "string" || !text.endsWith(" ")) this.#connection.violation("a text that ends in no space");
    this.#texts.push(String(text));
    this.#waiting += String(text);
    if (message.flush === true || this.#waiting.length >= schedule) this.#generate();
  }

  #parse(data: string): Record<string, unknown> | undefined {
    try {
      const message = JSON.parse(data) as Record<string, unknown>;
      const known = this.#begun ? textFields : firstFields;
      const unknown = Object.keys(message).find((field) => !known.includes(field));
      if (unknown === undefined && typeof message.text === "string") return message;
      this.#connection.violation(`a message with ${unknown ?? "no text"}`);
    } catch {
      this.#connection.violation("a message that is no JSON");
    }
    return undefined;
  }

  #first(message: Record<string, unknown>): void {
    const { request, fault, call } = this.#connection;
    this.#begun = true;
    if (message.text !== " ") this.#connection.violation("the first text is one space");
    const given = request.headers["xi-api-key"] ?? message.xi_api_key ?? message["xi-api-key"];
    if (given !== elevenLabsKey || fault === "unauthorized") return this.#refuse("invalid_api_key", 1008);
    if (fault === "rate_limited") return this.#refuse("too_many_concurrent_requests", 1008);
    if (fault === "server_error") return this.#refuse("internal_error", 1011);
    const settings = (message.voice_settings ?? {}) as { speed?: number };
    Object.assign(call.facts, { settings, dictionaries: message.pronunciation_dictionary_locators });
    const { speed = 1 } = settings;
    if (speed < 0.7 || speed > 1.2) {
      this.#connection.violation("a speed outside 0.7 to 1.2");
      this.#refuse("invalid_voice_settings", 1008);
    }
  }

  #refuse(error: string, code: number): void {
    this.#refused = true;
    const message = "What was sent may be repeated here: zanzibar quicksilver";
    this.#connection.send({ message, error, code });
    this.#connection.close(code, error);
  }

  #generate(): void {
    const text = this.#waiting;
    this.#waiting = "";
    if (text.trim() !== "") this.#then(() => this.#speak(text));
  }

  #then(run: () => Promise<void> | void): void {
    this.#speaking = this.#speaking.then(run);
  }

  async #speak(text: string): Promise<void> {
    const { fault, answer } = this.#connection;
    if (fault === "garbage") {
      this.#connection.send("<html>zanzibar quicksilver</html>");
      return;
    }
    if (fault === "empty") return;
    for (const part of partsOf(text, this.#rateHz, fault, answer, 4)) {
      if (!this.#connection.send(messageOf(part))) return;
      if (fault === "disconnect") this.#connection.cut();
      if (fault === "disconnect" || fault === "timeout_midway" || fault === "stall") return new Promise(() => {});
      if (!(await this.#connection.pause(answer.chunkMs ?? 0))) return;
    }
  }

  async #final(): Promise<void> {
    const { fault } = this.#connection;
    if (fault === "garbage") return;
    this.#connection.send({ audio: null, isFinal: true, normalizedAlignment: null, alignment: null });
    const late = partsOf("too late ", this.#rateHz, fault, { audioMs: 40 }, 1).map(messageOf);
    if (fault === "late_data") for (const message of late) this.#connection.send(message);
    this.#connection.close(1000);
  }
}

function messageOf({ audio, chars, startsMs, durationsMs }: SpokenPart): object {
  const alignment = { chars, charStartTimesMs: startsMs, charDurationsMs: durationsMs };
  return { audio: audio.toString("base64"), isFinal: null, normalizedAlignment: alignment, alignment };
}
