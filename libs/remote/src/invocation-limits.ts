import { invariant } from "@rspp/base/invariant";

/** Bounds of invocations over the wire, units last. */
export const invocationLimits = {
  /** What either side may send before the first credit, and the most that is under way without one. */
  WINDOW_CHUNKS: 64,
  WINDOW_BYTES: 262_144,
  /** All words of a conversation, within one message of the stream. */
  CONVERSATION_BYTES_MAX: 786_432,
  AUDIO_CHUNK_BYTES_MAX: 131_072,
  AUDIO_CHUNK_MS_MAX: 5_000,
  TEXT_CHARS_MAX: 32_768,
  /** Word timings of one chunk; more are left out. */
  WORDS_MAX: 4_096,
  SETTINGS_MAX: 256,
  /** What waits for credit of one invocation; past it the outcome is `overload`. */
  QUEUE_CHUNKS_MAX: 8_192,
  QUEUE_BYTES_MAX: 4_194_304,
  /** Bytes handed to the transport and not yet taken above which a cancel resets the stream instead of following them. */
  CLOGGED_BYTES: 16_384,
  /** From the opening of a stream to its open message. */
  OPEN_DEADLINE_MS: 5_000,
  ACCEPT_TIMEOUT_MS: 5_000,
  /** A reader that gives no credit for so long, while output waits, is given up. */
  STALL_MS: 30_000,
  /** After an outcome, for the peer's last words. */
  LINGER_MS: 1_000,
  INVOCATIONS_MAX: 1_024,
  /** Frames and bytes of one message of a shared stream; a frame that is larger goes alone. */
  SHARED_FRAMES_MAX: 256,
  SHARED_MESSAGE_BYTES: 131_072,
  /** Handed to the transport at once; what waits behind it can still be overtaken. */
  SHARED_IN_FLIGHT_BYTES: 65_536,
  /** What may wait at one end of a shared stream; past it the peer does not read, and the stream is given up. */
  SHARED_WAITING_MAX: 131_072,
  /** From opening a shared stream to the gateway's word that it serves it. */
  SHARED_READY_MS: 3_000,
  CONNECTIONS: 2,
  /** Below the streams a server takes on one connection. */
  STREAMS_PER_CONNECTION: 192,
  LIST_REFRESH_MS: 10_000,
  LIST_DEADLINE_MS: 3_000,
  LIST_RETRY_MS: 500,
  HEALTH_WATCHERS_MAX: 256,
  DETAIL_CHARS_MAX: 256,
} as const;

// Credit comes back in halves of a window, so a larger chunk could wait for ever. A conversation is larger, but goes alone.
invariant(
  Math.max(invocationLimits.AUDIO_CHUNK_BYTES_MAX, invocationLimits.TEXT_CHARS_MAX * 3) * 2 <=
    invocationLimits.WINDOW_BYTES,
  "a chunk of audio or text fits half a window of credit",
);
invariant(
  invocationLimits.INVOCATIONS_MAX * (invocationLimits.WINDOW_CHUNKS + 4) <= invocationLimits.SHARED_WAITING_MAX,
  "all chunks that credit allows may wait on one stream",
);
invariant(invocationLimits.WINDOW_BYTES < invocationLimits.QUEUE_BYTES_MAX, "more may wait than be under way");
