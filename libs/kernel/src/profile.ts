/**
 * Named execution profiles (F-078): where a value comes from when a PipelineSpec leaves it out (`kernel.md` §3, §5).
 * A profile never changes once released; a changed value is a new version (`simple/v2`).
 */
import type { Result } from "@rspp/base/result";
import { err, ok } from "@rspp/base/result";
import type { BufferSpec, NodeKind, PortType, Settings } from "./graph.ts";
import { CANCEL_GRACE_MS, RECONNECT_MS } from "./limits.ts";
import type { Budgets, RecordingConfig, SessionPolicy } from "./session-config.ts";

/** What an edge of one port type gets when its spec says nothing. */
export type BufferDefaults = Readonly<Record<PortType, BufferSpec>>;

export interface ExecutionProfile {
  /** Name with version, e.g. `simple/v1`. */
  name: string;
  /** Written as the source of each value taken from here. */
  source: string;
  /** Milliseconds. */
  budgets: Budgets;
  /** `signal`: flow_xoff and flow_xon (`kernel.md` §5). */
  flowControl: "signal";
  /** What overload may do to each lane; `by_edge` is the edge's own BufferSpec. */
  lanes: { control: "never_dropped"; data: "by_edge"; telemetry: "sampled" };
  recording: Pick<RecordingConfig, "policyId" | "ceiling">;
  policy: SessionPolicy;
  /** Milliseconds of audio the output may run ahead of playout. */
  outputLeadMs: number;
  /** Settings a node of the kind starts from; kinds without settings are absent. */
  nodeSettings: Readonly<Partial<Record<NodeKind, Settings>>>;
  /** Edges by the scope of the node they leave: what a caller says is live, what a turn produces must not lose a word. */
  buffers: { session: BufferDefaults; turn: BufferDefaults };
  /** For an edge whose spec asks for `block` and no `max_block_ms`, milliseconds. */
  blockMs: number;
}

/** A known profile that this release does not run. */
export interface ProfileRefused {
  kind: "refused";
  name: string;
  /** The reason. */
  refused: string;
  /** What to do instead. */
  remedy: string;
}

/** A name no release knows. */
export interface ProfileUnknown {
  kind: "unknown";
  name: string;
  known: readonly string[];
  remedy: string;
}

export type ProfileError = ProfileRefused | ProfileUnknown;

/** The source string of values derived from a profile (`kernel.md` §3). */
export function profileSource(name: string): string {
  return `defaulting_source=execution_profile/${name}`;
}

const SIMPLE = "simple/v1";
const SOURCE = profileSource(SIMPLE);
const KIB = 1024;
const MIB = 1024 * KIB;
const BLOCK_MS = 2000;

/** Text and messages have no media time; this only keeps a forgotten queue from being endless. */
const TURN_QUEUE_MS = 120_000;

function dropOldest(maxItems: number, maxQueueMs: number, maxBytes: number): BufferSpec {
  return { maxItems, maxBytes, maxQueueMs, strategy: "drop_oldest", maxBlockMs: 0, source: SOURCE };
}

function block(maxItems: number, maxQueueMs: number, maxBytes: number): BufferSpec {
  return { maxItems, maxBytes, maxQueueMs, strategy: "block", maxBlockMs: BLOCK_MS, source: SOURCE };
}

/** A newer partial replaces an older one of the same segment; finals stay. */
function coalesce(maxItems: number, maxQueueMs: number, maxBytes: number): BufferSpec {
  return { maxItems, maxBytes, maxQueueMs, strategy: "coalesce", maxBlockMs: 0, source: SOURCE };
}

const simpleV1: ExecutionProfile = {
  name: SIMPLE,
  source: SOURCE,
  budgets: { turnFirstOutputMs: 2000, nodeSoftMs: 800, providerAttemptMs: 1000, cancelGraceMs: CANCEL_GRACE_MS },
  flowControl: "signal",
  lanes: { control: "never_dropped", data: "by_edge", telemetry: "sampled" },
  recording: { policyId: "recording/L0", ceiling: "L0" },
  policy: {
    id: "policy/simple",
    secondProposal: "preempt",
    bargeIn: true,
    holdOnCandidate: false,
    lateEvents: "drop",
    speculation: false,
    finalWaitMs: 1500,
    reconnectMs: RECONNECT_MS,
    historyPartsMax: 64,
  },
  outputLeadMs: 200,
  nodeSettings: {
    vad: { silero: "auto" },
    endpointing: {
      onset_frames: 2,
      min_speech_ms: 120,
      candidate_silence_ms: 200,
      endpoint_silence_ms: 500,
      max_utterance_ms: 30_000,
      speculate_ms: 250,
      preroll_ms: 300,
    },
    segmenter: { first_min_chars: 12, min_chars: 24, max_chars: 160 },
  },
  buffers: {
    session: {
      audio: dropOldest(100, 1000, MIB),
      text: coalesce(64, 10_000, 256 * KIB),
      activity: dropOldest(100, 2000, 64 * KIB),
      utterance: block(16, TURN_QUEUE_MS, 256 * KIB),
      messages: block(16, TURN_QUEUE_MS, MIB),
    },
    turn: {
      audio: block(6000, 120_000, 8 * MIB),
      text: block(1024, TURN_QUEUE_MS, MIB),
      activity: dropOldest(100, 2000, 64 * KIB),
      utterance: block(16, TURN_QUEUE_MS, 256 * KIB),
      messages: block(16, TURN_QUEUE_MS, MIB),
    },
  },
  blockMs: BLOCK_MS,
};

/** Names reserved by the design; each has a reason of its own why it is not run yet. */
const refusedProfiles: ReadonlyMap<string, string> = new Map([
  ["balanced/v1", "its hedged provider calls and adaptive edges are not part of this release"],
  ["accuracy/v1", "its second recognition pass is not part of this release"],
  ["latency/v1", "its speculative synthesis is not part of this release"],
  ["telephony/v1", "its jitter buffer and 8 kHz rules are not part of this release"],
]);

/** Every profile name with a meaning, runnable or not. */
export const PROFILE_NAMES: readonly string[] = [SIMPLE, ...refusedProfiles.keys()];

/**
 * The profile of that name. Errors: `refused` for a known name this release does not run, `unknown` for any other;
 * both say what to do.
 */
export function resolveProfile(name: string): Result<ExecutionProfile, ProfileError> {
  if (name === SIMPLE) return ok(simpleV1);
  const refused = refusedProfiles.get(name);
  if (refused !== undefined) {
    const remedy = `use ${SIMPLE} and set the budgets, policy and buffers that matter in the spec`;
    return err({ kind: "refused", name, refused, remedy });
  }
  const remedy = `use ${SIMPLE}; known names: ${PROFILE_NAMES.join(", ")}`;
  return err({ kind: "unknown", name, known: PROFILE_NAMES, remedy });
}

/** The default buffer of an edge that carries `type` and leaves a node of `scope`. */
export function defaultBuffer(profile: ExecutionProfile, scope: "session" | "turn", type: PortType): BufferSpec {
  return profile.buffers[scope][type];
}
