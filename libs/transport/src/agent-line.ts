/**
 * The agent's lane at an adapter: gated by epoch and fence, converted, delivered, cut, reported (kernel.md §6, §7; F-033,
 * F-039, F-175). Whoever knows what the loudspeaker did says so with `played`: a client that reports it, a player of the
 * adapter's own, a carrier by its marks. Nobody is believed beyond what was sent.
 */
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { AudioFormat } from "@rspp/ports/provider";
import type { TransportEgress, TransportIngress } from "@rspp/ports/transport";
import { type AgentAudio, createAgentAudio, type Media } from "./audio-out.ts";
import {
  createDeliveries,
  type Delivery,
  isSettled,
  type PlayedState,
  playedTooMuch,
  takePlayed,
} from "./deliveries.ts";
import { limits } from "./limits.ts";
import { fieldProblem, type Problem } from "./problem.ts";
import type { GateReason, ReceiverGate } from "./receiver-gate.ts";

export type Fence = Extract<TransportEgress, { kind: "fence" }>;

/** A flush under way; whoever empties the loudspeaker answers it, once. Unanswered, it settles by the last report. */
export interface Flush {
  readonly turn: number;
  readonly generation: number;
}

interface PendingFlush extends Flush {
  timer: TimerHandle;
}

export interface AgentLineOptions {
  clock: Pick<Clock, "nowNs" | "timerAt">;
  gate: ReceiverGate;
  /** What the loudspeaker is to be given. */
  format: AudioFormat;
  deliver(message: TransportIngress): void;
  /** A frame for the loudspeaker; the bytes may be overwritten when this returns. Tell `written` when it leaves. */
  send(media: Media): void;
  /** Takes frames that wait out of the adapter's own queues; @returns how many. */
  cut(fenced: (turn: number, generation: number) => boolean): number;
  /**
   * Empty what the loudspeaker holds of the fenced turns. Answer by `flushed`: at once where the adapter plays itself, later
   * where a client or a carrier does. `cut`: frames that its own queues have lost to this fence.
   */
  flush(fence: Fence, flush: Flush, cut: number): void;
}

export interface Played {
  turn: number;
  generation: number;
  state: PlayedState;
  /** Media time of that turn's output which was heard, microseconds. */
  playedUs: number;
}

export class AgentLine {
  readonly #options: AgentLineOptions;
  #audio: AgentAudio;
  readonly #deliveries = createDeliveries();
  readonly #flushes: PendingFlush[] = [];
  fences = 0;
  fencesUnanswered = 0;
  framesSent = 0;

  constructor(options: AgentLineOptions) {
    this.#options = options;
    this.#audio = createAgentAudio(options.format, (media) => this.#converted(media));
  }

  /** The reason it was refused, or undefined. */
  media(media: Media): GateReason | undefined {
    const { gate } = this.#options;
    const { turn, generation } = media;
    if (gate.fenced(turn, generation)) return "fenced";
    if (media.bytes.byteLength > 0 && !this.#audio.takes(media.format)) return "format";
    const known = this.#deliveries.find(turn, generation);
    if (known !== undefined && (known.ended || isSettled(known) || media.sequence <= known.lastSequence)) {
      return known.phase === "lost" ? "closed" : "order";
    }
    const delivery = known ?? this.#deliveries.open(turn, generation);
    if (delivery === undefined) return "overflow";
    if (known === undefined) this.#report(delivery, "accepted", 0);
    delivery.lastSequence = media.sequence;
    delivery.ended = media.end;
    return this.#audio.push(media) ? undefined : "overflow";
  }

  /** So much of the turn's audio is on its way: no more than that can have been played. */
  written(turn: number, generation: number, untilUs: number): void {
    const delivery = this.#deliveries.find(turn, generation);
    if (delivery !== undefined) delivery.sentUs = Math.max(delivery.sentUs, untilUs);
  }

  /** Acts at once: refuses from now on, empties the lanes, has the loudspeaker flushed. The answer acknowledges it. */
  fence(message: Fence): void {
    const { gate, clock } = this.#options;
    gate.raiseFence(message.turn, message.generation, message.all);
    this.fences += 1;
    const cut = this.#options.cut((turn, generation) => gate.fenced(turn, generation));
    const oldest = this.#flushes.length >= limits.FLUSHES_MAX ? this.#flushes[0] : undefined;
    if (oldest !== undefined) this.#unanswered(oldest);
    const { turn, generation } = message;
    const at = monoPlusNs(clock.nowNs(), msToNs(limits.FLUSH_ANSWER_MS));
    const flush: PendingFlush = { turn, generation, timer: clock.timerAt(at, () => this.#unanswered(flush)) };
    this.#flushes.push(flush);
    // A cut may come before the first frame: that turn's delivery settles all the same, once.
    const seen = this.#deliveries.ofTurn(turn).some((d) => d.generation < generation);
    if (generation > 0 && !seen) this.#deliveries.open(turn, generation - 1);
    // Turn 0 is the session's own output: no loudspeaker holds audio under that number.
    if (turn === 0) return this.#acknowledge(flush, 0, 0);
    this.#options.flush(message, flush, cut);
  }

  /** What the loudspeaker is said to have played; what is wrong with that (`turn`, `state`, `played_us`), or null. */
  played({ turn, generation, state, playedUs }: Played): Problem | null {
    const delivery = this.#deliveries.find(turn, generation);
    if (delivery === undefined) {
      const remedy = "report the turn_number and fence_generation of an audio event";
      return fieldProblem("turn_number", "played.known", "nothing of that output was sent", remedy);
    }
    // Between a fence and its answer there may still be reports: the answer has the last word.
    if (this.#options.gate.fenced(turn, generation)) {
      delivery.playedUs = Math.max(delivery.playedUs, Math.min(playedUs, delivery.sentUs));
      return null;
    }
    const verdict = takePlayed(delivery, state, playedUs);
    if (!verdict.ok) return verdict.problem;
    for (const word of verdict.states) this.#report(delivery, word, word === "started" ? 0 : delivery.playedUs);
    return null;
  }

  /** The answer to a flush; one that is settled already is passed over. */
  flushed(flush: Flush, playedUs: number, frames: number): Problem | null {
    const pending = this.#flushes.find((known) => known === flush);
    if (pending === undefined) return null;
    const sentUs = this.#cutOutput(pending)?.sentUs ?? 0;
    this.#acknowledge(pending, Math.min(playedUs, sentUs), frames);
    return playedUs <= sentUs ? null : playedTooMuch(playedUs, sentUs);
  }

  /** Calls back once all that was taken has been sent on: what waits for a resampler comes before it. */
  whenConverted(then: () => void): void {
    this.#audio.whenIdle(then);
  }

  /** The loudspeaker wants another form from here on: what was taken before goes out in the old one. */
  reformat(format: AudioFormat): void {
    const before = this.#audio;
    before.whenIdle(() => {
      if (this.#audio !== before) return;
      this.#audio = createAgentAudio(format, (media) => this.#converted(media));
      before.close();
    });
  }

  /** Nothing is being said, or waits to be heard. */
  quiet(): boolean {
    return this.#flushes.length === 0 && this.#deliveries.unsettled().length === 0;
  }

  /** Nobody is there to flush: what waits for an answer is acknowledged with what was last reported. */
  away(): void {
    for (const flush of [...this.#flushes]) this.#unanswered(flush);
  }

  /** The listener is gone for good: every open delivery is lost. */
  lose(): void {
    this.away();
    this.#options.cut(() => true);
    for (const delivery of this.#deliveries.unsettled()) {
      delivery.phase = "lost";
      this.#report(delivery, "lost", delivery.playedUs);
    }
  }

  close(): void {
    for (const flush of this.#flushes) flush.timer.clear();
    this.#flushes.length = 0;
    this.#audio.close();
  }

  #converted(media: Media): void {
    // What waited for its resampler may have been cut meanwhile.
    if (this.#options.gate.fenced(media.turn, media.generation)) return this.#options.gate.refuse("fenced");
    this.framesSent += 1;
    this.#options.send(media);
  }

  #unanswered(flush: PendingFlush): void {
    if (!this.#flushes.includes(flush)) return;
    this.fencesUnanswered += 1;
    this.#acknowledge(flush, this.#cutOutput(flush)?.playedUs ?? 0, 0);
  }

  /** The output of the fenced turn that was on its way: that of the highest generation below the fence. */
  #cutOutput(flush: Flush): Delivery | undefined {
    const cut = this.#deliveries.ofTurn(flush.turn).filter((d) => d.generation < flush.generation);
    return cut.reduce<Delivery | undefined>(
      (a, b) => (a === undefined || b.generation > a.generation ? b : a),
      undefined,
    );
  }

  #acknowledge(flush: PendingFlush, playedUs: number, flushed: number): void {
    flush.timer.clear();
    this.#flushes.splice(this.#flushes.indexOf(flush), 1);
    const { turn, generation } = flush;
    const output = this.#cutOutput(flush);
    if (output !== undefined) output.playedUs = Math.max(output.playedUs, playedUs);
    const { gate, deliver } = this.#options;
    deliver({ kind: "fence_ack", epoch: gate.floor(), turn, generation, playedUs: output?.playedUs ?? 0, flushed });
    for (const delivery of this.#deliveries.unsettled()) {
      if (!gate.fenced(delivery.turn, delivery.generation)) continue;
      delivery.phase = "cancelled";
      this.#report(delivery, "cancelled", delivery.playedUs);
    }
  }

  #report(
    { turn, generation }: Delivery,
    state: "accepted" | "started" | "progress" | "completed" | "cancelled" | "lost",
    playedUs: number,
  ): void {
    const epoch = this.#options.gate.floor();
    this.#options.deliver({ kind: "delivery", epoch, turn, generation, state, playedUs });
  }
}
