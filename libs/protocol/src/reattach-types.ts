import type { MonoNs } from "@rspp/base/brand";
import type { Fences } from "./link-fence.ts";
import type { Lane, LaneMarks } from "./link-types.ts";

// Reattach of a session after its client or adapter was disconnected. Sequences here are the session's own, per lane,
// and rise over all its attachments; those of a link begin anew with every binding.

/** Telemetry is never replayed: what was missed of it is missed. */
export type ReplayLane = "control" | "data";

export interface ReplayEntry<P> {
  lane: ReplayLane;
  seq: number;
  turn: number | null;
  generation: number;
  bytes: number;
  recordedAtNs: MonoNs;
  payload: P;
}

export type ReattachPhase = "attached" | "detached" | "expired" | "ended";

export interface ReattachServerState<P> {
  session: string;
  /** Names the token the session was opened with; never the token itself. */
  tokenRef: string;
  phase: ReattachPhase;
  /** Rises with every attachment; the answer names it, so that an older connection can be closed. */
  attachment: number;
  /** The client's last attempt that was answered; a delayed older request changes nothing. */
  lastAttempt: number;
  detachedAtNs: MonoNs;
  openTurn: number | null;
  last: LaneMarks;
  /** Highest sequence per lane that was thrown away before it was acknowledged. */
  lost: LaneMarks;
  /** Recorded order over both lanes, oldest first. */
  entries: ReplayEntry<P>[];
  bytes: number;
  /** Entries that were thrown away, to be filled anew: fifty frames a second of every call are kept for half a second. */
  spare: ReplayEntry<P>[];
  fences: Fences;
}

export interface ReattachRequest {
  session: string;
  tokenRef: string;
  attempt: number;
  lastReceived: LaneMarks;
  /** The turn the client saw open; null when none. */
  openTurn: number | null;
}

export type ReattachRefusal = "wrong_session" | "bad_token" | "old_attempt" | "ahead" | "expired" | "ended";

/** How the turn the client saw open stands now. What happened between is among the replayed events. */
export type TurnView = "same" | "closed_meanwhile" | "opened_meanwhile" | "other_turn";

export type ReattachAnswer<P> =
  | {
      kind: "resume";
      attempt: number;
      attachment: number;
      turn: TurnView;
      openTurn: number | null;
      events: ReplayEntry<P>[];
      /** Sequences up to here are in `events`, cut by a fence, or telemetry that is not replayed. */
      resumeAt: LaneMarks;
    }
  /** More was missed than is kept: begin again from a snapshot taken at `snapshotAt`. */
  | {
      kind: "too_old";
      attempt: number;
      attachment: number;
      lane: Lane;
      openTurn: number | null;
      snapshotAt: LaneMarks;
    }
  | { kind: "refused"; attempt: number; reason: ReattachRefusal };

export interface ReattachClientState {
  session: string;
  tokenRef: string;
  phase: "attached" | "reattaching" | "lost";
  attempt: number;
  attachment: number;
  lastReceived: LaneMarks;
  openTurn: number | null;
  duplicates: number;
}

/** `missed`: sequences passed over, cut by a fence or declared dropped; null in the plain case. */
export type ClientReceipt =
  | { deliver: true; missed: { fromSeq: number; toSeq: number } | null }
  | { deliver: false; reason: "duplicate" };

export type ClientStep =
  | { kind: "attached"; openTurn: number | null; turn: TurnView }
  | { kind: "restart_from_snapshot"; openTurn: number | null }
  | { kind: "lost"; reason: ReattachRefusal }
  | { kind: "ignored" };
