/** What an adapter has seen of a session's turns, from what passes through it: a successor goes on from there (kernel.md §7). */
import type { SessionSeen } from "@rspp/ports/session-opener";
import type { TransportEgress, TransportIngress } from "@rspp/ports/transport";

export interface OpenTurn {
  readonly turn: number;
  readonly generation: number;
  /** Media time of it that was played, microseconds. */
  readonly playedUs: number;
  /** Its terminal was heard of. */
  readonly committed: boolean;
  /** All its output has come. */
  readonly complete: boolean;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class TurnsSeen {
  #last = 0;
  #open: Mutable<OpenTurn> | null = null;
  #muted = false;
  #away = false;
  #controlSeen = 0;

  /** Before anything was heard: what somebody else saw. */
  begin({ lastTurn, openTurn, muted }: SessionSeen): void {
    this.#last = Math.max(lastTurn, openTurn?.turn ?? 0);
    this.#open = openTurn === null ? null : { ...openTurn };
    this.#muted = muted;
  }

  /** Highest turn heard of. */
  get last(): number {
    return this.#last;
  }

  /** The newest whose output is not played to its end; null where there is none. */
  get open(): OpenTurn | null {
    return this.#open;
  }

  get muted(): boolean {
    return this.#muted;
  }

  get away(): boolean {
    return this.#away;
  }

  /** Highest sequence of the transport's own control lane. */
  get controlSeen(): number {
    return this.#controlSeen;
  }

  /** From the runtime. True when a turn was opened with it. */
  heard(message: TransportEgress): boolean {
    if (message.kind === "control") return this.#signal(message.signal, message.turn, message.reason);
    if (message.kind === "media") this.#media(message);
    else if (message.kind === "fence") {
      const open = this.#open;
      if (open !== null && cuts(message, open)) this.#open = null;
    }
    return false;
  }

  /** From the caller's transport. */
  said(message: TransportIngress): void {
    if (message.kind === "control") {
      this.#controlSeen = Math.max(this.#controlSeen, message.sequence);
      if (message.signal === "mute" || message.signal === "unmute") this.#muted = message.signal === "mute";
      if (message.signal === "connected") this.#away = false;
      if (message.signal === "reconnecting" || message.signal === "disconnected") this.#away = true;
      return;
    }
    if (message.kind !== "delivery" || this.#open?.turn !== message.turn) return;
    const over = ["completed", "cancelled", "lost"].includes(message.state);
    if (over) this.#open = null;
    else this.#open.playedUs = Math.max(this.#open.playedUs, message.playedUs);
  }

  #signal(signal: string, turn: number, reason: string): boolean {
    if (signal === "turn_open" && turn > this.#last) {
      this.#last = turn;
      this.#open = { turn, generation: 1, playedUs: 0, committed: false, complete: false };
      return true;
    }
    const open = this.#open;
    if (open === null || open.turn !== turn) return false;
    if (signal === "commit") open.committed = true;
    // Whoever lost its authority leaves the answer to its successor; any other abort is the session's own decision.
    if (signal === "abort" && reason === "authority_loss") open.committed = true;
    else if (signal === "abort") this.#open = null;
    return false;
  }

  #media({ turn, generation, end }: Extract<TransportEgress, { kind: "media" }>): void {
    if (turn === 0 || turn < this.#last) return;
    if (turn > this.#last) this.#signal("turn_open", turn, "");
    const open = this.#open;
    if (open === null || open.turn !== turn) return;
    open.generation = Math.max(open.generation, generation);
    open.complete ||= end;
  }
}

function cuts({ turn, generation, all, reason }: Extract<TransportEgress, { kind: "fence" }>, open: OpenTurn): boolean {
  if (reason === "authority_loss") return false;
  return (turn === open.turn && generation > open.generation) || (all && turn > open.turn);
}
