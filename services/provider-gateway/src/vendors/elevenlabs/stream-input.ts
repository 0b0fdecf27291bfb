/** The vendor's socket `stream-input`: text in clause by clause, audio out with the time of each character. */
import type { Invocation, InvocationInput, InvocationSink } from "@rspp/ports/provider";
import { type RawData, WebSocket } from "ws";
import { Attempt } from "../../attempt.ts";
import { failureOfThrown, malformed, SpeechFailure } from "../speech/failure.ts";
import { speechLimits } from "../speech/limits.ts";
import { formatOf } from "../speech/settings.ts";
import { SpeechOut, speakable } from "../speech/speech-out.ts";
import type { VendorAccess } from "../vendor.ts";
import { AlignedClause, type Alignment, alignmentOf } from "./aligned-words.ts";
import { codeOfBody, failureOfCode } from "./failure.ts";
import { dictionaries, type ElevenLabsValues, languageCode, sendsMarkup, sentText, voiceSettings } from "./settings.ts";

export interface StreamInputOptions {
  readonly access: VendorAccess;
  readonly sink: InvocationSink;
  readonly key: string;
  readonly values: ElevenLabsValues;
}

const messageBytesMax = 8 * 1_024 * 1_024;
/** The longest the vendor waits for text, seconds: a reply may pause for a tool. */
const inactivityS = 180;
const notInTime = "no connection in time (setting `connect_timeout_ms`)";

/**
 * Connects when opened, before there is a text. Each clause is sent with `flush`, so that it is spoken whether or not another
 * follows; where in the audio one ends is known by its characters. A failed clause ends all.
 */
export class StreamInputSpeech implements Invocation {
  readonly #options: StreamInputOptions;
  readonly #attempt: Attempt;
  readonly #socket: WebSocket;
  /** Clauses that are not told to their end, in order. */
  readonly #clauses: AlignedClause[] = [];
  readonly #unsent: object[] = [];
  #out: SpeechOut | undefined;
  #early: RawData[] | undefined = [];
  #begun = false;
  #release: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #finished = false;
  #count = 0;
  #characters = 0;
  /** The clause that was told last, for audio that comes after its characters. */
  #last: AlignedClause | undefined;

  constructor(options: StreamInputOptions) {
    this.#options = options;
    this.#attempt = new Attempt(options.sink);
    const { access, key, values } = options;
    this.#socket = new WebSocket(urlOf(access.baseUrl, values), {
      headers: { "xi-api-key": key },
      perMessageDeflate: false,
      maxPayload: messageBytesMax,
      followRedirects: false,
    });
    this.#attempt.onEnd(() => {
      clearTimeout(this.#timer);
      this.#clauses.length = 0;
      this.#unsent.length = 0;
      this.#early = undefined;
      this.#release?.();
      // At once: whatever else the vendor would say costs money.
      this.#socket.terminate();
      this.#out?.close();
    });
    this.#arm(values.connect_timeout_ms, notInTime);
    this.#listen();
    this.#open().catch((error: unknown) => this.#fail(error));
  }

  push(input: InvocationInput): void {
    if (input.kind !== "text" || this.#finished || this.#attempt.done) return;
    this.#count++;
    const { CLAUSES_MAX, CLAUSE_CHARS_MAX } = speechLimits;
    if (input.text.length > CLAUSE_CHARS_MAX || this.#count > CLAUSES_MAX) {
      this.#attempt.end("error", `at most ${CLAUSES_MAX} clauses of ${CLAUSE_CHARS_MAX} characters`);
      return;
    }
    const { values } = this.#options;
    const clause = new AlignedClause({ text: input.text, segment: input.segment }, sendsMarkup(values));
    this.#clauses.push(clause);
    this.#characters += input.text.length;
    if (!speakable(input.text)) return this.#passMute();
    this.#send({ text: `${sentText(values, input.text).text} `, flush: true });
    this.#due();
  }

  finish(): void {
    if (this.#finished || this.#attempt.done) return;
    this.#finished = true;
    if (this.#count > 0) {
      this.#send({ text: "" });
      this.#due();
      return;
    }
    const { clock } = this.#options.access;
    const timer = clock.timerAt(clock.nowNs(), () => this.#attempt.end("empty", "finished without text"));
    this.#attempt.onEnd(() => timer.clear());
  }

  cancel(): void {
    this.#attempt.end("cancelled", "cancelled");
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on("open", () => {
      const { values } = this.#options;
      socket.send(JSON.stringify({ text: " ", voice_settings: voiceSettings(values), ...dictionaries(values) }));
      for (const message of this.#unsent.splice(0)) socket.send(JSON.stringify(message));
      clearTimeout(this.#timer);
      this.#due();
    });
    socket.on("message", (data) => this.#guard(() => this.#received(data)));
    socket.on("close", (code, reason) => this.#guard(() => this.#closed(code, reason.toString())));
    socket.on("error", (error) => this.#fail(error));
    socket.on("unexpected-response", (_request, response) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      response.on("data", (part: Buffer) => {
        bytes += part.length;
        if (bytes <= speechLimits.ERROR_BYTES_MAX) parts.push(part);
      });
      const end = (): void =>
        this.#fail(failureOfCode(response.statusCode ?? 0, codeOfBody(Buffer.concat(parts).toString("utf8"))));
      response.on("end", end);
      response.on("error", end);
    });
  }

  async #open(): Promise<void> {
    const { values } = this.#options;
    const format = formatOf(values.output_format);
    const out = await SpeechOut.open({ attempt: this.#attempt, format, sourceHz: format.rateHz, whole: false });
    if (this.#attempt.done) return out.close();
    this.#out = out;
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const data of early) if (!this.#attempt.done) this.#received(data);
    if (!this.#attempt.done) this.#passMute();
  }

  #send(message: object): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
    else this.#unsent.push(message);
  }

  /** Something is to come from the vendor, or nothing is any more: holds the clock and the stall's deadline accordingly. */
  #due(): void {
    if (this.#attempt.done) return;
    const due = this.#clauses.some(({ spoken }) => !spoken) || (this.#finished && this.#count > 0);
    if (due) this.#release ??= this.#options.access.clock.hold();
    else {
      this.#release?.();
      this.#release = undefined;
    }
    // Until then it is the connection that is waited for.
    if (this.#socket.readyState === WebSocket.CONNECTING) return;
    clearTimeout(this.#timer);
    if (due) this.#arm(this.#options.values.stall_ms, "stalled");
  }

  #arm(ms: number, detail: string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#attempt.end("timeout", detail), ms);
  }

  #guard(run: () => void): void {
    if (this.#attempt.done) return;
    try {
      run();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    const failure = failureOfThrown(error);
    this.#attempt.end(failure.kind, failure.message);
  }

  #received(data: RawData): void {
    if (this.#out === undefined) {
      this.#early?.push(data);
      return;
    }
    const message = JSON.parse(data.toString()) as Record<string, unknown> | null;
    if (typeof message !== "object" || message === null) throw malformed("message: it is no object");
    if (message.error !== undefined || message.code !== undefined)
      throw failureOfCode(typeof message.code === "number" ? message.code : 0, String(message.error ?? ""));
    const { audio } = message;
    if (typeof audio === "string" && audio !== "") {
      this.#audio(this.#out, Buffer.from(audio, "base64"), alignmentOf(message.alignment));
    } else if (audio !== null && audio !== undefined && audio !== "") throw malformed("message: its audio is no text");
    else if (message.isFinal !== true && message.alignment === undefined) throw malformed("message");
    if (message.isFinal === true) this.#complete(this.#out);
    else this.#due();
  }

  /** A part of the audio, cut where its characters leave a clause. */
  #audio(out: SpeechOut, bytes: Buffer, alignment: Alignment | undefined): void {
    const { rateHz } = formatOf(this.#options.values.output_format);
    let given = 0;
    const byteAt = (ms: number): number => Math.min(bytes.length, Math.round((ms * rateHz) / 1_000) * 2);
    const usOf = (byte: number): number => Math.round(((byte >> 1) * 1e6) / rateHz);
    const { chars, startsMs, durationsMs } = alignment ?? { chars: [], startsMs: [], durationsMs: [] };
    let clause = this.#current(out);
    // Where this part begins in the clause's audio.
    let originUs = out.clauseUs;
    for (const [i, sign] of chars.entries()) {
      const startUs = (startsMs[i] ?? 0) * 1_000;
      const endUs = startUs + (durationsMs[i] ?? 0) * 1_000;
      while (clause !== undefined && !clause.take(sign, at(originUs, startUs), at(originUs, endUs))) {
        // It is the next clause's: what came before it is this one's.
        const until = Math.max(given, byteAt(startsMs[i] ?? 0));
        if (until > given) out.audio(bytes.subarray(given, until));
        given = until;
        this.#endClause(out, clause);
        clause = this.#current(out);
        originUs = -usOf(given);
      }
    }
    if (given < bytes.length && clause !== undefined) out.audio(bytes.subarray(given));
    if (clause === undefined) return this.#trailing(out, bytes.subarray(given));
    out.words(clause.words());
    if (alignment !== undefined && clause.complete) this.#endClause(out, clause);
  }

  /** The clause that is spoken now; undefined when all are told. */
  #current(out: SpeechOut): AlignedClause | undefined {
    const [clause] = this.#clauses;
    if (clause !== undefined && !this.#begun) {
      out.begin(clause.clause);
      this.#begun = true;
    }
    return clause;
  }

  #endClause(out: SpeechOut, clause: AlignedClause): void {
    out.words(clause.words(true));
    if (!out.end()) throw new SpeechFailure("empty", "the answer holds no audio");
    this.#last = clause;
    this.#clauses.shift();
    this.#begun = false;
    this.#passMute();
  }

  /** Clauses that no voice can say are over when those before them are. */
  #passMute(): void {
    const out = this.#out;
    if (out === undefined) return;
    for (let [next] = this.#clauses; next !== undefined && !speakable(next.clause.text); [next] = this.#clauses) {
      out.silence(next.clause);
      this.#last = next;
      this.#clauses.shift();
    }
    this.#due();
  }

  /** Audio after the last character of all clauses, e.g. of a breath: it is the last clause's, whose end is said again. */
  #trailing(out: SpeechOut, bytes: Uint8Array): void {
    if (this.#last === undefined || bytes.length === 0) return;
    out.begin(this.#last.clause);
    out.audio(bytes);
    out.end();
  }

  /** The vendor has said all. What it gave no alignment of ends here. */
  #complete(out: SpeechOut): void {
    if (!this.#finished) throw new SpeechFailure("disconnect", "the vendor ended before the text did");
    for (let clause = this.#current(out); clause !== undefined; clause = this.#current(out)) {
      if (out.clauseUs === 0 && out.audioUs === 0) throw new SpeechFailure("empty", "the answer holds no audio");
      out.words(clause.words(true));
      if (!out.end()) out.silence(clause.clause);
      this.#clauses.shift();
      this.#begun = false;
    }
    this.#attempt.end("success", "", { audioUs: out.audioUs, characters: this.#characters });
  }

  #closed(code: number, reason: string): void {
    if (this.#finished && this.#out !== undefined && this.#clauses.length === 0) return this.#complete(this.#out);
    if (code === 1008 && /time/i.test(reason))
      throw new SpeechFailure("timeout", "the vendor waited too long for text");
    if (code === 1008) throw new SpeechFailure("error", "the vendor refused what was sent (1008)");
    throw new SpeechFailure("disconnect", `the vendor closed the connection (${code})`);
  }
}

const at = (originUs: number, us: number): number => Math.max(0, Math.round(originUs + us));

function urlOf(baseUrl: string, values: ElevenLabsValues): URL {
  const url = new URL(`${baseUrl}/v1/text-to-speech/${encodeURIComponent(values.voice)}/stream-input`);
  url.protocol = url.protocol.replace("http", "ws");
  const { rateHz } = formatOf(values.output_format);
  const query = {
    model_id: values.model,
    output_format: `pcm_${rateHz}`,
    sync_alignment: "true",
    inactivity_timeout: String(inactivityS),
    ...(values.language === "" ? {} : { language_code: languageCode(values.language) }),
    ...(sendsMarkup(values) ? { enable_ssml_parsing: "true" } : {}),
  };
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url;
}
