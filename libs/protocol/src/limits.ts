import { invariant } from "@rspp/base/invariant";

/**
 * Every bound of the protocol machines, units last. A machine takes none of these numbers from anywhere else, so that
 * the simulator and the drivers run under the same ones (style.md, habit 3).
 */
export const limits = {
  // --- link: sessions ---
  /** Sessions bound on one pair; a bind past it is refused with `sessions_full`. */
  LINK_SESSIONS_MAX: 2_000,
  /** A bind not answered by the peer within this breaks its session. */
  LINK_BIND_DEADLINE_MS: 5_000,
  /** From the first connection of an incarnation to the second; then the pair is dead. */
  LINK_PAIR_UP_DEADLINE_MS: 5_000,
  /** Frames held for references whose bind has not arrived, over the whole link. */
  LINK_UNKNOWN_REF_ITEMS_MAX: 1_024,
  LINK_UNKNOWN_REF_BYTES_MAX: 1_048_576,
  /** How long such a frame waits for its bind before it is refused. */
  LINK_UNKNOWN_REF_WAIT_MS: 1_000,
  /** Control frames made while the pair is not fully up; past it the pair dies, since control is never dropped. */
  LINK_CONTROL_OUT_ITEMS_MAX: 8_192,
  /** Fences kept per session, one per turn; past it the oldest turns are fenced as a whole. */
  LINK_FENCES_PER_SESSION_MAX: 32,

  // --- link: lanes and credits ---
  LINK_REORDER_ITEMS_MAX: 64,
  /** A hole in a lane is waited for this long, then declared a gap. Below POSITIONED_WAIT_MS, so that a hole alone never forces a positioned message. */
  LINK_REORDER_HOLD_MS: 20,
  LINK_DATA_QUEUE_ITEMS_MAX: 1_024,
  LINK_DATA_QUEUE_BYTES_MAX: 1_048_576,
  /** Audio that may wait for credit in one session and direction. */
  LINK_DATA_QUEUE_AUDIO_US_MAX: 30_000_000,
  LINK_TELEMETRY_QUEUE_ITEMS_MAX: 64,
  /** Telemetry frames one flush sends per session: its bounded share (kernel.md §4). */
  LINK_TELEMETRY_PER_FLUSH_MAX: 8,
  /** Credit both ends take as granted when a session is bound. */
  LINK_CREDIT_INITIAL_AUDIO_US: 1_000_000,
  LINK_CREDIT_INITIAL_BYTES: 131_072,
  /** Default window: what may be sent and not yet consumed by the receiving application. */
  LINK_CREDIT_WINDOW_AUDIO_US: 5_000_000,
  LINK_CREDIT_WINDOW_BYTES: 524_288,
  /** One event; larger ones are refused by `send`. */
  LINK_EVENT_AUDIO_US_MAX: 1_000_000,
  LINK_EVENT_BYTES_MAX: 65_536,
  /** Credit freed beyond this share of the window is told at once, not at the next receipt. */
  LINK_GRANT_AT_WINDOW_DIVISOR: 4,
  LINK_RECEIPT_EVERY_MS: 100,
  /** Entries in one receipt frame. */
  LINK_RECEIPT_ENTRIES_MAX: 256,

  // --- link: control and flush ---
  /** kernel.md §6: a positioned message waits for its media this long, then acts, marked `forced`. */
  POSITIONED_WAIT_MS: 40,
  POSITIONED_WAITING_ITEMS_MAX: 256,
  /** architecture.md, decision 5: steady media may be batched this long under load. */
  FLUSH_BATCH_MS: 3,

  // --- lease ---
  /** kernel.md §7: terms are long because safety does not rest on them. */
  LEASE_TERM_MS: 60_000,
  LEASE_RENEW_MS: 5_000,
  /** The holder counts its deadline this much short of the term, against drift between two monotonic clocks. */
  LEASE_CLOCK_MARGIN_MS: 1_000,
  /** How long a holder goes on past its deadline while the lease service is known to be out (kernel.md §7). */
  LEASE_OVERRUN_MS: 3_600_000,
  /** An unanswered announcement of a new floor is repeated after this. */
  LEASE_ANNOUNCE_RETRY_MS: 250,
  /** A session that moves names those of the runtimes it leaves, too: three a move, with a place for their kinds. */
  LEASE_RECEIVERS_MAX: 96,
  LEASE_GRANTOR_SESSIONS_MAX: 100_000,
  RECEIVER_SESSIONS_MAX: 10_000,
  /** Ended sessions a receiver remembers one by one; older ones are covered by a serial below which grants are refused. */
  RECEIVER_TOMBSTONES_MAX: 1_024,

  // --- export ---
  EXPORT_STREAMS_MAX: 4_096,
  /** Records sent and not acknowledged, over all streams of one exporter. */
  EXPORT_WINDOW_RECORDS: 1_024,
  EXPORT_WINDOW_BYTES: 4_194_304,
  EXPORT_BATCH_RECORDS: 128,
  /** Record headers one stream keeps in memory; past it the stream is `behind` and reads back from the spool. */
  EXPORT_BUFFER_RECORDS: 512,
  EXPORT_LOAD_RECORDS: 256,
  EXPORT_ACK_TIMEOUT_MS: 5_000,
  /** Chain values a server keeps per stream, to compare a duplicate with what was stored. */
  EXPORT_SERVER_RECENT_RECORDS: 256,

  // --- reattach ---
  REATTACH_DEADLINE_MS: 30_000,
  REPLAY_ITEMS_MAX: 2_048,
  REPLAY_BYTES_MAX: 2_097_152,
  REPLAY_AGE_MS: 30_000,
  /** Entries kept to be filled anew. */
  REPLAY_SPARE_ITEMS_MAX: 64,
  /** kernel.md §7: the caller's audio since the last commit, at most. */
  CALLER_AUDIO_US_MAX: 30_000_000,
  CALLER_AUDIO_BYTES_MAX: 6_291_456,
  CALLER_AUDIO_ITEMS_MAX: 4_096,

  // --- snapshots ---
  /** A watcher is told so often that its snapshots are current still. */
  SNAPSHOT_UNCHANGED_EVERY_MS: 2_000,
  /** Past it a snapshot is stale: used as last good, and marked so. */
  SNAPSHOT_FRESH_MS: 15_000,
  /** Past these nothing new is begun under a snapshot of the kind (kernel.md §7). */
  SNAPSHOT_ROUTING_HOLD_MS: 300_000,
  SNAPSHOT_POLICY_HOLD_MS: 900_000,
  SNAPSHOT_ROLLOUT_HOLD_MS: 900_000,
  SNAPSHOT_ADMISSION_HOLD_MS: 900_000,
  SNAPSHOT_HEALTH_HOLD_MS: 30_000,
  /** Content of one snapshot: with its frame below the largest message. */
  SNAPSHOT_BYTES_MAX: 4_128_768,
} as const;

export type Limits = { readonly [K in keyof typeof limits]: number };

/**
 * Asserts the relations among the bounds; runs once when this module is loaded, and in a test over altered copies.
 * @throws InvariantError naming the relation that does not hold.
 */
export function assertLimits(l: Limits): void {
  for (const [name, value] of Object.entries(l)) {
    invariant(Number.isSafeInteger(value) && value > 0, "every bound is a positive safe integer", { name, value });
  }
  assertLinkLimits(l);
  invariant(l.LEASE_TERM_MS >= 60_000, "kernel.md §7: lease terms are at least 60 s");
  invariant(l.LEASE_RENEW_MS * 3 < l.LEASE_TERM_MS, "three renewals may fail before a term ends");
  invariant(
    l.LEASE_RENEW_MS + l.LEASE_CLOCK_MARGIN_MS < l.LEASE_TERM_MS,
    "a renewal comes before the holder's own deadline",
  );
  invariant(l.LEASE_ANNOUNCE_RETRY_MS < l.LEASE_RENEW_MS, "announcements are repeated sooner than leases are renewed");
  invariant(l.EXPORT_BATCH_RECORDS <= l.EXPORT_WINDOW_RECORDS, "a batch fits the export window");
  invariant(l.EXPORT_LOAD_RECORDS <= l.EXPORT_BUFFER_RECORDS, "what is read back fits the buffer");
  invariant(
    l.REPLAY_AGE_MS >= l.REATTACH_DEADLINE_MS,
    "events stay for replay as long as a client may take to come back",
  );
  invariant(l.CALLER_AUDIO_US_MAX <= 30_000_000, "kernel.md §7: at most 30 s of caller audio are kept for a takeover");
  invariant(l.SNAPSHOT_UNCHANGED_EVERY_MS * 3 < l.SNAPSHOT_FRESH_MS, "three words of the registry may fail to come");
  const holds = [
    l.SNAPSHOT_ROUTING_HOLD_MS,
    l.SNAPSHOT_POLICY_HOLD_MS,
    l.SNAPSHOT_ROLLOUT_HOLD_MS,
    l.SNAPSHOT_ADMISSION_HOLD_MS,
    l.SNAPSHOT_HEALTH_HOLD_MS,
  ];
  invariant(Math.min(...holds) > l.SNAPSHOT_FRESH_MS, "a snapshot is stale before it is too stale");
}

function assertLinkLimits(l: Limits): void {
  invariant(l.POSITIONED_WAIT_MS <= 40, "kernel.md §6: a positioned message waits 40 ms at most");
  invariant(l.LINK_REORDER_HOLD_MS < l.POSITIONED_WAIT_MS, "a hole is declared before a positioned message is forced");
  invariant(l.FLUSH_BATCH_MS <= 3, "architecture.md, decision 5: media is batched 3 ms at most");
  invariant(
    l.LINK_CREDIT_INITIAL_AUDIO_US <= l.LINK_CREDIT_WINDOW_AUDIO_US,
    "initial audio credit is inside the window",
  );
  invariant(l.LINK_CREDIT_INITIAL_BYTES <= l.LINK_CREDIT_WINDOW_BYTES, "initial byte credit is inside the window");
  // An event that could never be paid for would block its lane for good.
  invariant(
    l.LINK_EVENT_AUDIO_US_MAX <= l.LINK_CREDIT_INITIAL_AUDIO_US,
    "the largest event fits the initial audio credit",
  );
  invariant(l.LINK_EVENT_BYTES_MAX <= l.LINK_CREDIT_INITIAL_BYTES, "the largest event fits the initial byte credit");
  invariant(l.LINK_EVENT_AUDIO_US_MAX <= l.LINK_DATA_QUEUE_AUDIO_US_MAX, "the largest event fits the queue");
  invariant(l.LINK_EVENT_BYTES_MAX <= l.LINK_DATA_QUEUE_BYTES_MAX, "the largest event fits the queue");
  invariant(
    l.LINK_TELEMETRY_PER_FLUSH_MAX <= l.LINK_TELEMETRY_QUEUE_ITEMS_MAX,
    "telemetry's share of a flush is no more than its queue",
  );
}

assertLimits(limits);
