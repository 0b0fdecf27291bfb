/** One telephone call, over the streams that the carrier opens for it (F-085, F-091). */
import { msToNs } from "@rspp/base/brand";
import type { Clock } from "@rspp/ports/clock";
import type { AudioFormat } from "@rspp/ports/provider";
import type { TokenClaims } from "@rspp/ports/session-opener";
import type { TransportEgress } from "@rspp/ports/transport";
import type { CallerAudio } from "@rspp/transport/audio-in";
import { CallerWatch } from "@rspp/transport/caller-watch";
import { JitterBuffer, type JitterCounts } from "@rspp/transport/jitter-buffer";
import { type LineStats, SessionLine } from "@rspp/transport/session-line";
import { type Carrier, CarrierOutput } from "./carrier-output.ts";
import { BYTES_PER_MS, limits, MULAW_SILENCE } from "./limits.ts";
import { fadedMulaw, isLoud } from "./mulaw.ts";
import { type CloseCode, closeCodes } from "./refusal.ts";

export const TELEPHONE_FORMAT: AudioFormat = { codec: "mulaw", rateHz: 8_000, channels: 1 };
const FRAME_MS = 20;

/** The carrier's stream that a call speaks through, while it has one. */
export interface CallStream extends Carrier {
  close(code: CloseCode, text: string): void;
}

export interface CallOptions {
  readonly clock: Clock;
  readonly claims: TokenClaims;
  readonly audio: CallerAudio;
  /** The carrier's name of the call. */
  readonly callSid: string;
  readonly resumeKey: string;
  readonly jitterMs: number;
  readonly leadMs: number;
  readonly markEveryMs: number;
  onOver(call: TelephoneCall, reason: string): void;
}

export interface CallStats extends LineStats {
  jitter: Readonly<JitterCounts>;
  output: Readonly<CarrierOutput["counts"]>;
  watch: Readonly<CallerWatch["counts"]>;
}

export class TelephoneCall {
  readonly options: CallOptions;
  readonly line: SessionLine;
  readonly #output: CarrierOutput;
  readonly #jitter: JitterBuffer;
  readonly #watch: CallerWatch;
  resumeWithinMs = 0;
  #stream: CallStream | null = null;
  #detachedNs = 0;
  #closingNs = 0;
  /** Packets given to the line, lost ones counted. */
  #sequence = 0;

  constructor(options: CallOptions) {
    this.options = options;
    const { clock, claims, audio, leadMs, markEveryMs, jitterMs } = options;
    this.line = new SessionLine({
      clock,
      claims,
      audio,
      output: TELEPHONE_FORMAT,
      end: {
        media: (media) => this.#output.push(media),
        cut: (fenced) => this.#output.cut(fenced),
        flush: (fence, flush, cut) => {
          const { gate } = this.line;
          this.#output.flush(fence, flush, cut, (turn, generation) => gate.fenced(turn, generation));
        },
        control: (message) => this.#control(message),
        // A telephone shows none.
        text: () => undefined,
        closing: () => {
          this.#closingNs = clock.nowNs();
          this.#output.resume();
          this.#endWhenHeard();
        },
        over: (reason) => this.#over(reason),
      },
    });
    const agent = () => this.line.agent;
    this.#output = new CarrierOutput({ clock, agent, leadMs, markEveryMs, carrier: () => this.#stream });
    this.#watch = new CallerWatch({ caller: this.line.caller, nowNs: () => clock.nowNs() });
    this.#jitter = new JitterBuffer({
      clock,
      waitMs: jitterMs,
      silence: MULAW_SILENCE,
      bytesPerMs: BYTES_PER_MS,
      fade: fadedMulaw,
      play: (bytes) => this.#audio(bytes),
      skip: (ms) => {
        this.#sequence += Math.round(ms / FRAME_MS);
      },
    });
  }

  /** The carrier's stream is there, for the first time or again. */
  attach(stream: CallStream): void {
    const before = this.#stream;
    this.#stream = stream;
    before?.close(closeCodes.replaced, "replaced: another stream has taken the call over");
    this.#watch.away(false);
    this.line.connected();
    this.#output.back();
  }

  attached(): boolean {
    return this.#stream !== null;
  }

  media(chunk: number, timestampMs: number, payload: Uint8Array): void {
    this.#watch.packet(isLoud(payload));
    this.#jitter.push({ sequence: chunk, timestampMs, bytes: payload });
  }

  /** A key that the caller has pressed, namespaced (F-089): after all that he said before it. */
  digit(key: string): void {
    this.line.caller.control("dtmf", "positioned", "", { "telephony.digit": key });
  }

  marked(name: string): void {
    this.#output.marked(name);
    this.#endWhenHeard();
  }

  hangUp(reason: string): void {
    this.#jitter.flush();
    this.#output.close();
    this.line.hangUp(reason);
    if (this.line.closing() !== null) this.line.finish(reason);
  }

  /** The stream has gone without a word: the carrier may open another one for the call. True when it waits for that. */
  detach(stream: CallStream): boolean {
    if (stream !== this.#stream || this.line.isOver()) return false;
    this.#stream = null;
    this.#detachedNs = this.options.clock.nowNs();
    if (this.line.callerGone()) return false;
    const closing = this.line.closing();
    if (closing !== null) {
      this.line.finish(closing);
      return false;
    }
    this.#jitter.restart();
    this.#watch.away(true);
    this.#output.away();
    this.line.away("connection_lost");
    return true;
  }

  /** Looks at what time has done. */
  tick(): void {
    if (this.line.isOver()) return;
    const nowNs = this.options.clock.nowNs();
    if (this.#stream === null) {
      if (!this.line.isOpen() || nowNs - this.#detachedNs < msToNs(this.resumeWithinMs)) return;
      if (this.line.callerGone()) this.line.finish("caller_hangup");
      else this.line.giveUp("connection_lost");
      return;
    }
    this.#watch.tick();
    this.#endWhenHeard();
  }

  stats(): CallStats {
    const { counts: jitter } = this.#jitter;
    return { ...this.line.stats(), jitter, output: this.#output.counts, watch: this.#watch.counts };
  }

  #audio(bytes: Uint8Array): void {
    this.#sequence += 1;
    // What is wrong with it is counted by the line: a carrier is told nothing of single packets.
    this.line.audio(this.#sequence, bytes, 0);
  }

  #control({ signal, turn }: Extract<TransportEgress, { kind: "control" }>): undefined {
    if (signal === "output_hold") this.#output.hold(turn);
    if (signal === "output_resume") this.#output.resume();
    return undefined;
  }

  /** The runtime has ended the session: the caller hears the last words, then the stream ends. */
  #endWhenHeard(): void {
    const reason = this.line.closing();
    if (reason === null || this.line.isOver()) return;
    const waited = this.options.clock.nowNs() - this.#closingNs > msToNs(limits.LAST_WORDS_MS);
    if (waited || this.#stream === null || this.line.callerGone() || this.#output.quiet()) this.line.finish(reason);
  }

  #over(reason: string): void {
    this.#jitter.close();
    this.#output.close();
    const stream = this.#stream;
    this.#stream = null;
    stream?.close(closeCodes.done, reason);
    this.options.onOver(this, reason);
  }
}
