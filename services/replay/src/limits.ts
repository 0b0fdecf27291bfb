import { invariant } from "@rspp/base/invariant";

/** Every bound of this room, units last. */
export const limits = {
  /** Records and bytes of one append stream that are taken and not yet stored; told to the runtime as its window. */
  APPEND_WINDOW_RECORDS: 8_192,
  APPEND_WINDOW_BYTES: 16_777_216,
  /** Answers that the runtime has not read; past it nothing more is taken from it. */
  ANSWERS_MAX: 1_024,
  /** Sessions whose chains are kept in memory; the one that rests longest goes first. */
  SESSIONS_MAX: 2_048,
  /**
   * What comes within this time goes into one segment; a session's end does not wait. Longer makes fewer and larger
   * objects; with the writing it must stay well below the 2 s of lag that lower recording levels (kernel.md §11).
   */
  SEGMENT_GATHER_MS: 400,
  /** Segments written at the same time. */
  SEGMENT_WRITERS_MAX: 8,
  SEGMENT_BYTES_MAX: 4_194_304,
  SEGMENT_RECORDS_MAX: 4_096,
  /** One record, typed body and canonical form. */
  RECORD_BYTES_MAX: 3_670_016,
  /** Segments of one page of the index. */
  SEGMENTS_PAGE: 100,
  /** Records and bytes of one answer of ReadTimeline. */
  READ_RECORDS_MAX: 256,
  READ_BYTES_MAX: 1_048_576,
  /** How often a follower looks for what another process stored. */
  FOLLOW_POLL_MS: 1_000,
  FOLLOWERS_MAX: 1_024,
  LIST_PAGE_DEFAULT: 100,
  VERIFY_FAULTS_MAX: 1_000,
  VERIFY_LOSSES_MAX: 256,
} as const;

invariant(limits.READ_BYTES_MAX < limits.RECORD_BYTES_MAX, "a record past the batch's size travels alone");
