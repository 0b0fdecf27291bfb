import type { MonoNs } from "@rspp/base/brand";
import { limits } from "./limits.ts";
import type { Fences } from "./link-fence.ts";
import type { InLane, OutLane } from "./link-lane.ts";

// One end of an adapter <-> runtime link (architecture.md, decisions 5 to 7). Everything here is plain data that
// survives JSON, so that a simulator can snapshot an end and a driver can be restarted around it. `P` is the
// application's own event, which the link carries and never reads.

/** `adapter` dials and binds odd references, `runtime` answers and binds even ones; else both ends run the same machine. */
export type LinkRole = "adapter" | "runtime";
/** The two connections of a pair. Control, binds, receipts travel on `control`; data and telemetry on `media`. */
export type Connection = "control" | "media";
export type Lane = "control" | "data" | "telemetry";
export type MediaLane = "data" | "telemetry";
/** What to do with a data event when the session's queue is full because credit is exhausted. */
export type DataOverflow = "drop_oldest" | "drop_newest" | "refuse";

/** The constant fields of a session, told once and replaced by an integer afterwards (decision 7). */
export interface SessionConstants {
  tenant: string;
  session: string;
  pipelineVersion: string;
  epoch: number;
  codec: string;
  sampleRateHz: number;
  channels: number;
}

/**
 * `generation` is the least generation of `turn` still accepted, as in the kernel and in `TurnCutoff.min_generation`; with
 * `olderTurns` every earlier turn is cut as a whole.
 */
export interface Cutoff {
  turn: number;
  generation: number;
  olderTurns: boolean;
}

/** One number per lane: the highest sequence of which something holds; 0 means none. Sequences begin at 1. */
export interface LaneMarks {
  control: number;
  data: number;
  telemetry: number;
}

export type DropReason = "fenced" | "overflow" | "closed";

/** An event on the wire. `sent…` are the totals of the lane after this event, so that a loss never leaks credit. */
export interface EventFrame<P> {
  kind: "event";
  ref: number;
  lane: MediaLane;
  seq: number;
  /** Null for data of the session itself, such as the caller's audio; such data is never fenced. */
  turn: number | null;
  generation: number;
  audioUs: number;
  bytes: number;
  sentAudioUs: number;
  sentBytes: number;
  payload: P;
}

/** Stands in a lane for sequences the sender has dropped on purpose: a declared drop, not a loss. */
export interface SkipFrame {
  kind: "skip";
  ref: number;
  lane: MediaLane;
  seq: number;
  toSeq: number;
  reason: DropReason;
}

export interface OvertakingFrame<P> {
  kind: "overtaking";
  ref: number;
  seq: number;
  cutoff: Cutoff;
  payload: P;
}

export interface PositionedFrame<P> {
  kind: "positioned";
  ref: number;
  seq: number;
  /** The last data sequence before it in its direction; 0 when it waits for none. */
  lastMediaSeq: number;
  payload: P;
}

/** Ends the session's binding; positioned, so that it clips nothing. */
export interface UnbindFrame {
  kind: "unbind";
  ref: number;
  seq: number;
  lastMediaSeq: number;
  reason: string;
}

export type ControlFrame<P> = OvertakingFrame<P> | PositionedFrame<P> | UnbindFrame;
export type MediaFrame<P> = EventFrame<P> | SkipFrame;

/** Cumulative, hence harmless when repeated: credit granted so far, and what was acted on per lane. */
export interface Receipt {
  ref: number;
  grantedAudioUs: number;
  grantedBytes: number;
  acked: LaneMarks;
}

export interface BindFrame {
  kind: "bind";
  ref: number;
  constants: SessionConstants;
  /** An earlier reference of the same session (lease rotation) whose fences hold on; null if none. */
  supersedes: number | null;
}

export type LinkFrame<P> =
  | BindFrame
  | { kind: "bound"; ref: number }
  | { kind: "break"; ref: number; reason: BreakReason }
  | { kind: "receipts"; entries: Receipt[] }
  | ControlFrame<P>
  | MediaFrame<P>;

export type BreakReason =
  | "sessions_full"
  | "bad_ref"
  | "bind_timeout"
  | "credit_violation"
  | "positioned_overflow"
  | "pair_dead";
export type PairDeath =
  | "control_lost"
  | "media_lost"
  | "superseded"
  | "pair_up_timeout"
  | "control_gap"
  | "control_overflow";
export type FrameRefusal =
  | "old_incarnation"
  | "unknown_incarnation"
  | "wrong_connection"
  | "duplicate"
  | "fenced"
  | "unbound_ref"
  | "ref_reused"
  | "unknown_ref_timeout"
  | "unknown_ref_overflow";
export type SendRefusal = "not_up" | "unknown_ref" | "fenced" | "no_credit" | "too_large";
export type BindRefusal = "not_up" | "sessions_full";

/** What an application gives to {@link linkSend}. Amounts count towards credit on the data lane only. */
export type Outgoing<P> =
  | {
      lane: "data";
      turn: number | null;
      generation: number;
      audioUs: number;
      bytes: number;
      /** First chunk of a turn, final, open: flushed at once (decision 5). */
      urgent: boolean;
      payload: P;
    }
  | { lane: "telemetry"; bytes: number; payload: P }
  | { lane: "control"; class: "overtaking"; cutoff: Cutoff; payload: P }
  /** `afterMedia: false` for control that no media precedes in meaning; it still keeps its place among the positioned. */
  | { lane: "control"; class: "positioned"; afterMedia: boolean; payload: P };

export type LinkInput<P> =
  | { kind: "connected"; connection: Connection; incarnation: number }
  | { kind: "disconnected"; connection: Connection; incarnation: number }
  | { kind: "bind"; constants: SessionConstants; supersedes: number | null }
  | { kind: "unbind"; ref: number; reason: string }
  | { kind: "send"; ref: number; item: Outgoing<P> }
  | { kind: "consumed"; ref: number; audioUs: number; bytes: number }
  | { kind: "frame"; connection: Connection; incarnation: number; frame: LinkFrame<P> }
  | { kind: "tick"; idle: boolean };

export type LinkOutput<P> =
  | { kind: "transmit"; connection: Connection; incarnation: number; frames: LinkFrame<P>[] }
  | { kind: "close_connection"; connection: Connection; incarnation: number; reason: string }
  | { kind: "pair_up"; incarnation: number }
  | { kind: "pair_dead"; incarnation: number; reason: PairDeath }
  /** `origin` tells whose bind it was; `peer` means a session to accept, or to unbind with a reason. */
  | { kind: "session_opened"; ref: number; constants: SessionConstants; origin: "self" | "peer" }
  | { kind: "session_bound"; ref: number }
  | { kind: "session_closed"; ref: number; constants: SessionConstants; reason: string; by: "self" | "peer" }
  /** `peerAcked`: what the peer said it acted on; `acted`: what this end acted on. Reattach starts from the two. */
  | {
      kind: "session_broken";
      ref: number;
      constants: SessionConstants;
      reason: BreakReason;
      peerAcked: LaneMarks;
      acted: LaneMarks;
      unsentItems: number;
    }
  | { kind: "bind_refused"; reason: BindRefusal; session: string }
  | { kind: "send_refused"; ref: number; lane: Lane; reason: SendRefusal }
  | { kind: "event"; ref: number; event: EventFrame<P> }
  | { kind: "overtaking"; ref: number; seq: number; cutoff: Cutoff; payload: P }
  | { kind: "positioned"; ref: number; seq: number; lastMediaSeq: number; forced: boolean; payload: P }
  | { kind: "gap"; ref: number; lane: MediaLane; fromSeq: number; toSeq: number }
  | { kind: "skipped"; ref: number; lane: MediaLane; fromSeq: number; toSeq: number; reason: DropReason }
  | { kind: "frame_refused"; ref: number; lane: Lane; seq: number; reason: FrameRefusal }
  | { kind: "dropped"; ref: number; lane: MediaLane; items: number; reason: DropReason };

/** What one end may be set to; both ends need the same `initial…` credit. See {@link defaultLinkConfig}. */
export interface LinkConfig {
  role: LinkRole;
  dataOverflow: DataOverflow;
  sessionsMax: number;
  windowAudioUs: number;
  windowBytes: number;
  initialAudioUs: number;
  initialBytes: number;
  dataQueueItemsMax: number;
}

export function defaultLinkConfig(role: LinkRole): LinkConfig {
  return {
    role,
    dataOverflow: "drop_oldest",
    sessionsMax: limits.LINK_SESSIONS_MAX,
    windowAudioUs: limits.LINK_CREDIT_WINDOW_AUDIO_US,
    windowBytes: limits.LINK_CREDIT_WINDOW_BYTES,
    initialAudioUs: limits.LINK_CREDIT_INITIAL_AUDIO_US,
    initialBytes: limits.LINK_CREDIT_INITIAL_BYTES,
    dataQueueItemsMax: limits.LINK_DATA_QUEUE_ITEMS_MAX,
  };
}

/** Credit as the sender sees it; `sent` never passes `granted`. */
export interface OutCredit {
  grantedAudioUs: number;
  grantedBytes: number;
  sentAudioUs: number;
  sentBytes: number;
}

/** Credit as the receiver sees it: `arrived` in order so far, `released` by the application, `told` to the peer. */
export interface InCredit {
  arrivedAudioUs: number;
  arrivedBytes: number;
  releasedAudioUs: number;
  releasedBytes: number;
  toldAudioUs: number;
  toldBytes: number;
}

export interface Waiting<P> {
  frame: PositionedFrame<P> | UnbindFrame;
  deadlineNs: MonoNs;
}

export interface LinkSession<P> {
  ref: number;
  constants: SessionConstants;
  origin: "self" | "peer";
  /** Our own bind was answered; always true for the peer's. */
  bound: boolean;
  openedAtNs: MonoNs;
  fences: Fences;
  controlSeq: number;
  outData: OutLane<EventFrame<P>>;
  outTelemetry: OutLane<EventFrame<P>>;
  outCredit: OutCredit;
  inControl: InLane<ControlFrame<P>>;
  inData: InLane<MediaFrame<P>>;
  inTelemetry: InLane<MediaFrame<P>>;
  inCredit: InCredit;
  /** Positioned messages that arrived in order and wait for their media. */
  waiting: Waiting<P>[];
  peerAcked: LaneMarks;
  /** In `LinkState.ready`, `.attention`, `.receiptsDue` respectively. */
  isReady: boolean;
  needsAttention: boolean;
  receiptDue: boolean;
}

export interface UnknownFrame<P> {
  frame: ControlFrame<P> | MediaFrame<P>;
  arrivedAtNs: MonoNs;
}

export interface LinkState<P> {
  config: LinkConfig;
  phase: "down" | "half" | "up";
  /** Of the current pair, or of the last one while `down`. */
  incarnation: number;
  connected: { control: boolean; media: boolean };
  halfSinceNs: MonoNs;
  nextRef: number;
  /** Highest reference the peer has bound in this incarnation; references are never reused in it. */
  peerRefMax: number;
  sessions: Record<string, LinkSession<P>>;
  sessionCount: number;
  unknown: UnknownFrame<P>[];
  unknownBytes: number;
  controlOut: LinkFrame<P>[];
  /** References with media that may be sent now, in order of becoming so. */
  ready: number[];
  urgent: boolean;
  /** When the oldest media now waiting for a flush became ready; null if none waits. */
  readySinceNs: MonoNs | null;
  /** References with a deadline of their own (hold, positioned, bind). */
  attention: number[];
  receiptsDue: number[];
  receiptAtNs: MonoNs | null;
}
