/** When an end of a link looks at its deadlines, and when it gives a silent peer up. */
import { type MonoNs, msToNs, nsToMs } from "@rspp/base/brand";
import { limits } from "./limits.ts";
import type { LinkClock } from "./link-clock.ts";

/** One look per turn of the event loop, after everything that was ready to be read; and at the next deadline. */
export class LinkTurns {
  readonly #clock: LinkClock;
  readonly #turn: () => void;
  readonly #nextDeadline: () => MonoNs | null;
  #planned: NodeJS.Immediate | null = null;
  #timer: NodeJS.Timeout | null = null;
  #timerAtNs = 0;

  constructor(clock: LinkClock, turn: () => void, nextDeadline: () => MonoNs | null) {
    this.#clock = clock;
    this.#turn = turn;
    this.#nextDeadline = nextDeadline;
  }

  plan(): void {
    this.#planned ??= setImmediate(() => {
      this.#planned = null;
      this.#run();
    });
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#planned !== null) clearImmediate(this.#planned);
    this.#planned = null;
  }

  #run(): void {
    this.#turn();
    const next = this.#nextDeadline();
    const now = this.#clock.nowNs();
    // An earlier look does no harm, so a timer is moved only when it would come too late.
    if (next === null || (this.#timer !== null && this.#timerAtNs <= next && this.#timerAtNs > now)) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timerAtNs = next;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#run();
      },
      Math.max(0, nsToMs(next - now)),
    );
  }
}

/** Three quarters of the silence must be the peer's: in the rest this process itself may have stood still. */
const looksMin = Math.floor((limits.LINK_SILENCE_MS * 0.75) / limits.LINK_LOOK_MS);

/** Asks a silent peer whether it lives, and tells when it has not answered. */
export class LinkSilence {
  readonly #clock: LinkClock;
  readonly #ping: (nonce: bigint) => void;
  readonly #giveUp: () => void;
  #heardAtNs = 0;
  #pings = 0n;
  /** Since it was last heard. */
  #looks = 0;
  #asked = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(clock: LinkClock, ping: (nonce: bigint) => void, giveUp: () => void) {
    this.#clock = clock;
    this.#ping = ping;
    this.#giveUp = giveUp;
  }

  start(): void {
    this.heard(this.#clock.nowNs());
    this.#timer ??= setInterval(() => this.#check(), limits.LINK_LOOK_MS);
  }

  heard(atNs: MonoNs): void {
    this.#heardAtNs = atNs;
    this.#looks = 0;
    this.#asked = 0;
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #check(): void {
    const silentNs = this.#clock.nowNs() - this.#heardAtNs;
    this.#looks++;
    // A process that did not run for a while has heard nobody: what came meanwhile is read after this. So it looks many
    // times before it gives a healthy peer up (kernel.md §7).
    if (silentNs >= msToNs(limits.LINK_SILENCE_MS) && this.#looks >= looksMin) {
      this.stop();
      return this.#giveUp();
    }
    if (silentNs < msToNs(limits.LINK_PING_AFTER_MS) * (this.#asked + 1)) return;
    this.#asked = Math.floor(silentNs / msToNs(limits.LINK_PING_AFTER_MS));
    this.#ping(++this.#pings);
  }
}
