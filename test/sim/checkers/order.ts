import type { TraceEvent } from "../trace.ts";
import { BaseChecker } from "./checker.ts";

/** Order per lane: sequences rise on both sides, positioned control waits for its media or says that it did not (`kernel.md` §4, §6). */
export class OrderChecker extends BaseChecker {
  readonly name = "order";
  readonly #media = new Map<string, number>();
  readonly #signals = new Map<string, number>();
  readonly #control = new Map<string, number>();
  readonly #audio = new Map<string, number>();
  readonly #link = new Map<string, number>();

  see(event: TraceEvent): void {
    switch (event.kind) {
      case "egress":
        if (event.message.kind === "media")
          this.#rises(this.#media, `${event.life}#${event.message.turn}`, event.message.sequence, 1);
        return;
      case "signal":
        this.#waited(event.life, event.event);
        return this.#rises(this.#signals, `${event.life} signals`, event.event.seq, 0);
      case "link_data":
        return this.#rises(this.#link, `${event.at} ${event.binding}`, event.seq, 1);
      case "link_gap":
        return this.#gap(`${event.at} ${event.binding}`, event.fromSeq, event.toSeq);
      case "adapter_sends":
        if (event.message.kind === "control") this.#rises(this.#control, "adapter control", event.message.sequence, 1);
        return;
      case "ingress":
        if (event.message.kind === "audio") this.#rises(this.#audio, `${event.life} audio`, event.message.sequence, 0);
        return;
      case "positioned":
        if (event.forced || event.lastMedia <= event.seenMedia) return;
        return this.fail(
          `${event.at}: ${event.what} acted at media ${event.seenMedia} though it comes after ${event.lastMedia}`,
        );
      default:
        return;
    }
  }

  /** Positioned control has acted: the media before it had come, or it says that it was not waited for any longer. */
  #waited(life: string, { emitter, signal, fields }: Extract<TraceEvent, { kind: "signal" }>["event"]): void {
    const after = fields.lastMediaSequence;
    if (emitter !== "adapter" || typeof after !== "number" || fields.forced === 1) return;
    const seen = this.#audio.get(`${life} audio`) ?? 0;
    if (after > seen) this.fail(`${life}: ${signal} acted at media ${seen} though it comes after ${after}`);
  }

  /** A declared hole: it must begin where the lane stands. */
  #gap(key: string, fromSeq: number, toSeq: number): void {
    const before = this.#link.get(key) ?? 0;
    if (fromSeq > before + 1) this.fail(`${key}: a hole is declared from ${fromSeq}, the lane stands at ${before}`);
    this.#link.set(key, Math.max(before, toSeq));
  }

  /** `step` 1: without holes; 0: any rise. */
  #rises(last: Map<string, number>, key: string, sequence: number, step: 0 | 1): void {
    const before = last.get(key) ?? 0;
    if (sequence <= before) this.fail(`${key}: ${sequence} after ${before}`);
    else if (step === 1 && sequence !== before + 1) this.fail(`${key}: ${sequence} follows ${before}`);
    last.set(key, sequence);
  }
}
