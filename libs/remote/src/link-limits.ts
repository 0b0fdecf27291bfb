import { invariant } from "@rspp/base/invariant";
import { limits as protocol } from "@rspp/protocol/limits";

/** Every bound of sessions over links, units last; those of the link machine stand in `libs/protocol`. */
export const limits = {
  /** An opening, both sides: from the bind to its answer. */
  LINK_OPEN_DEADLINE_MS: 8_000,
  /** A link that is not up within this counts as away. */
  LINK_READY_MS: 3_000,
  LINKS_PER_RUNTIME_MAX: 4,
  /** Runtimes to which a link is held before a session needs it. */
  LINKS_WARM_MAX: 16,
  /** A runtime that left the routing view and holds no session of ours loses its links after this. */
  LINK_IDLE_CLOSE_MS: 60_000,
  LINK_SWEEP_MS: 10_000,

  /** A closing session waits so long for credit, so that its last words are heard. */
  LINK_CLOSE_DRAIN_MS: 5_000,
  LINK_CLOSE_LOOK_MS: 5,
  /** Media that overtook the answer to an opening on its own connection, per binding. */
  LINK_EARLY_ITEMS_MAX: 1_024,
  /** Fences whose acknowledgement is outstanding, per session. */
  LINK_FENCES_KEPT_MAX: 64,
  /** Epochs announced to an adapter that has not bound them yet. */
  LINK_FLOORS_KEPT_MAX: 8,
  /** Turns of which an adapter remembers the last frame, to know resent ones. */
  LINK_TURNS_KEPT_MAX: 64,
  /** Control kept for resending, per session and direction; past it a session that loses its link ends. */
  LINK_CONTROL_KEPT_MAX: 1_024,

  /** Signals a successor is told again, per session. */
  LINK_ACTED_KEPT_MAX: 64,

  // --- going on on another runtime (kernel.md §7) ---
  /** A lost pair that is not back within it: the session goes on elsewhere. A refused dial says so at once. */
  FAILOVER_AFTER_MS: 1_500,
  FAILOVER_AFTER_MS_MAX: 30_000,
  /** Between looks at whether the runtime takes dials. */
  FAILOVER_LOOK_MS: 50,
  /** Between tries to find another runtime. */
  FAILOVER_RETRY_MS: 250,
  /** One try: placement, grant, opening. */
  FAILOVER_TRY_MS: 4_000,
  /** All tries of one loss: the caller's own connection stands, and a busy fleet may need long. */
  FAILOVER_SEARCH_MS: 30_000,
  /** Runtimes that did not take a session are left out of its next tries. */
  FAILOVER_AVOIDED_MAX: 8,
  /** Caller audio is said again at twenty times its pace, so that no queue of the successor overflows. */
  TAKEOVER_FRAMES_AT_ONCE: 50,
  TAKEOVER_PAUSE_MS: 50,
  /** Of a turn's words; what was captured while it opened may belong to the next. */
  TAKEOVER_MARGIN_FRAMES: 50,

  /** How long a session looks for a new pair, unless the runtime says otherwise. */
  LINK_REATTACH_MS: 10_000,
  LINK_REATTACH_PAUSE_MS: 100,
  /** How long a runtime keeps a session whose adapter is away, at most. */
  LINK_HELD_MS_MAX: protocol.REATTACH_DEADLINE_MS,

  /** A registry that is away does not stop openings for so long (kernel.md §7: hard bounds apply to new sessions). */
  VIEW_SERVED_STALE_MS: 300_000,
  /** Between two looks at the registry for an id it does not know. */
  VIEW_REFRESH_EVERY_MS: 250,
  VIEW_STALENESS_DEFAULT_MS: 5_000,

  /** Keys of the lease service are fetched again for an unknown id at most this often. */
  GRANT_KEYS_REFRESH_MS: 5_000,

  /** A larger frame of the agent travels in parts, each well within one event of a link. */
  LINK_PART_BYTES: 49_152,
  LINK_PART_AUDIO_US: 1_000_000,
  LINK_PARTS_MAX: 32,

  // --- the contract's bounds, checked here where the general rules would cost too much per frame ---
  LINK_RECONNECT_SAID_MS_MAX: 3_600_000,
  UINT32_MAX: 0xffff_ffff,
  AUDIO_DURATION_US_MAX: 10_000_000,
  DEBUG_CHARS_MAX: 1_024,
  NOTE_FIELDS_MAX: 32,
} as const;

invariant(limits.LINK_OPEN_DEADLINE_MS < 10_000, "an adapter's opener answers before its transport gives up");
invariant(
  limits.LINK_REATTACH_MS <= protocol.REATTACH_DEADLINE_MS,
  "a session is looked for no longer than it is kept",
);
