/** What adapters and runtimes see of a link: sessions, what arrives on them, and why they end. */
import type { MonoNs } from "@rspp/base/brand";
import type { Result } from "@rspp/base/result";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import type { LinkFault, LinkGoAway } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type {
  BindRefusal,
  BreakReason,
  Cutoff,
  DropReason,
  LaneMarks,
  LinkOutput,
  MediaLane,
  PairDeath,
  SendRefusal,
  SessionConstants,
} from "@rspp/protocol/link-types";
import type { LinkPayload } from "@rspp/wire/link-control";
import type { WireError } from "@rspp/wire/wire-error";

/** What arrives for a session, in the order in which it acts. `readAtNs`: when its bytes were read (kernel.md §10). */
export type LinkIncoming = { readonly readAtNs: MonoNs } & (
  | {
      readonly kind: "event";
      readonly lane: MediaLane;
      readonly seq: number;
      readonly turn: number | null;
      readonly generation: number;
      /** To be given back with `consumed` when done with; data lane only. */
      readonly audioUs: number;
      readonly bytes: number;
      readonly envelope: Envelope;
    }
  | { readonly kind: "overtaking"; readonly seq: number; readonly cutoff: Cutoff; readonly payload: LinkPayload }
  | {
      readonly kind: "positioned";
      readonly seq: number;
      readonly lastMediaSeq: number;
      /** It acts although its media has not come within 40 ms (kernel.md §6). */
      readonly forced: boolean;
      readonly payload: LinkPayload;
    }
  /** Lost. */
  | { readonly kind: "gap"; readonly lane: MediaLane; readonly fromSeq: number; readonly toSeq: number }
  /** Dropped by the sender on purpose. */
  | {
      readonly kind: "skipped";
      readonly lane: MediaLane;
      readonly fromSeq: number;
      readonly toSeq: number;
      readonly reason: DropReason;
    }
);

/** What is known of a session that broke off without order; reattach starts from it. */
export interface LinkBroken {
  readonly reason: BreakReason;
  /** What the peer said it acted on. */
  readonly peerAcked: LaneMarks;
  /** What this end acted on. */
  readonly acted: LaneMarks;
  readonly unsentItems: number;
}

/** Called synchronously as bytes are read: whoever needs time keeps what it got, within credit, and returns. */
export interface LinkSessionHandlers {
  onEvent(event: LinkIncoming): void;
  /** The peer knows the binding. Events may be sent before. */
  onBound?(): void;
  /** An orderly end, by either side. Nothing comes after it. */
  onClosed?(reason: string, by: "self" | "peer"): void;
  /** The pair died or a rule was broken. Nothing comes after it. */
  onBroken?(broken: LinkBroken): void;
}

export type LinkControlClass =
  | { readonly class: "overtaking"; readonly cutoff: Cutoff }
  /** `afterMedia: false` for what no media precedes in meaning; default true. */
  | { readonly class: "positioned"; readonly afterMedia?: boolean };

/** Why nothing was sent: the machine's word, or what of the message does not fit the binding or the contract. */
export type LinkSendError =
  | { readonly kind: "refused"; readonly reason: SendRefusal }
  | { readonly kind: "invalid"; readonly error: WireError };

/** One session on one incarnation of a link. */
export interface LinkSessionPort {
  readonly ref: number;
  readonly constants: SessionConstants;
  readonly origin: "self" | "peer";
  readonly ended: boolean;
  /**
   * Queues data or telemetry, by the envelope's lane; gives its sequence. `urgent` for opens, first chunks and finals:
   * flushed at once. The envelope's constants must be the binding's, its transport_sequence 0.
   */
  sendMedia(envelope: Envelope, urgent?: boolean): Result<number, LinkSendError>;
  /** Sends control at once; gives its sequence. */
  sendControl(payload: LinkPayload, how: LinkControlClass): Result<number, LinkSendError>;
  /** Gives credit back for data that is done with. */
  consumed(audioUs: number, bytes: number): void;
  /** Ends the session at both ends, after what is queued and paid for: what waits for credit is declared dropped. */
  unbind(reason: string): void;
  /** Data events that wait for credit; 0 once ended. */
  readonly queuedItems: number;
  /** What the peer said it acted on, in sequence; receipts tell it every 100 ms at most. Read it, keep nothing of it. */
  readonly peerAcked: Readonly<LaneMarks>;
}

/** Counts and refusals for telemetry and tests. */
export type LinkNotice =
  | Extract<LinkOutput<LinkPayload>, { kind: "frame_refused" | "dropped" | "send_refused" | "bind_refused" }>
  | { readonly kind: "message_refused"; readonly ref: number; readonly error: WireError }
  /** What takes a session's events threw: the session was broken off, no other. */
  | { readonly kind: "handler_failed"; readonly ref: number; readonly failure: unknown };

export type LinkDown = PairDeath | "silent" | "closed" | "protocol_error";

export interface LinkHandlers {
  /** The peer bound a session: give what takes its events, or `unbind` it with a reason. */
  onSession(session: LinkSessionPort): LinkSessionHandlers;
  onPairUp?(incarnation: number): void;
  /** After every session of it was told `onBroken`. */
  onPairDown?(incarnation: number, reason: LinkDown): void;
  /** The peer takes no new sessions and ends the pair by its deadline. */
  onGoAway?(message: LinkGoAway): void;
  /** The peer refused something of ours. */
  onFault?(fault: LinkFault): void;
  onNotice?(notice: LinkNotice): void;
}

export interface LinkStats {
  readonly phase: "down" | "half" | "up";
  readonly incarnation: number;
  readonly sessions: number;
  readonly outboxItems: number;
  readonly outboxBytes: number;
  readonly inFlightBytes: number;
  readonly mediaMessages: number;
  readonly mediaEvents: number;
}

export type { BindRefusal, SessionConstants };
