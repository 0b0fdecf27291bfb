/** The numbers that every adapter shares; every queue, map and wait of this room is bounded by one of them. */
import { invariant } from "@rspp/base/invariant";

export const limits = {
  // --- the caller's line ---
  /** Length of a frame for the runtime. */
  FRAME_MS: 20,
  /** How far the caller's audio may run ahead of real time, milliseconds. */
  INPUT_AHEAD_MS: 5_000,
  /** Audio that goes to the runtime at once; less than its pre-roll, which is 300 ms. What is beyond waits. */
  PACE_BURST_MS: 200,
  /** How many times faster than it was spoken late audio is handed on, and how often, milliseconds. */
  PACE_SPEED: 4,
  PACE_TICK_MS: 10,
  /** Frames and signals that wait for it: more than a client may be late with. */
  PACE_ITEMS_MAX: 2_048,
  /** The longest hole in the caller's audio that media time steps over, milliseconds. */
  INPUT_HOLE_MS_MAX: 60_000,

  // --- the agent's line ---
  /** Output frames waiting for a resampler to load. */
  CONVERT_PENDING_MAX: 512,
  /** A flush that nobody answers is acknowledged with what was last reported, milliseconds. */
  FLUSH_ANSWER_MS: 1_000,
  /** Flushes waiting for an answer; the oldest is acknowledged first. */
  FLUSHES_MAX: 32,
  /** Turns whose delivery is remembered. */
  DELIVERIES_MAX: 256,
  /** Frames a pacer holds for a player that is given no more than it can take back; beyond it audio is dropped. */
  PLAYOUT_FRAMES_MAX: 8_192,

  // --- sessions ---
  SESSIONS_MAX: 10_000,
  /** Verifying the token and opening the session, milliseconds. */
  OPENER_DEADLINE_MS: 10_000,
  /** Messages of the runtime that come before the session is open. */
  EARLY_EGRESS_MAX: 512,
  /** How long a caller may be away, milliseconds; the pipeline's own reconnect time may be shorter. */
  RESUME_WITHIN_MS: 30_000,
} as const;

invariant(
  limits.PACE_ITEMS_MAX * limits.FRAME_MS > limits.RESUME_WITHIN_MS + limits.INPUT_AHEAD_MS,
  "all that a caller may be late with can wait",
);
