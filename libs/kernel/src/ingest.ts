/**
 * Takes the inputs of a batch in (`kernel.md` §1, §7): authority first, then each by its kind. Nothing from outside may
 * break the kernel; what does not fit is refused and counted.
 */

import type { MonoNs } from "@rspp/base/brand";
import { releaseCallerAudio } from "./caller-audio.ts";
import { onCustomEmitted } from "./custom-emission.ts";
import { onCustomDone, onNodeReady } from "./custom-nodes.ts";
import { onCancelAcked, onCustomFailed, onCustomStopped } from "./custom-stop.ts";
import { deadLetter } from "./dead-letter.ts";
import { noteDegraded } from "./degraded.ts";
import { settled } from "./delivery.ts";
import { type AudioBody, LANE_DATA, LANE_NAMES } from "./event.ts";
import { emit } from "./flow.ts";
import { epochFits, seenBefore } from "./guard.ts";
import { onRecogniserOutcome, onTranscript } from "./hearing.ts";
import { giveUpSummary, isSummary } from "./history.ts";
import { hostReady, nodeAnswered, turnNodeFailed } from "./host-nodes.ts";
import { onOperator, onTimer } from "./ingest-session.ts";
import { onIngressControl, positionedReady } from "./ingress-control.ts";
import type { IngressAudio, Input } from "./input.ts";
import { candidateOf, forget, nodeOf, onChunk, onOutcome } from "./invocations.ts";
import { keepLate, proposeLate } from "./late-text.ts";
import { NODE_ERRORS_UNTOLD_MAX, SPECULATION_CHUNKS_MAX } from "./limits.ts";
import { stepDown } from "./postures.ts";
import { setEvidenceQuota } from "./recording.ts";
import { onRecordingCapture, onRecordingPressure } from "./recording-step.ts";
import { onDelivery, onFenceAck } from "./settlement.ts";
import { cancelSpeculation } from "./speculation.ts";
import { findTurn, type InvocationState, runOf } from "./state.ts";
import { cause, type StepContext, signal } from "./step-context.ts";
import { timebaseObserve } from "./timebase.ts";
import { onModelDone, onToolChunk, onToolOutcome } from "./tool-round.ts";
import { onTranslated } from "./translator.ts";
import { EVIDENCE_REASON } from "./turn-arbiter.ts";
import { setTurnRate } from "./turn-rate.ts";

export function ingest(cx: StepContext, input: Input): void {
  const body = input.body;
  switch (body.type) {
    case "audio":
      return onAudio(cx, body);
    case "control":
      return onIngressControl(cx, input);
    case "delivery":
      return epochFits(cx, body.epoch, "delivery") ? onDelivery(cx, body) : undefined;
    case "fence_ack":
      return epochFits(cx, body.epoch, "fence_ack") ? onFenceAck(cx, body) : undefined;
    case "node_emitted":
      if (isCustom(cx, body.command)) return onCustomEmitted(cx, body.command, body.index, body.port, body.body);
      return onNodeEmitted(cx, body.command, body.index, body);
    case "node_done":
      return isCustom(cx, body.command) ? onCustomDone(cx, body.command) : onNodeAnswered(cx, body.command);
    case "node_failed":
      if (isCustom(cx, body.command)) return onCustomFailed(cx, body.command, body.reason);
      return onNodeFailed(cx, body.command, body.reason);
    case "node_ready":
      return onNodeReady(cx, body.instance);
    case "node_stopped":
      if (body.instance !== undefined) return onCustomStopped(cx, body.instance, body.reason);
      return signal(cx, "node_stopped", "node_host", 0, named(body.reason), { scope: "node", node: body.node }, false);
    case "cancel_acked":
      return onCancelAcked(cx, body.command);
    case "provider_chunk":
      return onProviderChunk(cx, body.invocation, body.index, body.chunk);
    case "provider_outcome":
      return onProviderOutcome(cx, body);
    case "timer":
      return onTimer(cx, body.id);
    case "authority":
      return;
    case "snapshot":
      cx.s.snapshots = body.refs;
      cx.s.snapshotsUsable = body.usable;
      cx.s.snapshotReason = body.reason;
      if (body.resolution === null) delete cx.s.policy;
      else if (body.resolution !== undefined) cx.s.policy = body.resolution;
      if (body.rate !== undefined) setTurnRate(cx, body.rate);
      cx.s.prelude.planStale = true;
      return;
    case "capacity":
      // NF-006: the shell cannot keep up; nothing is said of who may come in.
      if (body.overload === true) return void stepDown(cx, 0, "overload");
      cx.s.capacity = { admit: body.admit, outcome: body.outcome, reason: body.reason };
      if (body.evidenceQuotaBytes >= 0) setEvidenceQuota(cx.s.recording, body.evidenceQuotaBytes);
      return;
    case "append_failed":
      return body.exhausted ? onEvidenceLost(cx, body.turn) : undefined;
    case "recording_pressure":
      return onRecordingPressure(cx, body.fill, body.lagMs);
    case "recording_capture":
      return onRecordingCapture(cx, body);
    case "proposal":
      return onProposal(cx, input);
    case "operator":
      return onOperator(cx, body);
  }
}

/** While a turn lives a draining session goes on listening: its caller may interrupt (`kernel.md` §2). */
function hears(s: StepContext["s"]): boolean {
  return s.lifecycle.phase === "active" || (s.lifecycle.phase === "draining" && s.ending === "" && s.turns.length > 0);
}

function onAudio(cx: StepContext, body: IngressAudio): void {
  const s = cx.s;
  if (!epochFits(cx, body.epoch, "audio")) return;
  if (!hears(s) || s.topology.ingress === -1) {
    s.counters.ignoredInputs += 1;
    return;
  }
  const before = s.dedupe.highWater.audio ?? 0;
  if (seenBefore(cx, "audio", body.sequence, body.key)) return;
  if (before > 0 && body.sequence > before + 1) declareHole(cx, before + 1, body.sequence - 1);
  s.lastAudioSequence = Math.max(s.lastAudioSequence, body.sequence);
  const mapped = timebaseObserve(s.timebase, body.mediaUs, body.durationUs, cx.atNs);
  if (mapped === "refused") {
    s.counters.ignoredInputs += 1;
    return;
  }
  if (mapped === "rebased")
    cx.effects.push({ type: "telemetry", name: "timebase_rebased", value: s.timebase.rebases, turn: 0, node: "" });
  if (s.prelude.muted) s.counters.mutedFrames += 1;
  // A lease that ran out may be renewed; until then nobody here listens (§7).
  else if (s.authority.held !== "held") s.counters.ignoredInputs += 1;
  else {
    const audio: AudioBody = {
      type: "audio",
      payload: body.payload,
      format: body.format,
      durationUs: body.durationUs,
      mediaUs: body.mediaUs,
      segment: -1,
      segmentEnd: false,
      segmentChars: 0,
      words: null,
    };
    emit(cx, s.run, s.topology.ingress, "audio", audio, cx.inputSeq);
  }
  releaseCallerAudio(cx, body.sequence, body.payload.ref);
  if (s.positioned.length > 0) positionedReady(cx);
}

/**
 * Frames that never came in, because the shell shed them under load or the way lost them, are declared like an edge's own
 * drops, so that a replay can tell them from a loss of the recording (`kernel.md` §5; F-044). What lies before the first
 * frame is nobody's: a successor begins where its predecessor stopped.
 */
function declareHole(cx: StepContext, fromSequence: number, toSequence: number): void {
  const { topology, config } = cx.s;
  const edge = topology.out[topology.ingress]?.audio?.[0] ?? -1;
  const name = config.graph.edges[edge]?.id ?? config.graph.nodes[topology.ingress]?.id ?? "ingress";
  const fields = { edge: name, lane: LANE_NAMES[LANE_DATA], fromSequence, toSequence };
  signal(cx, "drop_notice", "edge", 0, "ingress_gap", fields, false);
}

/**
 * Evidence has been given up. An Active turn is aborted (T9). A committed one has its terminal already: what is still to
 * be heard of it is cut as at T13, since nothing may go on being said that leaves no trace (`kernel.md` §11).
 */
function onEvidenceLost(cx: StepContext, number: number): void {
  const s = cx.s;
  noteDegraded(cx, "recording", EVIDENCE_REASON);
  const turn = findTurn(s, number);
  if (turn === undefined) return;
  if (turn.phase !== "closed_commit") return cause(cx, "failure", number, EVIDENCE_REASON);
  if (turn.cancelReason !== "" || settled(turn.delivery)) return;
  signal(cx, "cancel", "cancellation", number, EVIDENCE_REASON, { scope: "turn" });
  cause(cx, "cancel", number, EVIDENCE_REASON);
}

function isCustom(cx: StepContext, command: number): boolean {
  return cx.s.customs?.commands[command] !== undefined;
}

function onNodeEmitted(
  cx: StepContext,
  command: number,
  index: number,
  input: Extract<Input["body"], { type: "node_emitted" }>,
): void {
  const known = cx.s.commands[command];
  const run = known === undefined ? undefined : runOf(cx.s, known.turn);
  if (known === undefined || run === undefined || index !== known.next) {
    cx.s.counters.ignoredInputs += 1;
    return;
  }
  known.next += 1;
  if (cx.s.authority.held !== "held") return;
  const at = cx.atNs;
  cx.atNs = known.ingressNs;
  emit(cx, run, known.node, input.port, input.body, cx.inputSeq);
  cx.atNs = at;
}

function onNodeDone(cx: StepContext, command: number): void {
  const known = cx.s.commands[command];
  if (known === undefined) return;
  delete cx.s.commands[command];
  const run = runOf(cx.s, known.turn);
  const node = run?.nodes[known.node];
  if (run === undefined || node === null || node === undefined) return;
  node.command = 0;
  hostReady(cx, run, known.node);
}

function onNodeAnswered(cx: StepContext, command: number): void {
  const known = cx.s.commands[command];
  if (known !== undefined) nodeAnswered(cx, known);
  onNodeDone(cx, command);
}

/** What comes from outside may lack its reason; the closed set of signals demands one. */
function named(reason: string): string {
  return reason === "" ? "unspecified" : reason;
}

/** A failing host node: named, its turn aborted where it belongs to one; the session's own nodes go on (F-134 flavour). */
function onNodeFailed(cx: StepContext, command: number, reason: string): void {
  const known = cx.s.commands[command];
  if (known === undefined) return;
  const id = cx.s.config.graph.nodes[known.node]?.id ?? "";
  // A node that fails at every frame would fill the timeline: told at the first, then at every 50th.
  cx.s.counters.nodeErrors += 1;
  if (known.turn !== 0 || cx.s.counters.nodeErrors % NODE_ERRORS_UNTOLD_MAX === 1)
    signal(cx, "node_error", "node_host", known.turn, named(reason), { node: id }, false);
  deadLetter(cx, { what: "node_event", reason: named(reason), source: id, turn: known.turn });
  if (known.turn !== 0) turnNodeFailed(cx, known, "node_failure");
  onNodeDone(cx, command);
}

type ProviderChunk = Extract<Input["body"], { type: "provider_chunk" }>["chunk"];

/** Chunks of what was cut off or is unknown are late: counted as evidence, never emitted (`late_after_cancel`). */
function late(cx: StepContext, inv: InvocationState | undefined, chunk: ProviderChunk): void {
  const turn = inv === undefined ? undefined : findTurn(cx.s, inv.turn);
  if (turn !== undefined) turn.lateAfterCancel += 1;
  cx.s.counters.lateDropped += 1;
  // T11 by policy: dropped, kept for a new proposal, or told; never does it reopen the turn.
  const { lateEvents } = cx.s.config.policy;
  if (inv !== undefined && lateEvents === "remap") keepLate(cx, inv, chunk);
  cx.effects.push({ type: "release", refs: [chunk.payload.ref] });
  if (inv === undefined || turn === undefined || lateEvents !== "diagnose") return;
  cx.effects.push({ type: "telemetry", name: "late_event", value: 1, turn: turn.number, node: nodeOf(cx, inv).id });
}

function onProviderChunk(cx: StepContext, id: number, index: number, chunk: ProviderChunk): void {
  const inv = cx.s.invocations[id];
  if (inv === undefined || inv.status !== "open" || index !== inv.chunks) return late(cx, inv, chunk);
  // A voice that sends text, or a language model that sends audio, is as good as silent.
  if ((chunk.type === "audio") !== (inv.modality === "tts")) {
    letterOf(cx, inv, chunk);
    return late(cx, inv, chunk);
  }
  if (chunk.type === "tool_call" && (inv.modality !== "llm" || nodeOf(cx, inv).tools === undefined))
    return late(cx, inv, chunk);
  noteInput(cx, inv);
  if (chunk.type === "text" && inv.modality === "tool") return onToolChunk(cx, inv, chunk);
  if (chunk.type === "text" && inv.modality === "stt") return onTranscript(cx, inv, chunk);
  if (inv.buffered !== null && inv.buffered.length >= SPECULATION_CHUNKS_MAX) {
    if (isSummary(cx.s.dialogue, id)) giveUpSummary(cx, "history_summary_overrun");
    else cancelSpeculation(cx, "speculation_overrun");
    return late(cx, inv, chunk);
  }
  onChunk(cx, inv, chunk);
}

/** F-132: a chunk of a kind its invocation has no use for. */
function letterOf(cx: StepContext, inv: InvocationState, chunk: ProviderChunk): void {
  const { hash: payloadHash, bytes: payloadBytes } = chunk.payload;
  const reason = "schema_validation_error";
  deadLetter(cx, { what: "provider_chunk", reason, source: inv.name, turn: inv.turn, payloadHash, payloadBytes });
}

/** F-150: where in the session's inputs this invocation's answer stands. */
function noteInput(cx: StepContext, inv: InvocationState): void {
  if (inv.firstInput === 0) inv.firstInput = cx.inputSeq;
  inv.lastInput = cx.inputSeq;
}

function onProviderOutcome(cx: StepContext, body: Extract<Input["body"], { type: "provider_outcome" }>): void {
  const inv = cx.s.invocations[body.invocation];
  if (inv === undefined) return;
  if (inv.status !== "open") {
    forget(cx, inv);
    return proposeLate(cx, inv);
  }
  noteInput(cx, inv);
  if (inv.modality === "stt") onRecogniserOutcome(cx, inv, body.outcome, body.detail, body.usage);
  else if (inv.modality === "tool") onToolOutcome(cx, inv, body.outcome, body.detail, body.usage);
  else {
    const detail = body.detail === "" ? (candidateOf(cx, inv)?.provider ?? "") : body.detail;
    const done = onOutcome(cx, inv, body.outcome, detail, body.usage);
    if (done && nodeOf(cx, inv).kind === "translator") onTranslated(cx, inv);
    else if (done) onModelDone(cx, inv.turn, inv.node);
  }
}

function onProposal(cx: StepContext, input: Input): void {
  const body = input.body;
  if (body.type !== "proposal") return;
  const emitter = body.origin === "endpoint" ? "prelude" : body.origin;
  signal(cx, "turn_open_proposed", emitter, 0, body.reason, { origin: body.origin });
  cx.proposals.push({
    id: 0,
    origin: body.origin,
    utterance: 0,
    spans: [],
    chars: 0,
    say: body.say,
    key: body.key,
    reason: body.reason,
    proposedNs: input.monoNs,
    cause: input.seq,
    firstVoicedNs: 0 as MonoNs,
    lastVoicedNs: 0 as MonoNs,
    speculation: 0,
    invocations: [],
    ...(body.second === undefined ? {} : { second: body.second }),
    ...(body.uninterruptible === undefined ? {} : { uninterruptible: body.uninterruptible }),
    ...(body.hangUp === undefined ? {} : { hangUp: body.hangUp }),
  });
}
