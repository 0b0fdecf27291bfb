import { invariant } from "@rspp/base/invariant";

/** Every bound of this room, units last. */
export const limits = {
  /** Records and bytes of one append stream that are taken and not yet stored; told to the runtime as its window. */
  APPEND_WINDOW_RECORDS: 8_192,
  APPEND_WINDOW_BYTES: 16_777_216,
  /** Requests of one stream that are read before their turn, so that their sessions are known by then. */
  APPEND_AHEAD: 16,
  /** Answers that the runtime has not read; past it nothing more is taken from it. */
  ANSWERS_MAX: 1_024,
  /** Sessions whose chains are kept in memory; the one that rests longest goes first. */
  SESSIONS_MAX: 2_048,
  /** Tenants of which nothing waits are forgotten from here on. */
  TENANTS_KEPT: 1_024,
  /**
   * What comes of a tenant within this time goes into one object. Longer makes fewer and larger objects; with the writing
   * it must stay well below the 2 s of lag that lower recording levels (kernel.md §11).
   */
  GATHER_MS: 400,
  /** From one object's beginning to the next's, however urgent: a session's end and a full object wait no longer. */
  GATHER_LEAST_MS: 50,
  /** From here on an object is full enough to go. */
  GATHER_BYTES: 1_048_576,
  GATHER_RECORDS: 2_048,
  /** Objects written at the same time, of one tenant each. */
  OBJECT_WRITERS_MAX: 8,
  /** Of one object. A single record may be larger. */
  OBJECT_BYTES_MAX: 4_194_304,
  OBJECT_RECORDS_MAX: 8_192,
  /** Ranges of objects read at the same time for one reader. */
  READ_AHEAD: 8,
  /** Objects younger than this are their writers'; the sweep looks at older ones, so many at a time. */
  ORPHAN_AGE_MS: 3_600_000,
  SWEEP_OBJECTS: 500,
  /** All of them are looked at again this often. */
  SWEEP_ROUND_MS: 21_600_000,
  /** Retention looks at so many tenants at a time, and removes so many timelines (F-116). */
  RETENTION_TENANTS: 64,
  RETENTION_TIMELINES: 256,
  RETENTION_TIMELINES_AT_ONCE: 64,
  RETENTION_OBJECTS_AT_ONCE: 100,
  /** From a timeline's last record on: no configuration removes it sooner. */
  RETENTION_LEAST_MS: 3_600_000,
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
  /** A session whose end is recorded is summed up so long after its last record; one that just stopped, after the other. */
  END_SETTLE_MS: 1_000,
  END_SILENT_MS: 600_000,
  /** Summed up in one sweep. */
  SUMMARIES_AT_ONCE: 32,
  /** How often tenants' configurations are read again. */
  TENANTS_FRESH_MS: 5_000,
  /** Webhooks of a tenant that wait; more are dead at once. */
  WEBHOOK_QUEUE_MAX: 10_000,
  /** Calls under way, all in all and of one tenant. */
  WEBHOOK_CALLS_MAX: 16,
  WEBHOOK_TENANT_CALLS_MAX: 4,
  WEBHOOK_DEADLINE_MS: 10_000,
  /** Of a call that nobody told the outcome of. */
  WEBHOOK_LEASE_MS: 60_000,
  /** From one attempt to the next, a little more or less; after the last the webhook is dead. */
  WEBHOOK_RETRY_MS: [5_000, 30_000, 120_000, 600_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000],
  WEBHOOK_JITTER: 0.2,
  /** Finished webhooks are forgotten after this. */
  WEBHOOK_KEPT_MS: 2_592_000_000,
  WEBHOOK_FORGET_EVERY_MS: 600_000,
  VERIFY_FAULTS_MAX: 1_000,
  VERIFY_LOSSES_MAX: 256,
} as const;

invariant(limits.READ_BYTES_MAX < limits.RECORD_BYTES_MAX, "a record past the batch's size travels alone");
