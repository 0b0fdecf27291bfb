/**
 * Every bound of the kernel, by name, and the relations that must hold among them. A number that bounds something and is
 * not here is a mistake. Units stand last in the name; `_MAX` without a unit counts items.
 */
import { invariant } from "@rspp/base/invariant";

// Stepping (kernel.md §1, §4).
/** Inputs one step takes in; what is ready beyond them waits for the next poll. */
export const BATCH_INPUTS_MAX = 256;
/** Items dispatched per step, so that one session cannot hold the core. */
export const QUANTUM_DISPATCHES = 64;
/** Telemetry items dispatched per step once Control and Data are empty. */
export const TELEMETRY_SHARE = 4;
/** Telemetry samples of nodes that wait for their share; more are dropped and counted. */
export const TELEMETRY_QUEUED_MAX = 128;

// Turns (kernel.md §2).
/** Turns not yet closed and settled; the next proposal is queued, dropped or refused by policy. */
export const OPEN_TURNS_MAX = 8;
export const QUEUED_PROPOSALS_MAX = 4;
export const INVOCATIONS_PER_TURN_MAX = 16;
/** The least time of an attempt that follows another; one that cannot have it is not made. */
export const ATTEMPT_MIN_MS = 250;
/** Before the first retry; twice as long before each other one. */
export const RETRY_WAIT_MS = 60;
/** Chunks of a closed turn's language model that are kept for a new proposal. */
export const LATE_TEXT_CHUNKS_MAX = 64;
/** Chunks a speculation may hold before it is given up. */
export const SPECULATION_CHUNKS_MAX = 512;
/** A provider stream that has begun and then stays silent this long while more is due is taken for dead (F3). */
export const PROVIDER_IDLE_MS = 5_000;
/** Beyond its endpoint silence: an utterance whose voice activity stops coming (silent transport, dead VAD) ends then. */
export const UTTERANCE_STALL_MS = 1_500;
/** Output is held on a mere candidate of speech for this long at most: voice activity may stop coming. */
export const OUTPUT_HOLD_MS_MAX = 1_500;
/** Parts of the conversation kept in the session; the oldest leave first. */
export const CONVERSATION_PARTS_MAX = 256;
/** What an adapter may round off what it played to the end. */
export const PLAYED_ROUNDING_US_MAX = 20_000;
/** Time one character is taken to need in speech while the voice's own pace is not known: rather slow, so that less counts as heard. */
export const SPEECH_CHAR_US = 60_000;
/** A committed turn whose delivery reports stay away this long is settled as lost. */
export const DELIVERY_SETTLE_MS = 5_000;
/** Default of a session's reconnect deadline (session-config). */
export const RECONNECT_MS = 10_000;
/** Share of the words heard last that the agent is just saying, from which on they are its echo; thousandths. */
export const ECHO_MIN_SHARE = 800;
/** Words heard last that are compared, and clauses said last they are compared with. */
export const ECHO_WORDS_MAX = 8;
export const ECHO_CLAUSES_MAX = 4;
/** Where only the echo guard waits for words: longer speech without any interrupts. */
export const GUARD_WAIT_MS = 700;
/** A summary of the history that is not written by then is given up; parts that wait for one. */
export const SUMMARY_MS_MAX = 15_000;
export const SUMMARY_PARTS_MAX = 64;
/** From the wish to hang up until the session ends though its last turn is still being heard. */
export const HANG_UP_MS_MAX = 120_000;
/** From the start of draining until the session is ended whatever is still open. */
export const DRAIN_MS = 10_000;

/** Caller frames between two tellings of which audio is no longer needed. */
export const CALLER_RELEASE_FRAMES_MAX = 8;

// Edges (kernel.md §5).
/** Route decisions that one conditional edge tells in a turn; further flips are counted. */
export const ROUTE_DECISIONS_PER_TURN_MAX = 16;
/** Sequences that the lineage of a merged event names; the rest is counted. */
export const MERGED_FROM_MAX = 16;
/** Dropped groups that an edge of a sync domain remembers, to drop their late members too. */
export const SYNC_DROPPED_MAX = 64;
/** Losses of one step that an edge of a sync domain tells one by one. */
export const SYNC_LOST_MAX = 64;
/** Deliveries over which the longest wait on a measured edge is taken. */
export const EDGE_WAIT_DELIVERIES_MAX = 50;

// Text nodes (F-010).
/** Events one merge holds while it waits for its other inputs; the earliest goes on when another comes. */
export const MERGE_HELD_MAX = 64;
/** Longest bounded wait of a merge. */
export const MERGE_WAIT_MS_MAX = 5_000;
/** Invocations one translator opens in a turn; the last takes all that is left. */
export const TRANSLATIONS_PER_TURN_MAX = 8;
/** Invocations of a turn that translators leave to the other nodes. */
export const TRANSLATOR_LEAVES_MAX = 4;
/** Characters a run of digits and separators is looked at as one number; the same bound for what a number may hold back. */
export const SCREEN_NUMBER_CHARS_MAX = 48;
/** Characters of an e-mail address before and after its @. */
export const SCREEN_EMAIL_CHARS_MAX = 64;
/** Characters of one word or phrase of a list, and entries of it. */
export const SCREEN_WORD_CHARS_MAX = 64;
export const SCREEN_WORDS_MAX = 64;
/** Audit events of one compliance node in a turn; what comes after them is told in one at its end. */
export const SCREEN_AUDITS_PER_TURN_MAX = 32;
/** Digits one input holds; the next one proposes what was collected. */
export const KEYPAD_DIGITS_MAX = 32;
/** Characters of one `dtmf` control that are read. */
export const KEYPAD_FIELD_CHARS_MAX = 64;

// Tools.
/** Calls of one turn that are run, and that are taken in at all; the rest are answered with an error, or not at all. */
export const TOOL_CALLS_PER_TURN_MAX = 8;
export const TOOL_CALLS_ASKED_MAX = 16;
export const TOOL_ROUNDS_MAX = 4;
/** Invocations of a turn that tools leave to the model's next answers and the voice. */
export const TOOL_LEAVES_MAX = 3;
/** Of a call's id and name, as the model wrote them. */
export const TOOL_CALL_NAME_CHARS_MAX = 128;
export const TOOL_ARGUMENTS_CHARS_MAX = 16_384;
export const TOOL_RESULT_BYTES_MAX = 65_536;
/** Of one result, and of one call's arguments, that the conversation keeps. */
export const TOOL_HISTORY_CHARS_MAX = 2_000;
/** What one outcome that comes after its turn takes as evidence. */
export const TOOL_LATE_BYTES_MAX = 2_048;

// Cancellation and fence (kernel.md §6).
/** Turns the fence tells apart. Full: the floor rises past the lowest, which fails closed. */
export const FENCE_ENTRIES_MAX = 16;
/** Default of the longest rest of the clause in flight under a soft cancel (F-041). */
export const SOFT_CANCEL_LIMIT_MS = 500;
/** How long a node may ignore a cancel before it is stopped. */
export const CANCEL_GRACE_MS = 75;
/** Failures of a session's own host nodes: the first of each so many is told. */
export const NODE_ERRORS_UNTOLD_MAX = 50;

// Custom nodes (F-012, F-037, F-134).
/** Beyond the time a node's host has for a hook, before the host itself is taken for dead. */
export const HOST_SLACK_MS = 100;
/** What a host may need before `init`: a thread, a process or a connection. */
export const HOST_START_MS = 3_000;
/** A session's node that died is opened again after this, twice as long each time. */
export const NODE_RESTART_MS = 100;
/** Restarts in a row; then the node is given up. */
export const NODE_RESTARTS_MAX = 5;
/** An instance that held this long starts a new row. */
export const NODE_SETTLED_MS = 60_000;
/** Longest a stop hook may hold up the end of its session. */
export const SESSION_END_HOOK_MS = 500;
/** How long a positioned control message waits for the media before it. */
export const POSITIONED_WAIT_MS = 40;
/** Positioned control messages waiting at once; the oldest acts, marked, when another comes. */
export const POSITIONED_WAITING_MAX = 16;

// Identity (F-158).
/** Idempotency keys remembered per session; the oldest is forgotten. */
export const DEDUPE_KEYS_MAX = 1_024;
/** Idempotency keys that a successor still knows. */
export const DURABLE_KEYS_MAX = 128;
/** An onset of speech is noticed no later than this after it began, microseconds. */
export const TAKEOVER_ONSET_US = 600_000;
/** Sources (adapter lanes) with a high-water mark; the oldest is forgotten. */
export const DEDUPE_SOURCES_MAX = 64;

// Time (kernel.md §10).
/** Media and monotonic time may part by this much before the mapping is rebased. */
export const MAX_SKEW_MS = 200;
/** The minimum delay is taken over one to two of these windows, so that clock drift is followed. */
export const TIMEBASE_WINDOW_MS = 10_000;
/** Rounding that a sample-counting adapter may show; more overlap is media time running backwards. */
export const MEDIA_OVERLAP_TOLERANCE_US = 1_000;
/** Longest duration of one media event. */
export const MEDIA_EVENT_US_MAX = 10_000_000;

// Recording pressure (kernel.md §11, F-176).
export const RECORDING_L1_FILL = 0.8;
export const RECORDING_L0_FILL = 0.9;
export const RECORDING_SUSTAIN_MS = 500;
export const RECORDING_L1_LAG_MS = 2_000;
export const RECORDING_L0_LAG_MS = 5_000;
export const RECORDING_CALM_MS = 10_000;

// Evidence (kernel.md §11). Bytes are of canonical JSON; longer strings are cut and counted when sealed.
/** One string value, as JSON without its quotes. */
export const EVIDENCE_STRING_BYTES_MAX = 128;
/** One `"key":value,` with the longest key in use and a string or number at its bound. */
export const EVIDENCE_FIELD_BYTES_MAX = 32 + EVIDENCE_STRING_BYTES_MAX + 6;
/** Scalar fields of a manifest, those of its fixed sub-objects included. */
export const EVIDENCE_SCALARS_MAX = 72;
export const EVIDENCE_INVOCATION_FIELDS_MAX = 10;
export const EVIDENCE_ORDERING_MARKERS_MAX = 16;
export const EVIDENCE_ORDERING_FIELDS_MAX = 3;
export const EVIDENCE_NONDETERMINISTIC_MAX = 64;
export const EVIDENCE_NONDETERMINISTIC_FIELDS_MAX = 4;
/** Scalar fields of a delivery addendum. */
export const EVIDENCE_ADDENDUM_FIELDS_MAX = 24;
/** Scalar fields of the append_failed record that T9 leaves. */
export const EVIDENCE_T9_FIELDS_MAX = 12;

/** Braces and comma around one list item, and the key of the list. */
const listItemBytes = 4;
const listBytes = 48;
const list = (items: number, fields: number): number =>
  listBytes + items * (listItemBytes + fields * EVIDENCE_FIELD_BYTES_MAX);

/** A sealed manifest, at worst, terminal included. */
export const EVIDENCE_MANIFEST_BYTES_MAX =
  EVIDENCE_SCALARS_MAX * EVIDENCE_FIELD_BYTES_MAX +
  list(INVOCATIONS_PER_TURN_MAX, EVIDENCE_INVOCATION_FIELDS_MAX) +
  list(EVIDENCE_ORDERING_MARKERS_MAX, EVIDENCE_ORDERING_FIELDS_MAX) +
  list(EVIDENCE_NONDETERMINISTIC_MAX, EVIDENCE_NONDETERMINISTIC_FIELDS_MAX);
export const EVIDENCE_ADDENDUM_BYTES_MAX = list(1, EVIDENCE_ADDENDUM_FIELDS_MAX);
export const EVIDENCE_T9_BYTES_MAX = list(1, EVIDENCE_T9_FIELDS_MAX);
/** What `turn_open` reserves: manifest with terminal, the T9 record and the delivery addendum, each at its worst. */
export const EVIDENCE_TURN_BYTES_MAX =
  EVIDENCE_MANIFEST_BYTES_MAX + EVIDENCE_ADDENDUM_BYTES_MAX + EVIDENCE_T9_BYTES_MAX;
/** Default quota of one session: every turn that may be unsettled at once, twice over. */
export const EVIDENCE_QUOTA_BYTES = 2 * OPEN_TURNS_MAX * EVIDENCE_TURN_BYTES_MAX;

invariant(QUANTUM_DISPATCHES <= BATCH_INPUTS_MAX, "a step dispatches no more than a batch can hold");
invariant(TELEMETRY_SHARE < QUANTUM_DISPATCHES, "telemetry has only a share of the quantum (kernel.md §4)");
invariant(
  FENCE_ENTRIES_MAX >= OPEN_TURNS_MAX + QUEUED_PROPOSALS_MAX,
  "every open turn and proposal has its fence entry",
);
invariant(
  TRANSLATIONS_PER_TURN_MAX + TRANSLATOR_LEAVES_MAX <= INVOCATIONS_PER_TURN_MAX,
  "translators leave room for the other invocations of a turn",
);
invariant(
  TOOL_CALLS_PER_TURN_MAX + TOOL_ROUNDS_MAX + TOOL_LEAVES_MAX <= INVOCATIONS_PER_TURN_MAX,
  "tools leave room for the answers of the model and the voice",
);
invariant(POSITIONED_WAITING_MAX <= BATCH_INPUTS_MAX, "waiting control fits one batch");
invariant(POSITIONED_WAIT_MS < CANCEL_GRACE_MS, "a positioned message has acted before a cancelled node is stopped");
invariant(SESSION_END_HOOK_MS + HOST_SLACK_MS < 1_000, "stop hooks are over before a session is ended by force");
invariant(CANCEL_GRACE_MS < DELIVERY_SETTLE_MS, "a cancelled node is stopped before its delivery is given up");
invariant(DELIVERY_SETTLE_MS < DRAIN_MS, "draining outlasts the settlement of the last turn");
invariant(POSITIONED_WAIT_MS < MAX_SKEW_MS, "waiting for media does not look like skew");
invariant(MAX_SKEW_MS < TIMEBASE_WINDOW_MS, "the delay window is long against the skew it bounds");
invariant(RECORDING_L1_FILL < RECORDING_L0_FILL, "pressure lowers L2 before L1");
invariant(RECORDING_L1_LAG_MS < RECORDING_L0_LAG_MS, "lag lowers L2 before L1");
invariant(RECORDING_SUSTAIN_MS < RECORDING_CALM_MS, "levels fall faster than they rise");
invariant(EVIDENCE_STRING_BYTES_MAX >= 64, "a hash in hex is never cut");
invariant(EVIDENCE_QUOTA_BYTES >= OPEN_TURNS_MAX * EVIDENCE_TURN_BYTES_MAX, "every open turn can have its reservation");
invariant(DEDUPE_KEYS_MAX >= BATCH_INPUTS_MAX, "a batch cannot push its own keys out of the window");
