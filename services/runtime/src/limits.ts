import { invariant } from "@rspp/base/invariant";

/** Every bound of the shell, units last; nothing in services/runtime takes such a number from elsewhere (style.md, habit 3). */
export const limits = {
  /** An input that waited this long for the core: the session is asked to step down (NF-006); at most this often. */
  OVERLOAD_WAIT_MS: 250,
  OVERLOAD_TELL_MS: 1_000,
  // --- sessions ---
  SESSIONS_MAX: 1_000,
  /** How long a session that was told to end may take before it is closed by force. */
  SESSION_END_FORCE_MS: 1_000,
  /** How long a session may stay without its adapter's `connected`. */
  SESSION_CONNECT_MS: 30_000,

  // --- durable state of one session (kernel.md §8) ---
  STATE_BYTES_MAX: 524_288,
  /** Changes within it are written together. */
  STATE_COALESCE_MS: 200,
  /** Without a change, so often is looked whether the caller was heard further. */
  STATE_QUIET_MS: 5_000,
  STATE_WRITE_MS_MAX: 5_000,
  STATE_RETRY_MS: 250,
  STATE_RETRY_MS_MAX: 5_000,
  /** A change that waits so long is marked in the timeline. */
  STATE_PENDING_TOLD_MS: 1_000,
  /** A successor waits so long for its predecessor's state; without it the session starts anew. */
  STATE_READ_MS: 1_500,

  // --- planned migration (kernel.md §7) ---
  /** For the open turn, where nobody says otherwise. */
  HANDOVER_DEADLINE_MS: 10_000,
  /** How long an operator may have a session captured. */
  CAPTURE_MIN_MS: 1_000,
  CAPTURE_MAX_MS: 86_400_000,
  HANDOVER_LOOK_MS: 20,
  /** A turn that was cut settles within it. */
  HANDOVER_CUT_MS: 2_000,
  HANDOVER_FLUSH_MS: 3_000,
  HANDOVER_TAKEN_MS: 5_000,
  HANDOVER_AGAIN_MS: 5_000,
  /** Kept of a stop's grace for what did not go: its turns end, the timeline goes out. */
  DRAIN_FINISH_MS: 2_000,
  /** The registry is asked for other runtimes so long. */
  DRAIN_ASK_MS: 1_500,
  /** Of one instance at once. */
  HANDOVERS_MAX: 32,

  // --- input queue of one session ---
  /** Audio frames waiting for a step; past it the oldest is dropped and counted (5 s of 20 ms frames). */
  INPUT_MEDIA_ITEMS_MAX: 256,
  /** All inputs waiting; control is never dropped, so past it the session is ended. */
  INPUT_ITEMS_MAX: 16_384,
  /** What overtakes the others (kernel.md §6); past it they queue behind, still bounded by the number above. */
  INPUT_URGENT_ITEMS_MAX: 1_024,

  // --- payloads of one session ---
  PAYLOAD_BYTES_MAX: 33_554_432,
  PAYLOAD_ITEMS_MAX: 65_536,
  /** Caller audio is kept this long behind the newest frame, in media time. */
  CALLER_AUDIO_KEPT_US: 2_000_000,
  CALLER_AUDIO_ITEMS_MAX: 1_024,
  /** Turns whose release is remembered, to free payloads that arrive late. */
  RELEASED_TURNS_MAX: 32,

  // --- ingress validation ---
  INGRESS_AUDIO_BYTES_MAX: 65_536,
  INGRESS_AUDIO_DURATION_US_MAX: 1_000_000,
  INGRESS_NAME_CHARS_MAX: 64,
  INGRESS_REASON_CHARS_MAX: 256,
  INGRESS_KEY_CHARS_MAX: 128,
  INGRESS_FIELDS_MAX: 16,
  INGRESS_FIELD_CHARS_MAX: 256,
  INGRESS_RATE_HZ_MAX: 48_000,
  INGRESS_CHANNELS_MAX: 2,
  SAY_CHARS_MAX: 4_000,
  TEXT_CHARS_MAX: 65_536,

  // --- provider chunks ---
  CHUNK_AUDIO_BYTES_MAX: 1_048_576,
  CHUNK_TEXT_CHARS_MAX: 65_536,
  CHUNK_WORDS_MAX: 1_024,

  // --- custom nodes ---
  NODE_MESSAGES_MAX: 512,
  /** Session-hot state of one node: keys, and characters of each value as JSON. */
  NODE_STATE_KEYS_MAX: 64,
  NODE_STATE_CHARS_MAX: 16_384,
  /** Characters of one log text, and of a field, that are passed on. */
  NODE_LOG_CHARS_MAX: 512,

  // --- scheduler; one unit is one input or effect ---
  SCHEDULER_QUANTUM: 64,
  /** Work in one turn of the event loop; then sockets and timers get theirs. */
  SCHEDULER_TURN_UNITS_MAX: 2_048,

  // --- journal in memory ---
  JOURNAL_ENTRIES_MAX: 262_144,

  // --- spool ---
  SPOOL_SEGMENT_BYTES_MAX: 8_388_608,
  SPOOL_RECORD_BYTES_MAX: 4_194_304,
  SPOOL_SESSION_ID_BYTES_MAX: 256,
  SPOOL_DISK_BYTES_MAX: 4_294_967_296,
  /** kernel.md §11: group fsync within 50 ms; the timer leaves 10 ms for the disk. */
  SPOOL_SYNC_MS: 40,
  SPOOL_GROUP_BYTES_MAX: 65_536,
  /** One line of a group; a longer one is lost, and counted. */
  SPOOL_LINE_BYTES_MAX: 2_097_152,
  /** Journal text waiting for its group, over all sessions; past it groups are written at once. */
  SPOOL_PENDING_BYTES_MAX: 8_388_608,
  SPOOL_PRESSURE_EVERY_MS: 250,
  SPOOL_STREAMS_MAX: 65_536,

  // --- evidence that could not be appended ---
  EVIDENCE_RETRY_MS: 50,
  /** Tried for so long; then it is declared lost (kernel.md §11). */
  EVIDENCE_GIVE_UP_MS: 1_000,
  /** Records that wait; one more is declared lost. */
  EVIDENCE_HELD_ITEMS_MAX: 64,
  /** Lost records that wait for their marker; the count goes on past it. */
  EVIDENCE_LOST_ITEMS_MAX: 64,

  // --- observers ---
  OBSERVER_QUEUE_ITEMS_MAX: 1_024,
  OBSERVERS_PER_SESSION_MAX: 16,

  // --- the service: admission, lease keeping, reports, watchers ---
  /** Files in the folder of configuration layers. */
  LAYER_FILES_MAX: 1_024,
  /** Compiled pipeline versions held. */
  PIPELINES_MAX: 256,
  SESSION_VARIABLES_MAX: 64,
  SESSION_VARIABLE_NAME_CHARS_MAX: 64,
  SESSION_VARIABLE_CHARS_MAX: 4_096,
  SIM_TRANSCRIPTS_MAX: 256,
  /** Keys of tokens and grants are fetched again at most this often. */
  KEYS_REFRESH_MS: 10_000,
  /** After a fetch that failed. */
  KEYS_RETRY_MS: 500,
  /** First wait before a broken stream is opened again; it doubles up to the next number. */
  STREAM_BACKOFF_FIRST_MS: 200,
  STREAM_BACKOFF_MAX_MS: 5_000,
  /** Of one renewal; the next one is due soon after (kernel.md §7: every 5 s). */
  LEASE_CALL_MS: 4_000,
  /** Renewals that come due within this are sent in one call… */
  LEASE_BATCH_MS: 100,
  /** …and those due within this after it come along, so that they keep together from then on. */
  LEASE_BATCH_AHEAD_MS: 2_500,
  /** Leases of one keep-alive; a holder of more makes several calls. */
  LEASE_BATCH_MAX: 4_096,
  /** Single renewals under way at once, where the lease service is too old for keep-alives. */
  LEASE_ALONE_MAX: 32,
  /** Age a grant is taken for when it is shown. */
  LEASE_CONFIRM_MS: 5_000,
  /** By how much wall clocks of two machines may differ. */
  WALL_SKEW_MS: 60_000,
  /** How far ahead of its deadline a session's lease is lengthened while the lease service is away. */
  LEASE_OVERRUN_AHEAD_MS: 2_000,
  /** By how much each time. */
  LEASE_OVERRUN_STEP_MS: 10_000,
  REPORT_EVERY_MS: 1_000,
  REPORT_EVERY_MIN_MS: 100,
  REPORT_SESSIONS_MAX: 1_024,
  /** A session without news is told again: what is older than 15 s counts as stale at the registry. */
  REPORT_SESSION_AGAIN_MS: 5_000,
  /** An answer that takes longer ends the stream. */
  REPORT_ANSWER_MS: 10_000,
  /** How long a stop waits for the answer to its last report. */
  REPORT_LAST_MS: 1_000,
  /** How long a stop waits for the last of the timeline to be exported, within its grace. */
  EXPORT_LAST_MS: 2_000,
  /** How long a start looks for the gateway's stream port at the registry. */
  GATEWAY_LOOK_MS: 2_000,
  GATEWAY_LOOK_EVERY_MS: 200,
  /** Ended sessions still known by their last state. */
  ENDED_SESSIONS_KEPT_MAX: 1_024,
  LIST_SESSIONS_MAX: 1_000,
  WATCH_QUEUE_ITEMS_MAX: 1_024,
  WATCH_BATCH_ITEMS_MAX: 64,
  /** Keys of proposals and cancels remembered per session. */
  IDEMPOTENCY_KEYS_MAX: 256,
  /** How long a call waits for the event that tells what became of it. */
  PROPOSAL_TOLD_MS: 2_000,

  // --- watchdog ---
  WATCHDOG_LIMIT_MS: 10_000,
  WATCHDOG_BEAT_MS: 250,
} as const;

export type RuntimeLimits = { readonly [K in keyof typeof limits]: number };

/** @throws InvariantError naming the relation that does not hold. */
export function assertLimits(l: RuntimeLimits): void {
  for (const [name, value] of Object.entries(l)) {
    invariant(Number.isSafeInteger(value) && value > 0, "every bound is a positive safe integer", { name, value });
  }
  invariant(l.INPUT_MEDIA_ITEMS_MAX < l.INPUT_ITEMS_MAX, "media alone cannot end a session");
  invariant(l.INPUT_URGENT_ITEMS_MAX < l.INPUT_ITEMS_MAX, "what overtakes is the lesser part");
  invariant(l.INGRESS_AUDIO_BYTES_MAX * 2 <= l.PAYLOAD_BYTES_MAX, "the largest frame fits the payload store");
  invariant(l.SPOOL_SYNC_MS <= 50, "kernel.md §11: group fsync within 50 ms");
  invariant(l.SPOOL_RECORD_BYTES_MAX < l.SPOOL_SEGMENT_BYTES_MAX, "the largest record fits a segment");
  // A group that could not be written may have grown to a line's bound, and one more line may have come on top.
  const groupBytes = l.SPOOL_GROUP_BYTES_MAX + l.SPOOL_LINE_BYTES_MAX;
  invariant(groupBytes < l.SPOOL_RECORD_BYTES_MAX, "a group with one line past its bound fits a record");
  invariant(l.SCHEDULER_QUANTUM <= l.SCHEDULER_TURN_UNITS_MAX, "a quantum fits one turn of the loop");
  invariant(l.EVIDENCE_RETRY_MS * 4 <= l.EVIDENCE_GIVE_UP_MS, "evidence has several tries before it is lost");
  invariant(l.STREAM_BACKOFF_FIRST_MS <= l.STREAM_BACKOFF_MAX_MS, "waits grow");
  invariant(
    l.LEASE_OVERRUN_AHEAD_MS < l.LEASE_OVERRUN_STEP_MS,
    "a lengthened lease lasts until it is lengthened again",
  );
  invariant(l.WATCH_BATCH_ITEMS_MAX <= l.WATCH_QUEUE_ITEMS_MAX, "a batch fits the queue");
  invariant(l.REPORT_EVERY_MS <= l.REPORT_SESSION_AGAIN_MS, "a report comes before a session must be told again");
  invariant(l.WATCHDOG_BEAT_MS * 4 <= l.WATCHDOG_LIMIT_MS, "several beats fit the watchdog's limit");
}

assertLimits(limits);
