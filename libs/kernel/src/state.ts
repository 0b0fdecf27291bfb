/**
 * The whole state of one session: plain data, so that a snapshot is its canonical JSON and nothing hides in closures
 * (`kernel.md` §1, §11).
 */

import type { MonoNs, WallMs } from "@rspp/base/brand";
import { canonicalJson } from "@rspp/base/canonical-json";
import { createStream, type RandomStream } from "@rspp/base/random";
import { type Ring, ringCreate } from "@rspp/base/ring";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import { type Authority, authorityCreate } from "./authority.ts";
import type { Delivery } from "./delivery.ts";
import type {
  DialogueSession,
  DialogueTurn,
  GuardedHearing,
  ProposalOptions,
  SpokenSegment,
} from "./dialogue-state.ts";
import { type EdgeState, edgeCreate } from "./edge-buffer.ts";
import type { Modality } from "./effect.ts";
import type { KernelEvent, MessagesBody, TextSpan, WordMark } from "./event.ts";
import { type Fence, fenceCreate } from "./fence.ts";
import type { GraphDefinition, NodeKind, SettingValue } from "./graph.ts";
import { type Dedupe, dedupeCreate } from "./identity.ts";
import type { Input, OutcomeKind, ProposalOrigin, Usage } from "./input.ts";
import { type Lanes, lanesCreate } from "./lanes.ts";
import { MAX_SKEW_MS, QUEUED_PROPOSALS_MAX, TELEMETRY_QUEUED_MAX } from "./limits.ts";
import type { PolicyInvocation, PolicySession, PolicyTurn } from "./policy.ts";
import { preludeCreate } from "./prelude-state.ts";
import { type RecordingState, recordingCreate } from "./recording.ts";
import type { ErrorAnswer, ResilienceNode, ResilienceSession, ResilienceTurn } from "./resilience-state.ts";
import type { SessionConfig, SnapshotRefs } from "./session-config.ts";
import { type SessionState as SessionLifecycle, sessionCreate } from "./session-lifecycle.ts";
import { restoreDurable } from "./takeover-state.ts";
import type { Keypad, TextNodeRun } from "./text-node-state.ts";
import { type Timebase, timebaseCreate } from "./timebase.ts";
import type { ConversationPart, SpeculatedChunk, ToolRun, ToolWork } from "./tool-state.ts";
import { buildTopology, type Topology } from "./topology.ts";
import type { TurnPhase } from "./turn-lifecycle.ts";
import type { Utterance } from "./utterance.ts";

export interface NodeRun extends ResilienceNode {
  kind: NodeKind;
  /** Host nodes: command in flight, 0 for none. */
  command: number;
  /** Host nodes: whether the timer of their budget runs. */
  watched: boolean;
  /** Provider nodes: invocation in flight, 0 for none. */
  invocation: number;
  /** `end` marks still expected on the inputs before this node ends. */
  endsAwaited: number;
  ended: boolean;
  segmenter: SegmenterRun | null;
  /** Text nodes, from their first event on. */
  text?: TextNodeRun;
  tools?: ToolRun;
}

export interface SegmenterRun {
  spans: TextSpan[];
  chars: number;
  nextSegment: number;
}

/** One instance of the graph: the session's own part, or a turn's. Arrays are by node and edge index; null for the other scope. */
export interface GraphRun {
  turn: number;
  nodes: (NodeRun | null)[];
  edges: (EdgeState | null)[];
}

export interface InvocationState extends PolicyInvocation {
  id: number;
  /** Named in events, logs and evidence. */
  name: string;
  turn: number;
  generation: number;
  node: number;
  modality: Modality;
  candidate: number;
  attempt: number;
  /** Times this candidate was asked again. */
  retried?: number;
  status: "open" | "cancelled" | "done";
  openedNs: MonoNs;
  /** 0 until the first chunk. */
  firstChunkNs: number;
  /** Last chunk or push; what a silent stream is measured from. */
  lastNs: number;
  /** Turn its payloads are tagged with by the shell: that of its provider_open, 0 for an adopted speculation. */
  payloadTurn: number;
  chunks: number;
  finished: boolean;
  /** Sequences of the inputs that its first and latest word came with; 0 for none. */
  firstInput: number;
  lastInput: number;
  /** Text that came after its turn had closed, where the policy makes a new proposal of it. */
  late: TextSpan[];
  /** What was pushed, kept so that another candidate can be given the same. */
  clauses: { segment: number; spans: readonly TextSpan[] }[];
  messages: MessagesBody["messages"] | null;
  /** TTS: clauses wholly synthesised, and whether the next one has begun. */
  segmentsDone: number;
  segmentBegun: boolean;
  tool?: ToolWork;
  offered?: readonly string[];
  /** Speculations buffer their chunks until adopted. */
  buffered: SpeculatedChunk[] | null;
  bufferedOutcome: { outcome: OutcomeKind; detail: string; usage: Usage | null } | null;
}

export interface InvocationEvidence {
  name: string;
  node: string;
  modality: Modality;
  provider: string;
  attempt: number;
  outcome: OutcomeKind;
  detail: string;
  chunks: number;
  openedNs: number;
  firstChunkNs: number;
  endedNs: number;
  firstInput: number;
  lastInput: number;
  usage: Usage | null;
  tool?: string;
}

/** One utterance's recognition: the current one, or one awaiting its final after the endpoint. */
export interface Hearing extends GuardedHearing {
  utterance: number;
  invocation: number;
  finals: TextSpan[];
  finalChars: number;
  partial: readonly TextSpan[];
  partialChars: number;
  /** Segment last heard of, its latest revision (-1 before the first) and whether its final has come. */
  segment: number;
  revision: number;
  segmentFinal: boolean;
  /** Set once nothing more is awaited; utterances are proposed in their order. */
  ready: boolean;
  firstVoicedNs: number;
  lastVoicedNs: number;
  endpointNs: number;
  /** Media time before which frames belong to an earlier utterance. */
  fromUs: number;
  /** How its recognisers ended; part of its turn's evidence. */
  invocations: InvocationEvidence[];
  /** As its recogniser named it last; kept where the graph has text nodes. */
  language?: string;
}

export interface Speculation {
  invocation: number;
  spans: readonly TextSpan[];
  /** Derived payloads it was asked with. */
  ownRefs: number[];
  /** Version of the conversation it was asked with: adopted only while that stands. */
  stateVersion: number;
}

export interface Prelude {
  utterance: Utterance;
  speechUs: number;
  silenceUs: number;
  onsetFrames: number;
  utteranceUs: number;
  /** Media time up to which the caller has been heard: later results about earlier frames mean nothing (F-042). */
  cutUs: number;
  /** Poll that brought the last voice activity. */
  lastActivityNs: number;
  firstVoicedNs: number;
  lastVoicedNs: number;
  /** Latest caller frames, for the recogniser's pre-roll. */
  preroll: Ring<KernelEvent>;
  hearing: Hearing | null;
  closing: Hearing[];
  speculation: Speculation | null;
  /** Turn whose output is held; 0 for none. */
  heldTurn: number;
  muted: boolean;
  planId: string;
  planHash: string;
  planStale: boolean;
  planEpoch: number;
}

export interface Proposal extends ProposalOptions, ErrorAnswer {
  id: number;
  origin: ProposalOrigin;
  utterance: number;
  spans: readonly TextSpan[];
  chars: number;
  /** Given text the agent is to speak; the language model is passed by. */
  say: { spans: readonly TextSpan[]; chars: number } | null;
  key: string;
  reason: string;
  /** Anchor `turn_open_proposed_ingress_accepted`. */
  proposedNs: MonoNs;
  cause: number;
  /** Anchors of the utterance; 0 where there is none. */
  firstVoicedNs: number;
  lastVoicedNs: number;
  speculation: number;
  /** How the recognisers of the utterance ended. */
  invocations: readonly InvocationEvidence[];
  /** Where the graph has text nodes: the node whose edges the words enter by, if not all; and their language. */
  entry?: number;
  language?: string;
}

export interface SegmentPlay extends SpokenSegment {
  spans: readonly TextSpan[];
  chars: number;
  /** Media time within the turn's output; -1 until its first frame was sent. */
  startUs: number;
  durationUs: number;
  /** Of its audio that was shed on the way out. */
  shedUs: number;
  complete: boolean;
  words: readonly WordMark[] | null;
}

export interface OutputState {
  /** Instant at which the sent media would begin to play without pauses; -1 before the first frame. */
  startNs: number;
  sentUs: number;
  sequence: number;
  /** Set while held, else -1. */
  heldSinceNs: number;
  endSent: boolean;
  timerSet: boolean;
}

export interface TurnState extends DialogueTurn, ResilienceTurn, PolicyTurn {
  number: number;
  id: string;
  phase: TurnPhase;
  origin: ProposalOrigin;
  utterance: number;
  generation: number;
  planId: string;
  planHash: string;
  reservedBytes: number;
  /** runtime_sequence of turn_open. */
  openSeq: number;
  /** First and last runtime_sequence of its Data; 0 for none. */
  dataFirst: number;
  dataLast: number;
  /** Input that its proposal came with. */
  causeInput: number;
  openWallMs: WallMs;
  run: GraphRun;
  /** Whether nodes before the output may still work. */
  generating: boolean;
  delivery: Delivery;
  output: OutputState;
  segments: SegmentPlay[];
  lastDataSequence: number;
  /** Session-tagged payloads that only this turn speaks of, released when it settles. */
  ownRefs: number[];
  anchors: {
    proposedNs: MonoNs;
    openNs: MonoNs;
    firstOutputNs: number;
    cancelAcceptedNs: number;
    cancelAppliedNs: number;
    terminalNs: number;
    playbackStartedNs: number;
    firstVoicedNs: number;
    lastVoicedNs: number;
  };
  epochAtOpen: number;
  epochAtTerminal: number;
  terminal: "" | "commit" | "abort";
  terminalReason: string;
  cancelReason: string;
  cancelScope: "turn" | "session";
  /** Input that decided the cancel; 0 for none. */
  cancelInput: number;
  rejectedOutputs: number;
  lateAfterCancel: number;
  invocations: InvocationEvidence[];
  openInvocations: number[];
  evidenceHash: string;
  snapshots: SnapshotRefs;
  /** Heard part of the reply that already entered the conversation; -1 before. */
  heardChars: number;
  heardEstimated: boolean;
}

export interface TelemetrySample {
  name: string;
  value: number;
  turn: number;
  node: number;
}

export interface HostCommand {
  node: number;
  turn: number;
  mediaUs: number;
  durationUs: number;
  /** Stamp of the frame it was asked about. */
  ingressNs: MonoNs;
  /** Poll at which it was asked; whether the warning of its budget was given. */
  askedNs: MonoNs;
  warned: boolean;
  /** Index of the next emission. */
  next: number;
}

export interface SessionState extends DialogueSession, ResilienceSession, PolicySession {
  config: SessionConfig;
  topology: Topology;
  graphHash: string;
  lifecycle: SessionLifecycle;
  degraded: boolean;
  /** Node ids, and what else failed and has not worked again since. */
  degradedBy: string[];
  /** Last runtime_sequence given. */
  seq: number;
  inputSeq: number;
  batchIndex: number;
  lanes: Lanes;
  /** Samples of nodes on their way out, one ready item each: they never share an edge with data (`kernel.md` §4). */
  telemetry: Ring<TelemetrySample>;
  run: GraphRun;
  /** Open, or closed with delivery unsettled; oldest first. */
  turns: TurnState[];
  lastTurn: number;
  proposals: Ring<Proposal>;
  nextProposal: number;
  prelude: Prelude;
  authority: Authority;
  fence: Fence;
  dedupe: Dedupe;
  timebase: Timebase;
  recording: RecordingState;
  snapshots: SnapshotRefs;
  snapshotsUsable: boolean;
  snapshotReason: string;
  capacity: { admit: boolean; outcome: "defer" | "reject"; reason: string };
  conversation: ConversationPart[];
  stateVersion: number;
  /** The conversation changed while no lease was held, and is written when it is again. */
  stateWriteOwed: boolean;
  invocations: Record<string, InvocationState>;
  nextInvocation: number;
  commands: Record<string, HostCommand>;
  nextCommand: number;
  ids: RandomStream;
  /** Derived payloads are numbered downwards. */
  nextDerivedRef: number;
  timers: Record<string, MonoNs>;
  positioned: { input: Input; deadlineNs: MonoNs }[];
  /** Why the session is to end; empty while it is not. */
  ending: string;
  lastAudioSequence: number;
  /** Session-scoped output. */
  sessionOutput: { sequence: number; offsetUs: number; lastInMediaUs: number };
  turnsSinceSnapshot: number;
  /** A state snapshot is to be emitted at the end of the next step that leaves no turn open. */
  snapshotOwed: boolean;
  counters: Counters;
  /** Of graphs with text nodes: digits not yet proposed, language last spoken, last choices, and providers that failed last. */
  keypad?: Keypad;
  language?: string;
  selected?: Record<string, string>;
  providersFailed?: string[];
  customs?: import("./custom-state.ts").CustomState;
}

export interface Counters {
  duplicates: number;
  staleRefused: number;
  lateDropped: number;
  rejectedOutputs: number;
  mutedFrames: number;
  ignoredInputs: number;
  telemetryDropped: number;
  nodeErrors: number;
}

export function runCreate(graph: GraphDefinition, topology: Topology, turn: number): GraphRun {
  const scope = turn === 0 ? "session" : "turn";
  const nodes = graph.nodes.map((node, i): NodeRun | null =>
    node.scope !== scope
      ? null
      : {
          kind: node.kind,
          command: 0,
          watched: false,
          invocation: 0,
          endsAwaited: Math.max(1, topology.into[i]?.length ?? 0),
          ended: false,
          segmenter: node.kind === "segmenter" ? { spans: [], chars: 0, nextSegment: 0 } : null,
        },
  );
  const edges = graph.edges.map((edge, e): EdgeState | null => {
    const to = graph.nodes[topology.edgeTo[e] as number];
    return to?.scope === scope ? edgeCreate(edge.buffer) : null;
  });
  return { turn, nodes, edges };
}

export function createSession(config: SessionConfig): SessionState {
  const state = freshSession(config);
  if (config.takeover !== undefined) restoreDurable(state, config.takeover);
  return state;
}

function freshSession(config: SessionConfig): SessionState {
  const topology = buildTopology(config.graph);
  return {
    config,
    topology,
    graphHash: sha256Utf8Hex(canonicalJson(config.graph)),
    lifecycle: sessionCreate(),
    degraded: false,
    degradedBy: [],
    seq: 0,
    inputSeq: 0,
    batchIndex: 0,
    lanes: lanesCreate(),
    telemetry: ringCreate(TELEMETRY_QUEUED_MAX),
    run: runCreate(config.graph, topology, 0),
    turns: [],
    lastTurn: config.turnsBefore ?? 0,
    proposals: ringCreate(QUEUED_PROPOSALS_MAX),
    nextProposal: 1,
    prelude: preludeCreate(),
    authority: authorityCreate(config.authority.epoch, config.authority.incarnation, config.authority.deadlineNs),
    fence: fenceCreate((config.turnsBefore ?? 0) + 1),
    dedupe: dedupeCreate(),
    timebase: timebaseCreate(MAX_SKEW_MS),
    recording: recordingCreate(config.recording),
    snapshots: config.snapshots,
    snapshotsUsable: true,
    snapshotReason: "",
    capacity: { admit: true, outcome: "defer", reason: "" },
    conversation: [],
    stateVersion: 0,
    stateWriteOwed: false,
    invocations: {},
    nextInvocation: 1,
    commands: {},
    nextCommand: 1,
    ids: createStream(config.seed, config.authority.epoch, "ids"),
    nextDerivedRef: -1,
    timers: {},
    positioned: [],
    ending: "",
    lastAudioSequence: 0,
    sessionOutput: { sequence: 0, offsetUs: 0, lastInMediaUs: 0 },
    turnsSinceSnapshot: 0,
    snapshotOwed: false,
    counters: {
      duplicates: 0,
      staleRefused: 0,
      lateDropped: 0,
      rejectedOutputs: 0,
      mutedFrames: 0,
      ignoredInputs: 0,
      telemetryDropped: 0,
      nodeErrors: 0,
    },
  };
}

export function findTurn(s: SessionState, number: number): TurnState | undefined {
  for (const turn of s.turns) if (turn.number === number) return turn;
  return undefined;
}

export function runOf(s: SessionState, turn: number): GraphRun | undefined {
  return turn === 0 ? s.run : findTurn(s, turn)?.run;
}

/** A numeric setting of a node, with its default. */
export function numberSetting(
  settings: Readonly<Record<string, SettingValue>>,
  name: string,
  fallback: number,
): number {
  const value = settings[name];
  return typeof value === "number" ? value : fallback;
}
