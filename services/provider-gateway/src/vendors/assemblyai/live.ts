import { type Failure, malformed } from "../stt/failure.ts";
import { heardOf } from "../stt/heard.ts";
import { jsonObject, LineSocket, socketUrl } from "../stt/line-socket.ts";
import type { LineEvents, SttLine } from "../stt/recognition.ts";
import { fittingTerms, primaryLanguage } from "../stt/settings.ts";
import { type AssemblyAiWord, failureOfCode, meanConfidence, saysQuota, spokenOf, wordsOf } from "./answer.ts";
import type { AssemblyAiAsked } from "./stt.ts";

/** The endpoint's least message, 50 ms; a shorter tail is filled with silence. */
const messageBytesMin = 1_600;

/** One session of Universal Streaming v3. */
export class AssemblyAiLine implements SttLine {
  readonly #events: LineEvents;
  readonly #socket: LineSocket;
  readonly #formatted: boolean;
  /** Turns that are final; later messages of them change nothing. */
  #turnsDone = 0;
  #over = false;

  constructor({ values, key, access }: AssemblyAiAsked, events: LineEvents) {
    this.#events = events;
    this.#formatted = values.format_turns;
    const base = access.options.streaming_url ?? streamingBase(access.baseUrl);
    const url = `${socketUrl(base)}/v3/ws?${parameters(values)}`;
    this.#socket = new LineSocket(
      url,
      { authorization: key },
      {
        open: () => {},
        message: (text) => this.#message(text),
        closed: (code, reason) => this.#fail(failureOfCode(code, reason)),
        failed: (failure) => this.#fail(failure),
      },
      saysQuota,
    );
  }

  audio(pcm: Uint8Array): void {
    if (pcm.length >= messageBytesMin) return this.#socket.send(pcm);
    const padded = new Uint8Array(messageBytesMin);
    padded.set(pcm);
    this.#socket.send(padded);
  }

  /** The turn ends now, and the session behind it, so that nothing is billed while the answer is read. */
  finish(): void {
    this.#socket.send('{"type":"ForceEndpoint"}');
    this.#socket.send('{"type":"Terminate"}');
  }

  keepAlive(): void {
    this.#socket.send('{"type":"KeepAlive"}');
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#socket.end();
  }

  #message(text: string): void {
    if (this.#over) return;
    const message = jsonObject(text);
    switch (message?.type) {
      case "Begin":
        return this.#events.ready();
      case "Turn":
        return this.#turn(message);
      case "Termination":
        this.close();
        return this.#events.done();
      case "SpeechStarted":
      case "Heartbeat":
      case "Silence":
      case "Warning":
      case "SpeakerRevision":
        return this.#events.alive();
      case "Error":
        return this.#fail(failureOfCode(Number(message.error_code), String(message.error)));
      default:
        return this.#fail(malformed);
    }
  }

  #turn(turn: Record<string, unknown>): void {
    const { turn_order: order, transcript, end_of_turn: ended } = turn;
    const words = wordsOf(turn.words);
    if (typeof order !== "number" || typeof transcript !== "string" || words === undefined)
      return this.#fail(malformed);
    if (order < this.#turnsDone) return this.#events.alive();
    const final = ended === true && (!this.#formatted || turn.turn_is_formatted === true);
    if (final) this.#turnsDone = order + 1;
    this.#events.heard(
      heardOf(final ? transcript : soFar(transcript, words), final, {
        confidence: final ? meanConfidence(words) : undefined,
        language: typeof turn.language_code === "string" ? turn.language_code : undefined,
        words: spokenOf(words),
        endpoint: ended === true,
      }),
    );
  }

  #fail(failure: Failure): void {
    if (this.#over) return;
    this.close();
    this.#events.failed(failure);
  }
}

/** The transcript holds the words that are certain; those behind it are still being guessed. */
function soFar(transcript: string, words: readonly AssemblyAiWord[]): string {
  const all = words.map(({ text }) => text).join(" ");
  return all.length > transcript.length ? all : transcript;
}

function parameters(values: AssemblyAiAsked["values"]): URLSearchParams {
  const { model, language, endpointing_ms: endpointingMs } = values;
  const english = language === "" || primaryLanguage(language) === "en";
  const terms = fittingTerms(values.key_terms);
  return new URLSearchParams({
    sample_rate: "16000",
    encoding: "pcm_s16le",
    speech_model: model || (english ? "universal-streaming-english" : "universal-streaming-multilingual"),
    format_turns: String(values.format_turns),
    // A session that was forgotten ends by itself; ours says every ten seconds that it is there.
    inactivity_timeout: "30",
    ...(english ? {} : { language_detection: "true" }),
    ...(terms.length === 0 ? {} : { keyterms_prompt: JSON.stringify(terms) }),
    ...(endpointingMs === 0
      ? {}
      : { min_turn_silence: String(endpointingMs), max_turn_silence: String(endpointingMs) }),
  });
}

/** The vendor serves streams under a name of their own; a server of one's own under its one. */
function streamingBase(baseUrl: string): string {
  return baseUrl.replace(/^(\w+:\/\/)api(\.(?:\w+\.)?assemblyai\.com)/, "$1streaming$2");
}
