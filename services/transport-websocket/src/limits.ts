/** The numbers of this adapter beside those that all share (libs/transport); each queue, map and wait is bounded by one. */
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
} as const;

invariant(limits.FRAME_BYTES_MAX < limits.SOCKET_BYTES_MAX, "what is refused by name is read whole");
invariant(limits.FRAME_BYTES_MAX > (262_144 * 4) / 3 + 4_096, "the largest audio frame fits as JSON");
invariant(limits.WRITE_AHEAD_BYTES < limits.MEDIA_QUEUE_BYTES_MAX, "audio waits where it can be overtaken");
