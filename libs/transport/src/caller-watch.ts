/**
 * A caller who says nothing, one who is muted, and a line that has gone dead, told apart (kernel.md §13): `silence` while
 * packets come and none is loud, `muted` while the caller's end says so, `stall` when packets that are due do not come.
 */
import type { CallerLine } from "./caller-line.ts";

export interface CallerWatchOptions {
  readonly caller: Pick<CallerLine, "control">;
  nowNs(): number;
  /** Nothing loud for so long is silence; default 10 s. */
  readonly silenceMs?: number;
  /** No packet for so long is a stall; default 3 s. Of an end that sends only speech: Infinity. */
  readonly stallMs?: number;
}

export class CallerWatch {
  readonly #options: CallerWatchOptions;
  #heardNs: number;
  #packetNs: number;
  #muted = false;
  #away = false;
  /** Said of the stretch that lasts. */
  #silent = false;
  #stalled = false;
  readonly counts = { silences: 0, stalls: 0 };

  constructor(options: CallerWatchOptions) {
    this.#options = options;
    this.#heardNs = options.nowNs();
    this.#packetNs = this.#heardNs;
  }

  /** A packet came; `loud`: it holds more than the noise of the line. */
  packet(loud: boolean): void {
    this.#packetNs = this.#options.nowNs();
    this.#stalled = false;
    if (!loud) return;
    this.#heardNs = this.#packetNs;
    this.#silent = false;
  }

  /** The caller's end has muted or unmuted its microphone: positioned, so that no word before it is clipped. */
  mute(on: boolean): void {
    if (on === this.#muted) return;
    this.#muted = on;
    const { caller } = this.#options;
    caller.control(on ? "mute" : "unmute", "positioned", "");
    if (on) caller.control("muted", "overtaking", "");
    else this.#begin();
  }

  /** The connection is cut, or there again: nothing is due meanwhile. */
  away(is: boolean): void {
    this.#away = is;
    if (!is) this.#begin();
  }

  /** Looks at what time has done; to be called every second or so. */
  tick(): void {
    if (this.#muted || this.#away) return;
    const { caller, nowNs, silenceMs = 10_000, stallMs = 3_000 } = this.#options;
    const now = nowNs();
    if (!this.#stalled && now - this.#packetNs > stallMs * 1e6) {
      this.#stalled = true;
      this.counts.stalls += 1;
      return caller.control("stall", "overtaking", "transport_stall");
    }
    if (this.#stalled || this.#silent || now - this.#heardNs <= silenceMs * 1e6) return;
    this.#silent = true;
    this.counts.silences += 1;
    caller.control("silence", "overtaking", "");
  }

  #begin(): void {
    this.#packetNs = this.#options.nowNs();
    this.#heardNs = this.#packetNs;
    this.#silent = false;
    this.#stalled = false;
  }
}
