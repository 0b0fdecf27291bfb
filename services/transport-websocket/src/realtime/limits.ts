/** The numbers of the Realtime endpoint beside those of the socket; each queue, map and wait is bounded by one. */
export const realtimeLimits = {
  /** One event of the client, bytes: twenty seconds of 24 kHz PCM in Base64. Beyond it the socket ends with 1009. */
  EVENT_BYTES_MAX: 2_097_152,
  /** Events and bytes that may come while the session is being opened, or its audio formats are changed. */
  EARLY_EVENTS_MAX: 512,
  EARLY_BYTES_MAX: 4_194_304,
  /** Events that are no events at all (no JSON, unknown type) before the connection is closed. */
  GARBAGE_MAX: 16,
  /** Ids and names that a client may give, characters. */
  ID_CHARS_MAX: 256,

  // --- the caller's audio ---
  /** Audio of the client that waits to be handed on, or for a commit, milliseconds. */
  INPUT_WAITING_MS_MAX: 60_000,
  /** How far it is handed on ahead of real time, milliseconds; the line refuses more than its own bound. */
  INPUT_AHEAD_MS: 4_000,
  /** Audio is handed on in pieces no longer than that, milliseconds. */
  INPUT_PIECE_MS: 100,
  INPUT_TICK_MS: 20,

  /** A commit that no turn has answered for so long holds nothing that could be understood, milliseconds. */
  UNANSWERED_MS: 8_000,

  // --- what was heard ---
  /** From handing audio to the socket to its being played, at the least, milliseconds. */
  PLAYED_AFTER_MS: 40,
  /** How long a fence waits for the client's own word (`conversation.item.truncate`) of what it has played. */
  TRUNCATE_WAIT_MS: 400,
  /** What a client says it has played may be ahead of our clock by so much. */
  PLAYED_AHEAD_MS: 250,
  /** Played time is reported to the runtime so often while audio goes out, milliseconds. */
  PLAYED_EVERY_MS: 500,
  /** How long the last words may take to be played before the socket is closed, milliseconds. */
  LAST_WORDS_MS: 10_000,

  // --- tables ---
  ITEMS_MAX: 512,
  RESPONSES_MAX: 64,
  OUTPUTS_MAX: 64,
  UTTERANCES_MAX: 8,
  TRANSCRIPT_CHARS_MAX: 65_536,
  /** Bytes given to the socket and not read by the client; beyond it the connection is closed. */
  UNREAD_BYTES_MAX: 4_194_304,
} as const;
