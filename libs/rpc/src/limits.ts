import { invariant } from "@rspp/base/invariant";

/** Every bound of this room, units last; those of the link machine stand in `libs/protocol`. */
export const limits = {
  /** One request or response of an API. */
  RPC_MESSAGE_BYTES_MAX: 4_194_304,
  /** One message of a link or an invocation. */
  STREAM_MESSAGE_BYTES_MAX: 1_048_576,
  /** Request headers, a session token of 8 KiB included. */
  RPC_HEADER_BYTES_MAX: 32_768,
  RPC_STREAMS_PER_CONNECTION_MAX: 256,
  RPC_CONNECTIONS_MAX: 4_096,
  /** So many connections past the bound are held for a moment and told why; more are closed as they come. */
  RPC_OVERFLOW_CONNECTIONS_MAX: 512,
  RPC_OVERFLOW_MS: 1_000,
  /** A connection that has sent nothing that could be a request is closed after this. */
  RPC_FIRST_BYTES_MS: 10_000,
  /** From the opening of a stream to its first message. */
  RPC_FIRST_MESSAGE_MS: 5_000,
  /** A connection without a call is closed after this. */
  RPC_IDLE_CONNECTION_MS: 120_000,
  RPC_DEADLINE_DEFAULT_MS: 15_000,
  RPC_DEADLINE_MAX_MS: 120_000,
  RPC_STOP_GRACE_MS: 5_000,
  /** Watchers of one health service. */
  RPC_HEALTH_WATCHERS_MAX: 1_024,

  RPC_ATTEMPTS_MAX: 4,
  RPC_BACKOFF_FIRST_MS: 50,
  RPC_BACKOFF_MAX_MS: 2_000,

  /** Characters of a compact token; the contract's bound of `SessionRoute.token`. */
  TOKEN_CHARS_MAX: 8_192,
  /** Clocks of two machines may differ by this much. */
  TOKEN_CLOCK_SKEW_MS: 5_000,
  /** An unknown key id makes the key set be fetched again, at most this often. */
  TOKEN_KEYS_REFRESH_MS: 10_000,
  /** Keys that were fetched longer ago are fetched again, though they are known. */
  TOKEN_KEYS_AGE_MS: 60_000,
  /** How soon a token that was taken back is refused: the list is fetched again when it is older. */
  TOKEN_REVOKED_REFRESH_MS: 5_000,
  /** Without a list younger than this, access tokens are refused: who may do what cannot be known. */
  TOKEN_REVOKED_AGE_MAX_MS: 600_000,
  /** Denials told to the audit log in one minute by one server; more are counted and told as a number. */
  AUDIT_DENIALS_PER_MINUTE_MAX: 60,

  /** Characters, items and levels of a message in a log line. */
  LOG_TEXT_CHARS_MAX: 128,
  LOG_LIST_ITEMS_MAX: 8,
  LOG_DEPTH_MAX: 4,

  // --- link drivers ---
  /** Pairs one server keeps, dead ones included until they are forgotten. */
  LINK_PAIRS_MAX: 256,
  /** How long a server remembers the incarnation of a dead pair. */
  LINK_FORGET_MS: 60_000,
  /** From the opening of a stream to its hello. */
  LINK_HELLO_DEADLINE_MS: 5_000,
  LINK_FRAMES_PER_MESSAGE_MAX: 256,
  /** Media of one message; small, so that a fence finds most of it still here. */
  LINK_MESSAGE_MEDIA_BYTES_MAX: 65_536,
  /** Media handed to the media connection and not yet written: more waits here, where a fence can drop it. */
  LINK_MEDIA_IN_FLIGHT_BYTES_MAX: 65_536,
  /** Media waiting for a clogged connection over all sessions; past it the oldest is declared dropped. */
  LINK_MEDIA_PENDING_BYTES_MAX: 16_777_216,
  LINK_MEDIA_PENDING_ITEMS_MAX: 65_536,
  /** Control frames written and not yet taken; past it the pair dies, since control is never dropped. */
  LINK_CONTROL_IN_FLIGHT_ITEMS_MAX: 8_192,
  /** Refusals told to one peer in one incarnation; further ones are counted here alone. */
  LINK_FAULTS_MAX: 64,
  /** Silence on the control connection before a ping, and before the pair is given up. */
  LINK_PING_AFTER_MS: 1_000,
  LINK_SILENCE_MS: 5_000,
  /** Between looks at it: so much later than it is over, a silence may be noticed. */
  LINK_LOOK_MS: 100,
  /** HTTP/2 pings on the media connection; patient, since they queue behind media on a slow link. */
  LINK_MEDIA_PING_MS: 5_000,
  LINK_MEDIA_PING_TIMEOUT_MS: 20_000,
  LINK_RECONNECT_FIRST_MS: 50,
  LINK_RECONNECT_MAX_MS: 5_000,
  /** Share of busy time of the event loop above which steady media is batched (architecture.md, decision 5). */
  LINK_BUSY_PERCENT: 50,
  LINK_BUSY_WINDOW_MS: 50,
} as const;

invariant(limits.RPC_DEADLINE_DEFAULT_MS <= limits.RPC_DEADLINE_MAX_MS, "the default deadline is within the maximum");
invariant(limits.RPC_HEADER_BYTES_MAX > limits.TOKEN_CHARS_MAX, "a token fits the headers");
invariant(
  limits.LINK_MESSAGE_MEDIA_BYTES_MAX * 2 < limits.STREAM_MESSAGE_BYTES_MAX,
  "a batch of media fits a message with its overhead",
);
invariant(limits.LINK_PING_AFTER_MS * 3 < limits.LINK_SILENCE_MS, "a ping may be lost before a pair is given up");
