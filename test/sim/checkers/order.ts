import type { TraceEvent } from "../trace.ts";
import { BaseChecker } from "./checker.ts";

/** How long positioned control waits for its media before it is forced. */
const waitNs = 40_000_000;

/** Order per lane: sequences rise on both sides, positioned control waits for its media or says that it did not (`kernel.md` §4, §6). */
export class OrderChecker extends BaseChecker {
  readonly name = "order";
  readonly #media = new Map<string, number>();
  readonly #signals = new Map<string, number>();
  readonly #control = new Map<string, number>();
  readonly #audio = new Map<string, number>();
  readonly #link = new Map<string, number>();
  readonly #said = new Map<string, number>();
  readonly #acted = new Map<string, number>();
  readonly #sentNs = new Map<string, number[]>();

  see(event: TraceEvent, atNs: number): void {
    switch (event.kind) {
      case "egress":
        return this.#egress(event.life, event.message, atNs);
      case "signal":
        this.#once(event.life, event.event);
        this.#waited(event.life, event.event);
        return this.#rises(this.#signals, `${event.life} signals`, event.event.seq, 0);
      case "link_data":
        return this.#rises(this.#link, `${event.at} ${event.binding}`, event.seq, 1);
      case "link_gap":
        return this.#gap(`${event.at} ${event.binding}`, event.fromSeq, event.toSeq);
      case "adapter_died":
        // Whoever comes back counts anew, in a call of its own.
        this.#control.delete("adapter control");
        return;
      case "adapter_sends":
        if (event.message.kind !== "control") return;
        this.#said.set(event.message.signal, (this.#said.get(event.message.signal) ?? 0) + 1);
        return this.#rises(this.#control, "adapter control", event.message.sequence, 1);
      case "ingress":
        if (event.message.kind !== "audio") return;
        // The link's own order is checked beside it; a frame that the caller's side says twice is the kernel's to drop.
        return this.#reaches(`${event.life} audio`, event.message.sequence);
      case "positioned":
        return this.#positioned(event, atNs);
      default:
        return;
    }
  }

  /** What the adapter said once acts once, however often it is sent (F-158). */
  #once(life: string, { emitter, signal, fields, reason }: Extract<TraceEvent, { kind: "signal" }>["event"]): void {
    // The shell's own word in the adapter's name: nobody came back.
    if (signal === "ended" && (reason === "connection_lost" || reason === "taken_over")) return;
    if (emitter !== "adapter" || fields.mediaUs !== undefined || life.includes("extra")) return;
    // By life: a successor is told again.
    const acted = (this.#acted.get(`${life} ${signal}`) ?? 0) + 1;
    this.#acted.set(`${life} ${signal}`, acted);
    const said = this.#said.get(signal) ?? 0;
    if (acted > said) this.fail(`${life}: ${signal} acted ${acted} times, it was said ${said} times`);
  }

  /** Positioned control has acted: the media before it had come, or it says that it was not waited for any longer. */
  #waited(life: string, { emitter, signal, fields }: Extract<TraceEvent, { kind: "signal" }>["event"]): void {
    const after = fields.lastMediaSequence;
    if (emitter !== "adapter" || typeof after !== "number") return;
    // A transport's own signals carry it under a namespace, as all their fields.
    if (fields.forced === 1 || fields["transport.forced"] === 1) return;
    const seen = this.#audio.get(`${life} audio`) ?? 0;
    if (after > seen) this.fail(`${life}: ${signal} acted at media ${seen} though it comes after ${after}`);
  }

  #egress(life: string, message: Extract<TraceEvent, { kind: "egress" }>["message"], atNs: number): void {
    if (message.kind === "media") this.#rises(this.#media, `${life}#${message.turn}`, message.sequence, 1);
    // By epoch: two who both believe that they hold the session may count their turns alike.
    if (message.kind !== "control") return;
    const key = `${message.signal}#${message.turn}@${message.epoch}`;
    // One turn may be told of several budgets: each has an instant of its own, and they act in order.
    const sent = this.#sentNs.get(key);
    if (sent === undefined) this.#sentNs.set(key, [atNs]);
    else sent.push(atNs);
  }

  #positioned(event: Extract<TraceEvent, { kind: "positioned" }>, atNs: number): void {
    const { at, what, lastMedia, seenMedia, epoch } = event;
    const sentNs = this.#sentNs.get(`${what}@${epoch}`)?.shift() ?? 0;
    if (!event.forced) {
      if (lastMedia > seenMedia)
        this.fail(`${at}: ${what} acted at media ${seenMedia} though it comes after ${lastMedia}`);
      return;
    }
    // What belongs to no turn has no name of its own here.
    if (what.endsWith("#0")) return;
    const waitedNs = atNs - sentNs;
    if (waitedNs < waitNs) this.fail(`${at}: ${what} was forced ${waitedNs} ns after it was sent`);
  }

  #reaches(key: string, sequence: number): void {
    this.#audio.set(key, Math.max(this.#audio.get(key) ?? 0, sequence));
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
