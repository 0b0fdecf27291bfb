/** The numbers of the LiveKit adapter. */
export const limits = {
  /** What the agent's track is given ahead of what it plays, milliseconds: enough for a late timer, little to take back. */
  LEAD_MS: 80,
  /** What LiveKit's own queue may hold, milliseconds; more than the lead, so that nothing waits for it. */
  SOURCE_QUEUE_MS: 1_000,
  /** Joining a room, milliseconds. */
  CONNECT_MS: 10_000,
  /** How long a caller may take to come, milliseconds, where nothing else is asked. */
  CALLER_WITHIN_MS: 60_000,
  /** Between two attempts to come back into a room that was lost, milliseconds. */
  REJOIN_EVERY_MS: 500,
  /** What the runtime had sent is played to its end, milliseconds at most. */
  PLAY_OUT_MS: 30_000,
  /** How often silence, mute and stall are looked at, milliseconds. */
  WATCH_MS: 1_000,
  /** Messages on their way to the room; beyond it transcriptions are dropped. */
  MESSAGES_MAX: 64,
  /** Characters of a data message that is read as a signal. */
  SIGNAL_CHARS_MAX: 4_096,
  /** Frames given to the track and remembered, to tell what was played: two minutes. */
  GIVEN_MAX: 6_000,
  /** Turns of which is remembered how far they were heard. */
  TURNS_TOLD_MAX: 16,
  /** How long the caller's token admits to the room. */
  CALLER_TOKEN_TTL: "10m",
} as const;
