import type { TraceEvent } from "../trace.ts";
import { BaseChecker } from "./checker.ts";

/** Nothing of a lower epoch is accepted by a receiver that has acknowledged a higher floor (`kernel.md` §7; F-156). */
export class EpochChecker extends BaseChecker {
  readonly name = "epoch";
  readonly #floors = new Map<string, number>();
  readonly #runtime = new Map<string, number>();
  readonly #holders = new Map<number, string>();

  readonly #granted = new Map<string, number>();

  see(event: TraceEvent): void {
    if (event.kind === "granted") return this.#grant(event.session, event.epoch, event.holder);
    if (event.kind === "floor") {
      const key = `${event.receiver}/${event.session}`;
      const before = this.#floors.get(key) ?? 0;
      if (event.epoch < before) this.fail(`${key}: the floor fell from ${before} to ${event.epoch}`);
      this.#floors.set(key, event.epoch);
    } else if (event.kind === "accepted") {
      const floor = this.#floors.get(`${event.receiver}/${event.session}`) ?? 0;
      if (event.epoch < floor)
        this.fail(`${event.receiver} accepted ${event.what} of epoch ${event.epoch} below ${floor}`);
    } else if (event.kind === "adapter" && event.refused === "") {
      const floor = this.#floors.get("adapter/session-1") ?? 0;
      if (event.message.epoch < floor)
        this.fail(`the device took ${event.message.kind} of epoch ${event.message.epoch} below ${floor}`);
    } else if (event.kind === "egress") {
      // A runtime never goes back to an epoch it has left.
      const before = this.#runtime.get(event.life) ?? 0;
      if (event.message.epoch < before)
        this.fail(`${event.life}: ${event.message.kind} of epoch ${event.message.epoch} after ${before}`);
      this.#runtime.set(event.life, event.message.epoch);
    }
  }

  /** Over restored stores, too: an epoch is one holder's, and each that is given is above all before it. */
  #grant(session: string, epoch: number, holder: string): void {
    const known = this.#holders.get(epoch);
    if (known === holder) return;
    if (known !== undefined) this.fail(`epoch ${epoch} of ${session} was given to ${known} and to ${holder}`);
    this.#holders.set(epoch, holder);
    const before = this.#granted.get(session) ?? 0;
    if (epoch <= before) this.fail(`${session}: epoch ${epoch} was given after ${before}`);
    this.#granted.set(session, Math.max(before, epoch));
  }
}
