import { monoPlusNs, msToNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { Invocation, InvocationInput, InvocationSink } from "@rspp/ports/provider";
import { Attempt } from "../../attempt.ts";
import type { Failure } from "./failure.ts";
import type { Heard } from "./heard.ts";
import { intakeRateHz, joinPcm, PcmIntake } from "./pcm-intake.ts";

/** One utterance is at most so long; Google's own bound of a stream is five minutes. */
export const utteranceUsMax = 290_000_000;
const bytesPerMs = (intakeRateHz * 2) / 1_000;

/** A vendor's side of one streamed utterance. After `close` it tells nothing. */
export interface SttLine {
  /** 16 kHz mono s16le, `minMs` to `maxMs` of the shape long but for the last piece. Called once it is ready. */
  audio(pcm: Uint8Array): void;
  /** All audio was given; the finals are wanted now. */
  finish(): void;
  /** Nothing was sent for `keepAliveMs`. */
  keepAlive(): void;
  /** Ends the connection at once. Idempotent. */
  close(): void;
}

/** What the vendor's side tells. */
export interface LineEvents {
  /** The connection takes audio. */
  ready(): void;
  heard(heard: Heard): void;
  /** The vendor is there, without a word of the caller. */
  alive(): void;
  /** Nothing more comes. */
  done(): void;
  failed(failure: Failure): void;
}

export interface LineShape {
  /** Pieces the vendor takes, milliseconds. */
  readonly minMs: number;
  readonly maxMs: number;
  /** 0: it needs none. */
  readonly keepAliveMs: number;
}

export interface RecognitionOptions {
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  readonly stallMs: number;
  /** The settings' language, told where the vendor names none. */
  readonly language: string;
}

/** What streamed and gathered recognition share: audio in, segments and the outcome out, the two guards. */
abstract class Recognition implements Invocation {
  protected readonly attempt: Attempt;
  protected readonly options: RecognitionOptions;
  readonly #intake: PcmIntake;
  #audioUs = 0;
  #finished = false;
  #segment = 0;
  #revision = 0;
  #partial: string | undefined;
  #said = false;
  #guard: NodeJS.Timeout | undefined;

  constructor(options: RecognitionOptions, sink: InvocationSink) {
    this.options = options;
    this.attempt = new Attempt(sink);
    this.#intake = new PcmIntake((pcm) => this.take(pcm));
    this.attempt.onEnd(() => this.#intake.close());
    this.attempt.onEnd(() => clearTimeout(this.#guard));
  }

  push(input: InvocationInput): void {
    if (input.kind !== "audio" || this.#finished || this.attempt.done) return;
    this.#audioUs += input.durationUs;
    if (this.#audioUs > utteranceUsMax) {
      return this.attempt.end("error", `an utterance is at most ${utteranceUsMax / 1e6} s long`);
    }
    const problem = this.#intake.push(input.bytes, input.format);
    if (problem !== undefined) this.attempt.end("error", problem);
  }

  finish(): void {
    if (this.#finished || this.attempt.done) return;
    this.#finished = true;
    const { clock } = this.options;
    if (this.#audioUs === 0) {
      const timer = clock.timerAt(clock.nowNs(), () => this.attempt.end("empty", "finished without audio"));
      return this.attempt.onEnd(() => timer.clear());
    }
    this.attempt.onEnd(clock.hold());
    this.#intake.flush(() => this.finalise());
  }

  cancel(): void {
    this.attempt.end("cancelled", "cancelled");
  }

  /** 16 kHz mono s16le, its own. */
  protected abstract take(pcm: Uint8Array): void;
  /** All audio was taken. */
  protected abstract finalise(): void;

  /**
   * Ends the attempt as timed out unless called again, or cleared, within `ms`. In real time: virtual time stands still
   * while a vendor is waited for.
   */
  protected guard(ms: number, detail: string): void {
    clearTimeout(this.#guard);
    if (!this.attempt.done) this.#guard = setTimeout(() => this.attempt.end("timeout", detail), ms);
  }

  protected clearGuard(): void {
    clearTimeout(this.#guard);
  }

  protected tell(heard: Heard): void {
    const text = heard.text;
    if (text.trim() === "" && !(heard.final && this.#partial !== undefined)) return;
    if (!heard.final && text === this.#partial && heard.endpoint !== true) return;
    const { language = this.options.language } = heard;
    const chunk = { ...heard, kind: "text", segment: this.#segment, revision: this.#revision++ } as const;
    this.attempt.chunk(language === "" ? chunk : { ...chunk, language });
    this.#said ||= text.trim() !== "";
    this.#partial = heard.final ? undefined : text;
    if (heard.final) this.#segment++;
  }

  /** The vendor has told all. */
  protected conclude(): void {
    const usage = { audioUs: this.#audioUs };
    if (this.#said) this.attempt.end("success", "", usage);
    else this.attempt.end("empty", "no words recognised", usage);
  }

  protected fail({ kind, detail }: Failure): void {
    this.attempt.end(kind, detail);
  }
}

/** Audio goes to the vendor as it comes. The connection is opened with the invocation, before any audio is there. */
export class StreamedRecognition extends Recognition {
  readonly #line: SttLine;
  readonly #shape: LineShape;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #ready = false;
  /** All audio was given; asked for once the connection stands. */
  #drained = false;
  #asked = false;
  #keepAlive: TimerHandle | undefined;

  constructor(
    options: RecognitionOptions,
    sink: InvocationSink,
    shape: LineShape,
    connect: (events: LineEvents) => SttLine,
  ) {
    super(options, sink);
    this.#shape = shape;
    this.guard(options.connectTimeoutMs, "no connection within setting `connect_timeout_ms`");
    this.#line = connect({
      ready: () => this.#onReady(),
      heard: (heard) => {
        this.#stillThere();
        this.tell(heard);
      },
      alive: () => this.#stillThere(),
      done: () => this.conclude(),
      failed: (failure) => this.fail(failure),
    });
    this.attempt.onEnd(() => this.#line.close());
    this.attempt.onEnd(() => this.#keepAlive?.clear());
  }

  protected take(pcm: Uint8Array): void {
    this.#held.push(pcm);
    this.#heldBytes += pcm.length;
    if (this.#ready && this.#heldBytes >= this.#shape.minMs * bytesPerMs) this.#send();
  }

  protected finalise(): void {
    this.#drained = true;
    if (!this.#ready || this.#asked || this.attempt.done) return;
    this.#asked = true;
    this.#send();
    this.guard(this.options.stallMs, "stalled");
    this.#line.finish();
  }

  #onReady(): void {
    if (this.#ready || this.attempt.done) return;
    this.#ready = true;
    this.clearGuard();
    this.#awaitKeepAlive();
    if (this.#drained) return this.finalise();
    if (this.#heldBytes >= this.#shape.minMs * bytesPerMs) this.#send();
  }

  #send(): void {
    const pcm = this.#held.length === 1 && this.#held[0] !== undefined ? this.#held[0] : joinPcm(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    const most = this.#shape.maxMs * bytesPerMs;
    for (let at = 0; at < pcm.length && !this.attempt.done; at += most) this.#line.audio(pcm.subarray(at, at + most));
    this.#awaitKeepAlive();
  }

  /** The vendor is silent as long as nobody speaks, so that only its silence after the last audio is a stall. */
  #stillThere(): void {
    if (this.#asked) this.guard(this.options.stallMs, "stalled");
  }

  #awaitKeepAlive(): void {
    const { clock } = this.options;
    this.#keepAlive?.clear();
    if (this.#shape.keepAliveMs === 0 || this.attempt.done) return;
    this.#keepAlive = clock.timerAt(monoPlusNs(clock.nowNs(), msToNs(this.#shape.keepAliveMs)), () => {
      if (!this.#asked) this.#line.keepAlive();
      this.#awaitKeepAlive();
    });
  }
}

/** All audio of an utterance, and the way to an answer. `heard` may be told any number of times before it resolves. */
export interface GatheredRequest {
  /** 16 kHz mono s16le. */
  readonly pcm: Uint8Array;
  readonly signal: AbortSignal;
  heard(heard: Heard): void;
  /** The vendor is at work. */
  alive(): void;
}

/** Audio is gathered, and sent in one request when the utterance has ended. */
export class GatheredRecognition extends Recognition {
  readonly #abort = new AbortController();
  readonly #ask: (request: GatheredRequest) => Promise<Failure | undefined>;
  #held: Uint8Array[] = [];

  /** `ask` resolves with what failed, or undefined; it does not reject. */
  constructor(
    options: RecognitionOptions,
    sink: InvocationSink,
    ask: (request: GatheredRequest) => Promise<Failure | undefined>,
  ) {
    super(options, sink);
    this.#ask = ask;
    this.attempt.onEnd(() => this.#abort.abort());
  }

  protected take(pcm: Uint8Array): void {
    this.#held.push(pcm);
  }

  protected finalise(): void {
    if (this.attempt.done) return;
    const { stallMs } = this.options;
    this.guard(stallMs, "stalled");
    const asked = this.#ask({
      pcm: joinPcm(this.#held.splice(0)),
      signal: this.#abort.signal,
      heard: (heard) => {
        this.guard(stallMs, "stalled");
        this.tell(heard);
      },
      alive: () => this.guard(stallMs, "stalled"),
    });
    void asked.then((failure) => (failure === undefined ? this.conclude() : this.fail(failure)));
  }
}
