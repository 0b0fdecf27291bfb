/** What the client has seen of the newest turn: an adapter that takes the session over goes on from it (kernel.md §7). */
import { DeliveryState } from "@rspp/gen/rspp/replay/v1/evidence_pb";
import type { ClientFrame, ClientPlayed } from "@rspp/gen/rspp/transport/v1/websocket_pb";

interface Open {
  readonly turn: number;
  generation: number;
  playedUs: number;
  committed: boolean;
  complete: boolean;
}

export class SeenTurn {
  #last = 0;
  #open: Open | null = null;
  #muted = false;
  #audio = 0n;
  #signals = 0n;
  #left = false;

  control(signal: string, turn: number): void {
    if (signal === "turn_open" && turn > this.#last) this.#begin(turn);
    const open = this.#open;
    if (open === null || open.turn !== turn) return;
    if (signal === "commit") open.committed = true;
    if (signal === "abort") this.#open = null;
  }

  output({
    turn,
    generation,
    end,
  }: {
    readonly turn: number;
    readonly generation: number;
    readonly end: boolean;
  }): void {
    if (turn === 0 || turn < this.#last) return;
    if (turn > this.#last) this.#begin(turn);
    const open = this.#open;
    if (open === null || open.turn !== turn) return;
    open.generation = Math.max(open.generation, generation);
    open.complete ||= end;
  }

  played({ turnNumber, state, playedUs }: Pick<ClientPlayed, "turnNumber" | "state" | "playedUs">): void {
    if (this.#open?.turn !== turnNumber) return;
    if (state === DeliveryState.PLAYING) this.#open.playedUs = Math.max(this.#open.playedUs, Number(playedUs));
    else this.#open = null;
  }

  /** A connection stands. */
  connected(): void {
    this.#left = false;
  }

  /** The server has so much of what went out, and takes nothing more on this connection. */
  left(audio: bigint, signals: bigint): void {
    this.#left = true;
    this.#audio = audio;
    this.#signals = signals;
  }

  /** A frame went out on a connection. */
  sent(message: ClientFrame["message"], signal: string): void {
    if (this.#left) return;
    if (message.case === "audio") this.#audio = message.value.sequence;
    if (message.case !== "signal") return;
    this.#signals = message.value.sequence;
    if (signal === "mute" || signal === "unmute") this.#muted = signal === "mute";
  }

  toWire() {
    const { turn = 0, generation = 0, playedUs = 0, committed = false, complete = false } = this.#open ?? {};
    return {
      $typeName: "rspp.transport.v1.SeenByClient" as const,
      goneAudioSequence: this.#audio,
      goneSignalSequence: this.#signals,
      lastTurnNumber: this.#last,
      openTurnNumber: turn,
      openTurnGeneration: generation,
      openTurnPlayedUs: BigInt(Math.round(playedUs)),
      openTurnCommitted: committed,
      openTurnComplete: complete,
      muted: this.#muted,
    };
  }

  #begin(turn: number): void {
    this.#last = turn;
    this.#open = { turn, generation: 1, playedUs: 0, committed: false, complete: false };
  }
}
