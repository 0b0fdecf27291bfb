/**
 * The in-process form of the runtime link: what a transport adapter and the runtime say to one another about one
 * session. Every message carries the authority epoch; both sides check it (`kernel.md` §7).
 */
import type { AudioFormat } from "./provider.ts";

/** Adapter to runtime. */
export type TransportIngress =
  | {
      kind: "audio";
      epoch: number;
      /** Rises by one per frame, from 1; the adapter's transport_sequence of the data lane. */
      sequence: number;
      /** Media time of the first sample, microseconds from the start of the session's input. */
      mediaUs: number;
      durationUs: number;
      format: AudioFormat;
      /** As they are until `receive` returns: who keeps them copies them. */
      bytes: Uint8Array;
      idempotencyKey?: string;
    }
  | {
      kind: "control";
      epoch: number;
      /** Sequence of the adapter's control lane, from 1. */
      sequence: number;
      /** One of the adapter's signals: end_of_utterance, mute, unmute, stop, cancel, connected, reconnecting, disconnected, ended, silence, muted, stall, dtmf. */
      signal: string;
      controlClass: "overtaking" | "positioned";
      /** Positioned: the last audio sequence before it. */
      lastMediaSequence?: number;
      reason?: string;
      turn?: number;
      fields?: Readonly<Record<string, string | number>>;
      idempotencyKey?: string;
    }
  | {
      kind: "delivery";
      epoch: number;
      turn: number;
      generation: number;
      state: "accepted" | "started" | "progress" | "completed" | "cancelled" | "lost";
      /** Media time of this turn's output that was really played, microseconds. */
      playedUs: number;
    }
  | {
      kind: "fence_ack";
      epoch: number;
      turn: number;
      generation: number;
      /** Media time of the fenced turn's output that was really played, microseconds. */
      playedUs: number;
      /** Frames flushed unplayed. */
      flushed: number;
    };

/** Runtime to adapter. */
export type TransportEgress =
  | {
      kind: "media";
      epoch: number;
      turn: number;
      generation: number;
      /** Data-lane sequence within the turn, from 1. */
      sequence: number;
      /** Media time within this turn's output, microseconds. */
      offsetUs: number;
      durationUs: number;
      format: AudioFormat;
      /** As they are until `send` returns: who keeps them copies them. */
      bytes: Uint8Array;
      /** The last frame of the turn; `bytes` may be empty. */
      end: boolean;
    }
  | {
      kind: "fence";
      epoch: number;
      /** Overtaking. Everything of `turn` with a generation below `generation`, and of every earlier turn where `all`, is refused and flushed. */
      turn: number;
      generation: number;
      all: boolean;
      reason: string;
    }
  | {
      kind: "control";
      epoch: number;
      signal: string;
      turn: number;
      reason: string;
      fields?: Readonly<Record<string, string | number>>;
    }
  | {
      kind: "text";
      epoch: number;
      turn: number;
      role: "user" | "assistant";
      text: string;
      final: boolean;
      segment: number;
      revision: number;
    }
  | { kind: "close"; epoch: number; reason: string };

/** What an adapter gives the runtime for one session. */
export interface TransportEnd {
  /** Never blocks, never throws; the adapter checks epoch and fence itself. */
  send(message: TransportEgress): void;
}

/** What the runtime gives an adapter for one session. */
export interface SessionEnd {
  receive(message: TransportIngress): void;
}
