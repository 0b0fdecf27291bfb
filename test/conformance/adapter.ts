/** One contract for all adapters (F-086): what `adapters.test.ts` asks of each, and what each gives to be asked. */
import type { TransportEgress, TransportIngress } from "@rspp/ports/transport";

/** A caller on a line of the adapter under test, and the runtime's side of it by hand. */
export interface Line {
  /** Granted at the start. */
  readonly epoch: number;
  /** What the adapter told the session, in order. */
  received(): readonly TransportIngress[];
  /** The session to the adapter. */
  send(message: TransportEgress): void;
  /** The caller says 20 ms frames of these samples, 16 kHz. */
  speak(frames: readonly Int16Array[]): void;
  /** Of adapters with buttons. */
  endOfUtterance(): void;
  stop(): void;
  /** Keys of a telephone, of adapters without buttons. */
  press?(digits: string): void;
  hangUp(): void;
  /** Media time that the caller has heard so far, microseconds, by turn. */
  heardUs(turn: number): number;
  /** Resolves when the adapter believes only this epoch, or has refused it. */
  raiseEpoch(epoch: number): Promise<boolean>;
  close(): Promise<void>;
}

export interface Adapter {
  readonly name: string;
  /** The caller's sound is not the runtime's sample for sample. */
  readonly lossy?: boolean;
  /** Whether the caller can say `end_of_utterance` and `stop`; default true. */
  readonly buttons?: boolean;
  open(id: string): Promise<Line>;
  close(): Promise<void>;
}

/** Sound heard by turn, from frames as they are heard. */
export class Ear {
  readonly #us = new Map<number, number>();

  hear(turn: number, durationUs: number): void {
    this.#us.set(turn, this.heardUs(turn) + durationUs);
  }

  heardUs(turn: number): number {
    return this.#us.get(turn) ?? 0;
  }
}

/** `count` frames of a turn, from number `from` on. */
export function media(
  epoch: number,
  turn: number,
  from: number,
  count: number,
  { generation = 0, end = false }: { generation?: number; end?: boolean } = {},
): TransportEgress[] {
  return Array.from({ length: count }, (_, i) => ({
    kind: "media",
    epoch,
    turn,
    generation,
    sequence: from + i,
    offsetUs: (from + i - 1) * 20_000,
    durationUs: 20_000,
    format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
    bytes: new Uint8Array(640).fill(1),
    end: end && i === count - 1,
  }));
}
