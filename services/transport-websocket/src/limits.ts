/** The numbers of this adapter; every queue, map and wait here is bounded by one of them. */
import { invariant } from "@rspp/base/invariant";

/** Version of the protocol in `docs/websocket-protocol.md`. */
export const PROTOCOL_VERSION = 1;

export const limits = {
  // --- connections ---
  CONNECTIONS_MAX: 12_000,
  /** Connections that have not opened a session yet. */
  UNOPENED_MAX: 2_000,
  /** From the handshake to a whole ClientOpen, milliseconds. */
  OPEN_DEADLINE_MS: 5_000,
  /** Verifying the token and opening the session, milliseconds. */
  OPENER_DEADLINE_MS: 10_000,
  /** Without any frame of the client, milliseconds; its pings count. */
  IDLE_MS: 30_000,
  /** How often deadlines of connections are looked at, milliseconds: one timer for all. */
  SWEEP_MS: 1_000,
  /** From the last frame of ours to the end of the TCP connection, milliseconds. */
  CLOSE_GRACE_MS: 2_000,

  // --- frames of the client ---
  /** One frame, bytes; larger ones are refused by name. */
  FRAME_BYTES_MAX: 524_288,
  /** What the socket itself reads of one message, bytes; beyond it the connection ends with 1009. */
  SOCKET_BYTES_MAX: 1_048_576,
  /** Frames and bytes that may come while the session is being opened. */
  EARLY_FRAMES_MAX: 512,
  EARLY_BYTES_MAX: 2_097_152,
  /** Bad frames of a connection before it is closed. */
  BAD_FRAMES_MAX: 16,
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
  /** Length of a frame for the runtime. */
  FRAME_MS: 20,

  // --- frames to the client ---
  /** Bytes given to the socket ahead of the wire; what waits behind them can still be overtaken. */
  WRITE_AHEAD_BYTES: 65_536,
  /** Audio waiting for a slow client, bytes; beyond it audio is dropped, with notice. */
  MEDIA_QUEUE_BYTES_MAX: 262_144,
  /** Events, texts and signals waiting, bytes and number; never dropped: beyond it the connection is closed. */
  CONTROL_QUEUE_BYTES_MAX: 1_048_576,
  CONTROL_QUEUE_ITEMS_MAX: 4_096,
  /** Metrics and debug events waiting; beyond it the oldest are dropped. */
  TELEMETRY_QUEUE_ITEMS_MAX: 128,
  /** Nothing has left although something waits, milliseconds: the connection is closed. */
  WRITE_STALL_MS: 10_000,

  // --- sessions ---
  SESSIONS_MAX: 10_000,
  /** Messages of the runtime that come before the session is open. */
  EARLY_EGRESS_MAX: 512,
  /** Output frames waiting for a resampler to load. */
  CONVERT_PENDING_MAX: 512,
  /** How long a client may be away, milliseconds; the pipeline's own reconnect time may be shorter. */
  RESUME_WITHIN_MS: 30_000,
  /** A flush that nobody answers is acknowledged with what was last reported, milliseconds. */
  FLUSH_ANSWER_MS: 1_000,
  /** Flushes waiting for an answer; the oldest is acknowledged first. */
  FLUSHES_MAX: 32,
  /** Turns whose delivery is remembered. */
  DELIVERIES_MAX: 256,
} as const;

invariant(limits.FRAME_BYTES_MAX < limits.SOCKET_BYTES_MAX, "what is refused by name is read whole");
invariant(limits.FRAME_BYTES_MAX > (262_144 * 4) / 3 + 4_096, "the largest audio frame fits as JSON");
invariant(
  limits.PACE_ITEMS_MAX * limits.FRAME_MS > limits.RESUME_WITHIN_MS + limits.INPUT_AHEAD_MS,
  "all that a client may be late with can wait",
);
invariant(limits.WRITE_AHEAD_BYTES < limits.MEDIA_QUEUE_BYTES_MAX, "audio waits where it can be overtaken");
