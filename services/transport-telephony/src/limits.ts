/** The numbers of this adapter beside those that all share (libs/transport); each queue, map and wait is bounded by one. */
export const limits = {
  CONNECTIONS_MAX: 4_000,
  /** From the handshake to `start`, milliseconds. */
  START_DEADLINE_MS: 5_000,
  /** What the socket itself reads of one message, bytes; beyond it the connection ends with 1009. */
  SOCKET_BYTES_MAX: 131_072,
  /** Audio of one message, bytes: two seconds. */
  PAYLOAD_BYTES_MAX: 16_000,
  /** Custom parameters of a stream. */
  PARAMETERS_MAX: 32,
  /** Messages that may come while the session is being opened: ten seconds of audio. */
  EARLY_MESSAGES_MAX: 512,
  /** Bad messages of a connection before it is closed. */
  BAD_MESSAGES_MAX: 16,
  /** How often deadlines are looked at, milliseconds: one timer for all. */
  SWEEP_MS: 500,
  /** From the last frame of ours to the end of the TCP connection, milliseconds. */
  CLOSE_GRACE_MS: 2_000,
  /** Bytes that the socket may hold of what is sent: a peer that reads nothing is sent away. */
  BUFFERED_BYTES_MAX: 1_048_576,
  /** Marks that are out; more are not sent. */
  MARKS_MAX: 1_024,
  /** After the runtime has ended the session, for what is still to be heard, milliseconds. */
  LAST_WORDS_MS: 10_000,
  /** Calls that are over and whose carrier may still ask what is next. */
  ENDED_MAX: 4_096,
  /** A form that the carrier posts, bytes. */
  FORM_BYTES_MAX: 65_536,
  /** Numbers that lead to a pipeline. */
  NUMBERS_MAX: 10_000,
} as const;

/** The sound of a telephone line that says nothing, in mu-law. */
export const MULAW_SILENCE = 0xff;
export const BYTES_PER_MS = 8;

/** How long a packet waits for those before it, by what the line is like (F-087), milliseconds. */
export const jitterProfiles = { tight: 20, normal: 80, lossy: 240 } as const;
export type JitterProfile = keyof typeof jitterProfiles;
