import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { VirtualClock } from "@rspp/runtime/clock/virtual-clock";
import type { SimProcess } from "./process.ts";
import type { Rng } from "./rng.ts";

/** How a path behaves; faults change it while things are under way. */
export interface Path {
  delayMs: number;
  jitterMs: number;
  /** Bytes per millisecond; 0 for no limit. */
  bytesPerMs: number;
  /** Above 0 nothing gets through; it all comes, in order, when the path is mended. */
  held: number;
  /** What happens to single messages that may be lost, doubled or overtaken. */
  harm: Harm | null;
}

/** Percent of messages each; `happened` is told of every one. */
export interface Harm {
  lossPercent: number;
  doublePercent: number;
  reorderPercent: number;
  happened: (what: "loss" | "duplication" | "reordering") => void;
}

export function newPath(delayMs: number, jitterMs: number): Path {
  return { delayMs, jitterMs, bytesPerMs: 0, held: 0, harm: null };
}

const overtakenMs = 15;

/** One direction of a connection: in order, late, and gone for good when it is cut. */
export class Channel {
  readonly #clock: VirtualClock;
  readonly #rng: Rng;
  readonly #path: Path;
  readonly #to: SimProcess;
  #lastNs = 0;
  #busyNs = 0;
  #cut = false;
  #held: (() => void)[] = [];

  constructor(clock: VirtualClock, rng: Rng, path: Path, to: SimProcess) {
    this.#clock = clock;
    this.#rng = rng;
    this.#path = path;
    this.#to = to;
  }

  /** One message that may be harmed; on a path that does no harm like any other. */
  sendLoose(bytes: number, deliver: () => void): void {
    const { harm } = this.#path;
    if (harm === null) return this.send(bytes, deliver);
    if (this.#rng.chance(harm.lossPercent)) return harm.happened("loss");
    const doubled = this.#rng.chance(harm.doublePercent);
    if (doubled) harm.happened("duplication");
    const overtaken = this.#rng.chance(harm.reorderPercent);
    if (overtaken) harm.happened("reordering");
    if (overtaken) this.#at(this.#clock.nowNs() + msToNs(overtakenMs + this.#path.delayMs), deliver);
    else this.send(bytes, deliver);
    if (doubled) this.send(bytes, deliver);
  }

  send(bytes: number, deliver: () => void): void {
    if (this.#cut) return;
    const path = this.#path;
    const now = this.#clock.nowNs();
    if (path.bytesPerMs > 0) this.#busyNs = Math.max(this.#busyNs, now) + msToNs(bytes / path.bytesPerMs);
    const wait = msToNs(path.delayMs + this.#rng.float(0, path.jitterMs));
    const at = Math.max(this.#lastNs, Math.max(now, this.#busyNs) + wait);
    this.#lastNs = at;
    this.#at(at, deliver);
  }

  #at(atNs: number, deliver: () => void): void {
    const path = this.#path;
    const life = this.#to.life;
    this.#clock.timerAt(asMonoNs(atNs), () => {
      const arrive = (): void => {
        if (!this.#cut && this.#to.life === life) this.#to.post(deliver);
      };
      if (path.held > 0 || this.#held.length > 0) this.#held.push(arrive);
      else arrive();
    });
  }

  /** Call when the path is no longer held. */
  mended(): void {
    const held = this.#held;
    this.#held = [];
    for (const arrive of held) arrive();
  }

  cut(): void {
    this.#cut = true;
    this.#held = [];
  }
}
