/**
 * One caller's session at an adapter: the runtime's transport end, its gate, both lines, and its life from the opening to
 * the end (kernel.md §2, §6, §7; F-086, F-091). What is special to a transport stands behind `CallerEnd`.
 */
import type { Clock } from "@rspp/ports/clock";
import type { AudioFormat } from "@rspp/ports/provider";
import type { OpenedSession, SessionNote, TokenClaims } from "@rspp/ports/session-opener";
import type { SessionEnd, TransportEgress, TransportEnd, TransportIngress } from "@rspp/ports/transport";
import { AgentLine, type Fence, type Flush } from "./agent-line.ts";
import type { CallerAudio } from "./audio-in.ts";
import type { Media } from "./audio-out.ts";
import { CallerLine } from "./caller-line.ts";
import { limits } from "./limits.ts";
import type { Problem } from "./problem.ts";
import { createReceiverGate, type GateReason, type ReceiverGate } from "./receiver-gate.ts";

type Egress<K extends TransportEgress["kind"]> = Extract<TransportEgress, { kind: K }>;

/** The transport's own part of a call. Nothing of it throws or blocks. */
export interface CallerEnd {
  /** A frame for the loudspeaker; tell `agent.written` when it leaves. The bytes may be overwritten when this returns. */
  media(media: Media): void;
  /** Takes waiting frames out; @returns how many. */
  cut(fenced: (turn: number, generation: number) => boolean): number;
  /** Empties the loudspeaker; answer by `agent.flushed`. `cut`: frames that its own queues have just lost to the fence. */
  flush(fence: Fence, flush: Flush, cut: number): void;
  /** A signal of the session: turns, holds, transport signals. A reason refuses it. */
  control(message: Egress<"control">): GateReason | undefined;
  text(message: Egress<"text">): GateReason | undefined;
  /** The runtime has ended the session: `finish` once what it had sent is played. */
  closing(reason: string): void;
  /** The runtime has said something, which was taken or refused: write what waits. */
  sent?(): void;
  /** The session is over here; release what it holds. Once. */
  over(reason: string): void;
}

export interface SessionLineOptions {
  readonly clock: Clock;
  readonly claims: TokenClaims;
  /** The caller's own, decoded; closed with the line. */
  readonly audio: CallerAudio;
  readonly output: AudioFormat;
  readonly end: CallerEnd;
}

export interface LineStats {
  refused: Readonly<Record<GateReason, number>>;
  caller: CallerLine["counts"];
  framesSent: number;
  fences: number;
  fencesUnanswered: number;
}

export class SessionLine implements TransportEnd {
  readonly claims: TokenClaims;
  readonly caller: CallerLine;
  readonly agent: AgentLine;
  /** A grant later than the first raises it (kernel.md §7). */
  readonly gate: ReceiverGate = createReceiverGate(0);
  readonly #end: CallerEnd;
  readonly #early: TransportEgress[] = [];
  #opened: OpenedSession | null = null;
  #session: SessionEnd | null = null;
  #live = false;
  #closing: string | null = null;
  #callerGone = false;
  #over = false;

  constructor({ clock, claims, audio, output, end }: SessionLineOptions) {
    this.claims = claims;
    this.#end = end;
    const { gate } = this;
    const deliver = (message: TransportIngress): void => this.#session?.receive(message);
    this.caller = new CallerLine({ clock, audio, epoch: () => gate.floor(), deliver });
    this.agent = new AgentLine({
      clock,
      gate,
      format: output,
      deliver,
      send: (media) => end.media(media),
      cut: (fenced) => end.cut(fenced),
      flush: (fence, flush, cut) => end.flush(fence, flush, cut),
    });
  }

  /** The session is there; nothing is said yet. */
  open(opened: OpenedSession): void {
    this.#opened = opened;
    this.#session = opened.session;
    this.gate.raiseEpoch(opened.epoch);
  }

  /** The caller is there, for the first time or again; what the runtime has said before is heard now. */
  connected(): void {
    if (this.#over || this.#closing !== null) return;
    this.caller.control("connected", "overtaking", "");
    this.#live = true;
    for (const message of this.#early.splice(0)) this.send(message);
  }

  send(message: TransportEgress): void {
    if (!this.#live) {
      if (this.#early.length < limits.EARLY_EGRESS_MAX) this.#early.push(kept(message));
      else this.gate.refuse("overflow");
      return;
    }
    const refused = this.gate.epochRefusal(message) ?? (this.#over ? "closed" : this.#take(message));
    if (refused !== undefined) this.gate.refuse(refused);
    this.#end.sent?.();
  }

  /** A packet of the caller's audio; what is wrong with it, or null. See `CallerLine.audio`. */
  audio(sequence: number, data: Uint8Array, durationUs: number): Problem | null {
    return this.#over || this.#closing !== null ? null : this.caller.audio(sequence, data, durationUs);
  }

  /** Told of metrics, debug events and errors of the session until the returned function is called; null where nobody tells. */
  observe(kinds: readonly SessionNote["kind"][], tell: (note: SessionNote) => void): (() => void) | null {
    return this.#opened?.observe?.(kinds, tell) ?? null;
  }

  /** The caller's connection is gone and may come back: nobody answers flushes meanwhile. */
  away(reason: string): void {
    if (this.#over) return;
    this.agent.away();
    if (this.#closing === null && !this.#callerGone) this.caller.control("reconnecting", "overtaking", reason);
  }

  /** The caller is about to end the call: what is open is lost before the runtime hears of it. */
  callerEnded(): void {
    this.#callerGone = true;
    this.agent.lose();
  }

  /** The caller has hung up. The runtime answers by closing the session. */
  hangUp(reason: string): void {
    if (this.#over || this.#closing !== null || this.#callerGone) return;
    this.callerEnded();
    this.caller.control("ended", "positioned", reason);
  }

  /** The caller did not come back. */
  giveUp(reason: string): void {
    if (this.#over) return;
    this.agent.lose();
    if (this.#closing === null && !this.#callerGone) {
      this.caller.control("disconnected", "overtaking", reason);
      this.caller.control("ended", "positioned", reason);
    }
    this.finish(reason);
  }

  /** Nothing is being said to the caller. */
  quiet(): boolean {
    return this.agent.quiet();
  }

  /** Whether the session may go on at another adapter. */
  mayLeave(): boolean {
    return !this.#over && this.#closing === null && !this.#callerGone && this.#opened?.leave !== undefined;
  }

  /** The caller was sent to another adapter: the session waits for that, and is over here. */
  leave(reason: string): void {
    this.#opened?.leave?.();
    this.finish(reason);
  }

  /** The adapter stops: the session is told. */
  shutDown(reason: string): void {
    if (this.#over) return;
    this.hangUp(reason);
    this.finish(reason);
  }

  finish(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.agent.close();
    this.caller.close();
    this.#end.over(reason);
  }

  /** Why the runtime has closed the session; null while it has not. */
  closing(): string | null {
    return this.#closing;
  }

  isOver(): boolean {
    return this.#over;
  }

  callerGone(): boolean {
    return this.#callerGone;
  }

  /** False until the session was opened. */
  isOpen(): boolean {
    return this.#opened !== null;
  }

  stats(): LineStats {
    const { framesSent, fences, fencesUnanswered } = this.agent;
    return { refused: this.gate.counts(), caller: this.caller.counts, framesSent, fences, fencesUnanswered };
  }

  #close(reason: string): void {
    if (this.#closing !== null || this.#over) return;
    this.#closing = reason;
    this.#end.closing(reason);
    this.#end.sent?.();
  }

  #take(message: TransportEgress): GateReason | undefined {
    switch (message.kind) {
      case "media":
        return this.agent.media(message);
      case "fence":
        this.agent.fence(message);
        return undefined;
      case "control":
        return this.#end.control(message);
      case "text":
        return this.#end.text(message);
      case "close":
        // The last words may still wait for their conversion.
        this.agent.whenConverted(() => this.#close(message.reason));
        return undefined;
    }
  }
}

/** Bytes are the runtime's own as soon as `send` has returned. */
export function kept<M extends TransportEgress>(message: M): M {
  return message.kind === "media" ? { ...message, bytes: new Uint8Array(message.bytes) } : message;
}
