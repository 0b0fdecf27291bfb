/** Bounds of one invocation of a vendor's voice. */
export const speechLimits = {
  CLAUSES_MAX: 1_000,
  /** Of one clause; below the least that a vendor takes in a request (Polly: 3000). */
  CLAUSE_CHARS_MAX: 2_000,
  PRONUNCIATIONS_MAX: 500,
  CONNECT_MS: 5_000,
  STALL_MS: 5_000,
  FRAME_MS: 20,
  /** Kept of one clause where it goes on whole: five minutes at 24 kHz. */
  WHOLE_BYTES_MAX: 14_400_000,
  /** Of an error's body, of which only the code is read. */
  ERROR_BYTES_MAX: 65_536,
  WORDS_MAX: 1_000,
} as const;
