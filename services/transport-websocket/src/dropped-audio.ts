/** Audio for which a slow client left no room: told of in stretches, so that a gap is no loss without a notice. */
import type { TransportEgress } from "@rspp/ports/transport";
import type { Media } from "@rspp/transport/audio-out";

type Notice = Pick<Extract<TransportEgress, { kind: "control" }>, "signal" | "turn" | "reason" | "fields">;

interface Stretch {
  readonly turn: number;
  readonly from: number;
  to: number;
}

export class DroppedAudio {
  #now: Stretch | null = null;
  #ended: Stretch | null = null;
  frames = 0;

  get none(): boolean {
    return this.#now === null;
  }

  /** True when a stretch has ended, which is to be told of first. */
  add({ turn, sequence }: Pick<Media, "turn" | "sequence">): boolean {
    this.frames += 1;
    if (this.#now !== null && this.#now.turn === turn) {
      this.#now.to = sequence;
      return false;
    }
    this.#ended = this.#now;
    this.#now = { turn, from: sequence, to: sequence };
    return this.#ended !== null;
  }

  /** The stretch that has ended; else the present one, which ends with it. */
  take(): Notice[] {
    const stretch = this.#ended ?? this.#now;
    if (this.#ended !== null) this.#ended = null;
    else this.#now = null;
    if (stretch === null) return [];
    const fields = { edge: "client", lane: "data", fromSequence: stretch.from, toSequence: stretch.to };
    return [{ signal: "drop_notice", turn: stretch.turn, reason: "queue_bytes", fields }];
  }
}
