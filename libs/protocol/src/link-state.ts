import type { MonoNs } from "@rspp/base/brand";
import { asMonoNs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import { limits } from "./limits.ts";
import { fencesCopy, fencesCreate } from "./link-fence.ts";
import { inLaneCreate, outLaneCreate } from "./link-lane.ts";
import type {
  BreakReason,
  LaneMarks,
  LinkConfig,
  LinkFrame,
  LinkOutput,
  LinkSession,
  LinkState,
  PairDeath,
  SessionConstants,
} from "./link-types.ts";

/** One end of a link before its first connection. Incarnations begin at 1. */
export function createLink<P>(config: LinkConfig): LinkState<P> {
  invariant(config.initialAudioUs <= config.windowAudioUs, "initial audio credit is inside the window", config);
  invariant(config.initialBytes <= config.windowBytes, "initial byte credit is inside the window", config);
  return {
    config: { ...config },
    phase: "down",
    incarnation: 0,
    connected: { control: false, media: false },
    halfSinceNs: asMonoNs(0),
    nextRef: 0,
    peerRefMax: 0,
    sessions: {},
    sessionCount: 0,
    unknown: [],
    unknownBytes: 0,
    controlOut: [],
    ready: [],
    urgent: false,
    readySinceNs: null,
    attention: [],
    receiptsDue: [],
    receiptAtNs: null,
  };
}

/** The bound session of `ref`; undefined when there is none. */
export function linkSession<P>(state: LinkState<P>, ref: number): LinkSession<P> | undefined {
  return state.sessions[ref];
}

export function addSession<P>(
  state: LinkState<P>,
  bind: { ref: number; constants: SessionConstants; supersedes: number | null },
  origin: "self" | "peer",
  now: MonoNs,
): LinkSession<P> {
  invariant(state.sessions[bind.ref] === undefined, "a reference is bound once", bind.ref);
  const before = bind.supersedes === null ? undefined : state.sessions[bind.supersedes];
  const { initialAudioUs, initialBytes } = state.config;
  const session: LinkSession<P> = {
    ref: bind.ref,
    constants: { ...bind.constants },
    origin,
    bound: origin === "peer",
    openedAtNs: now,
    fences: before === undefined ? fencesCreate() : fencesCopy(before.fences),
    controlSeq: 0,
    outData: outLaneCreate(),
    outTelemetry: outLaneCreate(),
    outCredit: { grantedAudioUs: initialAudioUs, grantedBytes: initialBytes, sentAudioUs: 0, sentBytes: 0 },
    inControl: inLaneCreate(),
    inData: inLaneCreate(),
    inTelemetry: inLaneCreate(),
    inCredit: {
      arrivedAudioUs: 0,
      arrivedBytes: 0,
      releasedAudioUs: 0,
      releasedBytes: 0,
      toldAudioUs: initialAudioUs,
      toldBytes: initialBytes,
    },
    waiting: [],
    peerAcked: { control: 0, data: 0, telemetry: 0 },
    isReady: false,
    needsAttention: false,
    receiptDue: false,
  };
  state.sessions[bind.ref] = session;
  state.sessionCount++;
  return session;
}

export function removeSession<P>(state: LinkState<P>, ref: number): void {
  if (state.sessions[ref] === undefined) return;
  delete state.sessions[ref];
  state.sessionCount--;
  state.ready = state.ready.filter((r) => r !== ref);
  state.attention = state.attention.filter((r) => r !== ref);
  state.receiptsDue = state.receiptsDue.filter((r) => r !== ref);
}

/** What this end has acted on, in sequence: a positioned message still waiting is not among it. */
export function actedMarks<P>(session: LinkSession<P>): LaneMarks {
  const firstWaiting = session.waiting[0];
  return {
    control: firstWaiting === undefined ? session.inControl.next - 1 : firstWaiting.frame.seq - 1,
    data: session.inData.next - 1,
    telemetry: session.inTelemetry.next - 1,
  };
}

/** Takes the session down at this end and says what is known of it, for reattach. */
export function breakSession<P>(
  state: LinkState<P>,
  session: LinkSession<P>,
  reason: BreakReason,
  out: LinkOutput<P>[],
): void {
  removeSession(state, session.ref);
  out.push({
    kind: "session_broken",
    ref: session.ref,
    constants: session.constants,
    reason,
    peerAcked: { ...session.peerAcked },
    acted: actedMarks(session),
    unsentItems: session.outData.items,
  });
}

/** Breaks the session at both ends. */
export function breakBoth<P>(
  state: LinkState<P>,
  session: LinkSession<P>,
  reason: BreakReason,
  out: LinkOutput<P>[],
): void {
  breakSession(state, session, reason, out);
  pushControl(state, { kind: "break", ref: session.ref, reason });
}

/** Queues a frame for the control connection; every public step ends with {@link flushControl}. */
export function pushControl<P>(state: LinkState<P>, frame: LinkFrame<P>): void {
  state.controlOut.push(frame);
}

/** Control is never held back while the pair is up (decision 6). */
export function flushControl<P>(state: LinkState<P>, out: LinkOutput<P>[]): void {
  if (state.phase !== "up" || state.controlOut.length === 0) return;
  const frames = state.controlOut;
  state.controlOut = [];
  out.push({ kind: "transmit", connection: "control", incarnation: state.incarnation, frames });
}

export function controlOutIsFull<P>(state: LinkState<P>): boolean {
  return state.controlOut.length > limits.LINK_CONTROL_OUT_ITEMS_MAX;
}

export function attend<P>(state: LinkState<P>, session: LinkSession<P>): void {
  if (session.needsAttention) return;
  session.needsAttention = true;
  state.attention.push(session.ref);
}

/** Ends the pair: both connections are closed and every session on it breaks, with what was acknowledged. */
export function killPair<P>(state: LinkState<P>, reason: PairDeath, out: LinkOutput<P>[]): void {
  if (state.phase === "down") return;
  const { incarnation } = state;
  for (const connection of ["control", "media"] as const) {
    if (state.connected[connection]) out.push({ kind: "close_connection", connection, incarnation, reason });
    state.connected[connection] = false;
  }
  for (const session of Object.values(state.sessions)) breakSession(state, session, "pair_dead", out);
  state.phase = "down";
  state.unknown = [];
  state.unknownBytes = 0;
  state.controlOut = [];
  state.ready = [];
  state.urgent = false;
  state.readySinceNs = null;
  state.attention = [];
  state.receiptsDue = [];
  state.receiptAtNs = null;
  out.push({ kind: "pair_dead", incarnation, reason });
}
