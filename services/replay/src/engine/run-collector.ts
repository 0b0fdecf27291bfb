/** Turns steps into a run's timeline. Its state is plain data, so that a paused replay keeps it (F-152). */
import type { Effect, SignalEvent, TimelineRecord } from "@rspp/kernel/effect";
import type { TextSpan } from "@rspp/kernel/event";
import type { DeliveryAddendum, SealedEvidence } from "@rspp/kernel/evidence";
import type { Batch, Input } from "@rspp/kernel/input";
import type { SessionConfig } from "@rspp/kernel/session-config";
import {
  RUN_EVENTS_MAX,
  RUN_TIMELINE_SCHEMA,
  type RunCall,
  type RunMode,
  type RunTimeline,
  type RunTurn,
  turnCreate,
} from "./run-timeline.ts";

export interface CollectorState {
  timeline: RunTimeline;
  /** Calls of turns whose evidence is not sealed, by invocation; by number, since a paused replay shares no objects. */
  calls: Record<string, RunCall>;
  turnCalls: Record<string, number[]>;
  /** Begun outside of turns, for the turn that opens next. */
  ahead: number[];
  proposals: { atNs: number; origin: string }[];
  lastVoicedNs: number | null;
  /** Instants of the caller's frames by media time. */
  frames: [number, number][];
  /** Assistant text by turn and segment. */
  said: Record<string, TextSpan[]>;
  started: boolean;
}

const FRAMES_KEPT = 256;

export function collectorCreate(
  config: SessionConfig,
  mode: RunMode,
  { level, redacted }: { level: RunTimeline["level"]; redacted: boolean },
): CollectorState {
  return {
    timeline: {
      schema: RUN_TIMELINE_SCHEMA,
      mode,
      tenantId: config.tenantId,
      sessionId: config.sessionId,
      pipeline: config.snapshots.pipeline,
      basis: "journal",
      level,
      redacted,
      sessionPlanHash: "",
      startNs: 0,
      endNs: 0,
      ended: false,
      turns: [],
      events: [],
      eventsDropped: 0,
    },
    calls: {},
    turnCalls: {},
    ahead: [],
    proposals: [],
    lastVoicedNs: null,
    frames: [],
    said: {},
    started: false,
  };
}

/** @param textOf text of spans; null where the recording keeps none. */
export function collectStep(
  c: CollectorState,
  batch: Batch,
  effects: readonly Effect[],
  textOf: ((spans: readonly TextSpan[]) => string) | null,
): void {
  const { timeline } = c;
  if (!c.started) timeline.startNs = batch.monoNs;
  c.started = true;
  timeline.endNs = Math.max(timeline.endNs, batch.monoNs);
  for (const input of batch.inputs) takeInput(c, input);
  for (const effect of effects) takeEffect(c, effect, batch.monoNs, textOf);
}

export function turnIn(timeline: RunTimeline, number: number): RunTurn {
  const known = timeline.turns.find(({ turn }) => turn === number);
  if (known !== undefined) return known;
  const made = turnCreate(number);
  timeline.turns.push(made);
  return made;
}

function takeInput(c: CollectorState, { body, monoNs }: Input): void {
  if (body.type === "audio") {
    c.frames.push([body.mediaUs, monoNs]);
    if (c.frames.length > FRAMES_KEPT) c.frames.shift();
  } else if (body.type === "node_emitted") {
    const { body: event } = body;
    if (event.type !== "activity" || !event.speech) return;
    c.lastVoicedNs = c.frames.find(([mediaUs]) => mediaUs === event.mediaUs)?.[1] ?? monoNs;
  } else if (body.type === "provider_chunk") {
    const call = c.calls[body.invocation];
    if (call !== undefined) call.firstNs ??= monoNs;
  } else if (body.type === "provider_outcome") {
    const call = c.calls[body.invocation];
    if (call === undefined) return;
    call.endedNs = monoNs;
    call.outcome = body.outcome;
  }
}

function takeEffect(
  c: CollectorState,
  effect: Effect,
  atNs: number,
  textOf: ((spans: readonly TextSpan[]) => string) | null,
): void {
  switch (effect.type) {
    case "signal":
      return takeSignal(c, effect.event, effect.event.monoNs);
    case "egress_media": {
      if (effect.payload === null || effect.turn === 0) return;
      const turn = turnIn(c.timeline, effect.turn);
      turn.anchors.firstOutput ??= atNs;
      turn.audioUs = Math.max(0, turn.audioUs) + effect.durationUs;
      return;
    }
    case "egress_text":
      return takeText(c, effect, atNs, textOf);
    case "provider_open": {
      const { node, modality, provider, attempt, invocation, tool } = effect;
      const rest = { tool: tool?.name ?? "", outcome: "", openedNs: atNs, firstNs: null, endedNs: null };
      c.calls[invocation] = { node, modality, provider, attempt, ...rest };
      if (effect.turn === 0) c.ahead.push(invocation);
      else callsOf(c, effect.turn).push(invocation);
      return;
    }
    case "record":
      takeRecord(c.timeline, effect.record, atNs);
      if (effect.record.kind === "evidence") sealed(c, effect.record.turn);
      return;
    case "status":
      if (effect.phase === "ended") c.timeline.ended = true;
      return;
    default:
      return;
  }
}

function takeText(
  c: CollectorState,
  { turn: number, role, spans, segment, final }: Extract<Effect, { type: "egress_text" }>,
  atNs: number,
  textOf: ((spans: readonly TextSpan[]) => string) | null,
): void {
  if (number === 0 || (role === "user" && !final)) return;
  const turn = turnIn(c.timeline, number);
  const key = `${role}/${number}/${segment}`;
  c.said[key] = [...spans];
  const parts = Object.entries(c.said).filter(([name]) => name.startsWith(`${role}/${number}/`));
  const chars = parts.reduce((sum, [, all]) => sum + all.reduce((n, { from, to }) => n + to - from, 0), 0);
  const text = textOf === null ? null : parts.map(([, all]) => textOf(all)).join("");
  if (role === "user") turn.user = { text, chars };
  else turn.output = { text, chars };
  if (role === "assistant") noteEvent(c.timeline, atNs, "data", "text_out", number, "", "");
}

export function noteEvent(
  timeline: RunTimeline,
  atNs: number,
  lane: "control" | "data",
  kind: string,
  turn: number,
  node: string,
  reason: string,
): void {
  if (timeline.events.length >= RUN_EVENTS_MAX) timeline.eventsDropped += 1;
  else timeline.events.push({ atNs, lane, kind, turn, node, reason });
}

/** Also of a recorded signal, where nothing else is recorded. */
export function takeSignal(c: CollectorState, event: SignalEvent, atNs: number): void {
  const { signal, turn: number, reason, fields, epoch } = event;
  const { timeline } = c;
  noteEvent(timeline, atNs, "control", signal, number, String(fields.node ?? ""), reason);
  if (signal === "turn_open_proposed") c.proposals.push({ atNs, origin: String(fields.origin ?? "") });
  if (number === 0) return;
  const turn = turnIn(timeline, number);
  if (signal === "turn_open") {
    turn.openNs = atNs;
    turn.origin = String(fields.origin ?? "");
    turn.epochs[0] = epoch;
    opened(c, turn);
  } else if (signal === "commit" || signal === "abort") {
    turn.terminal = signal;
    turn.reason = signal === "abort" ? reason : "";
    turn.epochs[1] = epoch;
  } else if (signal === "close") turn.closeNs = atNs;
  else if (signal === "cancel" || signal === "barge_in") turn.anchors.cancelAccepted ??= atNs;
  else if (signal === "playback_started") turn.anchors.playback ??= atNs;
  else if (/^playback_(?:completed|cancelled|lost)$/.test(signal)) turn.delivery = signal.slice("playback_".length);
}

/** A turn takes up the newest proposal of its origin, and what was begun ahead of it. */
function opened(c: CollectorState, turn: RunTurn): void {
  const at = c.proposals.findLastIndex(({ origin }) => origin === turn.origin);
  if (at !== -1) turn.anchors.proposed = c.proposals.splice(at, 1)[0]?.atNs ?? null;
  callsOf(c, turn.turn).unshift(...c.ahead.splice(0));
  if (turn.origin === "endpoint") turn.anchors.lastVoiced = c.lastVoicedNs;
}

/** Of the kernel's own records; the same live and in a replay. */
export function takeRecord(timeline: RunTimeline, record: TimelineRecord, atNs: number): void {
  if (record.kind === "plan") turnIn(timeline, record.turn).planHash = record.hash;
  else if (record.kind === "session_plan") timeline.sessionPlanHash = record.hash;
  else if (record.kind === "evidence") takeEvidence(turnIn(timeline, record.turn), record.manifest as SealedEvidence);
  else if (record.kind === "delivery_addendum") {
    const turn = turnIn(timeline, record.turn);
    const { outcome, playedUs, heardChars, replyChars, cancelFenceAppliedNs } = record.addendum as DeliveryAddendum;
    turn.delivery = outcome;
    turn.playedUs = playedUs;
    turn.heardChars = heardChars;
    turn.anchors.cancelApplied = cancelFenceAppliedNs;
    if (turn.output.chars < 0) turn.output = { ...turn.output, chars: replyChars };
  } else if (record.kind === "dead_letter") noteEvent(timeline, atNs, "data", "dead_letter", record.turn, "", "");
  else if (record.kind === "refusal") noteEvent(timeline, atNs, "control", "refusal", 0, "", record.reason);
}

/** What the evidence adds: the whole of it where there is no journal. */
function takeEvidence(turn: RunTurn, { manifest }: SealedEvidence): void {
  turn.planHash ||= manifest.planHash ?? "";
  turn.openNs ??= manifest.opened?.monoNs ?? null;
  turn.closeNs ??= manifest.closed?.monoNs ?? null;
  turn.terminal = manifest.terminal?.kind ?? turn.terminal;
  turn.reason = manifest.terminal?.reason ?? "";
  turn.epochs = [manifest.epochAtOpen ?? -1, manifest.epochAtTerminal ?? -1];
  turn.anchors.cancelAccepted ??= manifest.cancel?.acceptedNs ?? null;
  turn.calls = manifest.invocations.map((one) => ({
    node: one.node,
    modality: one.modality,
    provider: one.provider,
    attempt: one.attempt,
    tool: one.tool ?? "",
    outcome: one.outcome ?? "",
    openedNs: one.openedNs,
    firstNs: null,
    endedNs: one.endedNs,
  }));
}

function callsOf(c: CollectorState, turn: number): number[] {
  const known = c.turnCalls[turn];
  if (known !== undefined) return known;
  const made: number[] = [];
  c.turnCalls[turn] = made;
  return made;
}

/** The evidence says which calls there were; when each gave its first result stands in the journal alone. */
function sealed(c: CollectorState, number: number): void {
  const journaled = callsOf(c, number).flatMap((invocation) => c.calls[invocation] ?? []);
  for (const call of turnIn(c.timeline, number).calls) {
    const alike = journaled.filter(({ node, attempt }) => node === call.node && attempt === call.attempt);
    call.firstNs = (alike.find(({ openedNs }) => openedNs === call.openedNs) ?? alike[0])?.firstNs ?? null;
  }
  for (const invocation of callsOf(c, number)) delete c.calls[invocation];
  delete c.turnCalls[number];
}

/** The timeline as it stands; nothing of it is shared with the collector. */
export function timelineSoFar(c: CollectorState): RunTimeline {
  const timeline = structuredClone(c.timeline);
  for (const turn of timeline.turns) {
    if (turn.calls.length > 0) continue;
    turn.calls = structuredClone((c.turnCalls[turn.turn] ?? []).flatMap((invocation) => c.calls[invocation] ?? []));
  }
  return timeline;
}
