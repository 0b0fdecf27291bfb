/**
 * What runs outside turns (`kernel.md` §2): endpointing over voice activity, the utterance machine, output hold and
 * barge-in. Recognition stands in `hearing.ts`.
 */
import { type MonoNs, NS_PER_MS, US_PER_MS } from "@rspp/base/brand";
import { ringAt } from "@rspp/base/ring";
import { settled } from "./delivery.ts";
import type { ActivityBody, KernelEvent, TextSpan } from "./event.ts";
import { guarded, heedWords, interruptible, judge, leastSpeechUs, mayInterrupt } from "./false-barge-in.ts";
import type { Settings } from "./graph.ts";
import { drainRecognisers, finalWaitMs, giveUpWaiting, heardOut, openRecogniser, releaseText } from "./hearing.ts";
import { cancelInvocation, finishInvocation } from "./invocations.ts";
import { OUTPUT_HOLD_MS_MAX, UTTERANCE_STALL_MS } from "./limits.ts";
import { sessionReconnecting } from "./session-lifecycle.ts";
import { ensureSessionPlan } from "./session-plan.ts";
import { cancelTurn } from "./soft-cancel.ts";
import { cancelSpeculation, maybeSpeculate } from "./speculation.ts";
import { type Hearing, numberSetting } from "./state.ts";
import { clearTimer, type StepContext, setTimerIn, signal } from "./step-context.ts";
import { type DiscardReason, utteranceTransition } from "./utterance.ts";

/** Utterances that may await their final at once; the oldest is settled with what it has. */
const CLOSING_MAX = 2;

/**
 * Settings of the endpointing node with their defaults; milliseconds but for `onset_frames`. `push_to_talk`: an explicit end of
 * utterance stands even where no voice was found (F-042). `silence_ends` false: with push to talk no pause ends what is being
 * said, nor lets it go; the release does, mute, or the longest utterance.
 */
export function endpointing(settings: Settings): {
  mode: "vad" | "push_to_talk";
  onsetFrames: number;
  minSpeechMs: number;
  candidateSilenceMs: number;
  endpointSilenceMs: number;
  maxUtteranceMs: number;
  speculateMs: number;
  prerollMs: number;
  silenceEnds: boolean;
} {
  return {
    mode: settings.mode === "push_to_talk" ? "push_to_talk" : "vad",
    onsetFrames: numberSetting(settings, "onset_frames", ONSET_FRAMES),
    minSpeechMs: numberSetting(settings, "min_speech_ms", 120),
    candidateSilenceMs: numberSetting(settings, "candidate_silence_ms", 200),
    endpointSilenceMs: numberSetting(settings, "endpoint_silence_ms", 500),
    maxUtteranceMs: numberSetting(settings, "max_utterance_ms", 30_000),
    speculateMs: numberSetting(settings, "speculate_ms", 0),
    prerollMs: numberSetting(settings, "preroll_ms", 300),
    silenceEnds: settings.mode !== "push_to_talk" || settings.silence_ends !== false,
  };
}

const ONSET_FRAMES = 2;
const NO_SETTINGS: Settings = Object.freeze({});

/** Voice activity of one frame. */
export function onActivity(cx: StepContext, event: KernelEvent, body: ActivityBody): void {
  const p = cx.s.prelude;
  // Results of frames before a cut come late; what was said in them has been heard already (F-042).
  if (body.mediaUs + body.durationUs <= p.cutUs) return;
  const settings = cx.s.config.graph.nodes[cx.s.topology.endpointing]?.settings ?? NO_SETTINGS;
  const phase = p.utterance.phase;
  p.lastActivityNs = cx.nowNs;
  if (phase === "none") {
    // Most frames of most calls are silence: they look at nothing else.
    onQuiet(cx, event, body, numberSetting(settings, "onset_frames", ONSET_FRAMES));
    return;
  }
  const cfg = endpointing(settings);
  const endUs = body.mediaUs + body.durationUs;
  p.utteranceUs += body.durationUs;
  if (body.speech) {
    p.silenceUs = 0;
    p.lastVoicedNs = event.monoNs;
    p.speechUs += body.durationUs;
    if (p.speculation !== null) cancelSpeculation(cx, "speech_resumed");
    if (phase === "candidate") maybeConfirm(cx, cfg.minSpeechMs, event.monoNs);
  } else {
    p.silenceUs += body.durationUs;
    if (!cfg.silenceEnds) return endIfTooLong(cx, cfg, endUs);
    if (phase === "candidate" && p.silenceUs >= cfg.candidateSilenceMs * US_PER_MS) onCandidatePause(cx, cfg, endUs);
    else if (phase === "confirmed" && p.silenceUs >= cfg.endpointSilenceMs * US_PER_MS) endpoint(cx, endUs);
    else if (phase === "confirmed" && cfg.speculateMs > 0 && p.silenceUs >= cfg.speculateMs * US_PER_MS)
      maybeSpeculate(cx);
  }
  endIfTooLong(cx, cfg, endUs);
}

function endIfTooLong(cx: StepContext, cfg: ReturnType<typeof endpointing>, endUs: number): void {
  const p = cx.s.prelude;
  if (p.utteranceUs < cfg.maxUtteranceMs * US_PER_MS) return;
  if (p.utterance.phase === "confirmed") endpoint(cx, endUs);
  else if (waitsForWords(cx, cfg.minSpeechMs)) endUnjudged(cx, endUs);
}

function onQuiet(cx: StepContext, event: KernelEvent, body: ActivityBody, onsetFrames: number): void {
  const p = cx.s.prelude;
  if (!body.speech) {
    p.onsetFrames = 0;
    return;
  }
  if (p.onsetFrames === 0) p.firstVoicedNs = event.monoNs;
  p.onsetFrames += 1;
  p.lastVoicedNs = event.monoNs;
  if (p.onsetFrames >= onsetFrames) startUtterance(cx, body.durationUs * p.onsetFrames, event.monoNs);
}

function startUtterance(cx: StepContext, speechUs: number, atNs: MonoNs): void {
  const p = cx.s.prelude;
  ensureSessionPlan(cx);
  utteranceTransition(p.utterance, "speech_started");
  p.speechUs = speechUs;
  p.silenceUs = 0;
  p.utteranceUs = speechUs;
  p.onsetFrames = 0;
  p.hearing = {
    utterance: p.utterance.number,
    invocation: 0,
    finals: [],
    finalChars: 0,
    partial: [],
    partialChars: 0,
    segment: 0,
    revision: -1,
    segmentFinal: false,
    ready: false,
    firstVoicedNs: p.firstVoicedNs,
    lastVoicedNs: 0,
    endpointNs: 0,
    fromUs: p.cutUs,
    invocations: [],
  };
  openRecogniser(cx, p.hearing);
  setTimerIn(cx, "utterance", stallMs(cx));
  if (cx.s.config.policy.holdOnCandidate && cx.s.config.policy.bargeIn) hold(cx);
  const cfg = endpointing(cx.s.config.graph.nodes[cx.s.topology.endpointing]?.settings ?? {});
  maybeConfirm(cx, cfg.minSpeechMs, atNs);
}

function maybeConfirm(cx: StepContext, minSpeechMs: number, atNs: MonoNs): void {
  if (cx.s.prelude.speechUs >= leastSpeechUs(cx, minSpeechMs) && mayInterrupt(cx)) confirm(cx, atNs);
}

/** A candidate that is long enough, and not confirmed for want of words. */
function waitsForWords(cx: StepContext, minSpeechMs: number): boolean {
  const p = cx.s.prelude;
  return p.utterance.phase === "candidate" && guarded(cx) && p.speechUs >= leastSpeechUs(cx, minSpeechMs);
}

/** Words have come that may decide on a candidate. */
export function onWords(cx: StepContext, hearing: Hearing): void {
  heedWords(cx, hearing);
  if (cx.s.prelude.utterance.phase !== "candidate" || hearing.verdict !== "speech") return;
  maybeConfirm(cx, endpointing(settingsOf(cx)).minSpeechMs, cx.atNs);
}

/** A pause in a candidate: it was too short, or its words discard it, or they are awaited as long as an endpoint is. */
function onCandidatePause(cx: StepContext, cfg: ReturnType<typeof endpointing>, endUs: number): void {
  const p = cx.s.prelude;
  if (p.speechUs < leastSpeechUs(cx, cfg.minSpeechMs)) return discard(cx, "too_short");
  // What it would have interrupted is over: it is the caller's turn like any other.
  if (!guarded(cx)) return confirm(cx, cx.atNs);
  const verdict = p.hearing?.verdict;
  if (verdict === "back_channel" || verdict === "own_echo") return discard(cx, verdict);
  if (p.silenceUs >= cfg.endpointSilenceMs * US_PER_MS) endUnjudged(cx, endUs);
}

/** Over, and nothing decided: its transcript tells. The output stays held meanwhile, no longer than it may. */
function endUnjudged(cx: StepContext, cutUs: number): void {
  const { hearing } = cx.s.prelude;
  if (hearing !== null) hearing.unjudged = true;
  endpoint(cx, cutUs);
}

/** The transcript of what ended unjudged, empty for none: true where it interrupts nothing and is let go. */
export function discardedByWords(cx: StepContext, hearing: Hearing, heard: readonly TextSpan[]): boolean {
  if (hearing.unjudged !== true || !guarded(cx)) return false;
  const p = cx.s.prelude;
  const verdict = judge(cx, heard);
  if (verdict === "speech") {
    cutTurnsInFlight(cx, cx.atNs);
    p.heldTurn = 0;
    return false;
  }
  const reason = verdict === "unknown" ? "empty" : verdict;
  tellDiscarded(cx, hearing.utterance, reason);
  // A candidate of its own may hold the output by now.
  if (p.hearing === null) resume(cx, reason);
  return true;
}

function tellDiscarded(cx: StepContext, utterance: number, reason: DiscardReason): void {
  cx.effects.push({ type: "telemetry", name: `utterance_discarded_${reason}`, value: utterance, turn: 0, node: "" });
}

function settingsOf(cx: StepContext): Settings {
  return cx.s.config.graph.nodes[cx.s.topology.endpointing]?.settings ?? NO_SETTINGS;
}

/** `atNs`: stamp of the frame that decided it, whose bytes were read then: anchor `cancel_accepted` (`kernel.md` §10). */
function confirm(cx: StepContext, atNs: MonoNs): void {
  const p = cx.s.prelude;
  utteranceTransition(p.utterance, "confirmed");
  if (!cx.s.config.policy.bargeIn) return;
  cutTurnsInFlight(cx, atNs);
  p.heldTurn = 0;
}

const BY_SPEECH = Object.freeze({ scope: "turn" });

/** The caller's own turn comes: whatever is said, or still to be heard, is cut. */
export function cutTurnsInFlight(cx: StepContext, atNs: MonoNs, fields: Record<string, string> = BY_SPEECH): void {
  for (const turn of interruptible(cx)) {
    if (turn.soft !== undefined) continue;
    signal(cx, "barge_in", "prelude", turn.number, "barge_in", fields);
    cancelTurn(cx, turn, "barge_in", { atNs });
  }
}

function hold(cx: StepContext): void {
  const p = cx.s.prelude;
  const turn = cx.s.turns.findLast((t) => t.output.startNs >= 0 && t.cancelReason === "" && !settled(t.delivery));
  if (turn === undefined || p.heldTurn !== 0 || turn.uninterruptible === true) return;
  p.heldTurn = turn.number;
  turn.output.heldSinceNs = cx.nowNs;
  setTimerIn(cx, `hold:${turn.number}`, OUTPUT_HOLD_MS_MAX);
  signal(cx, "output_hold", "prelude", turn.number, "speech_candidate");
}

function resume(cx: StepContext, reason: string): void {
  const p = cx.s.prelude;
  const turn = cx.s.turns.find((t) => t.number === p.heldTurn);
  if (p.heldTurn !== 0) clearTimer(cx, `hold:${p.heldTurn}`);
  p.heldTurn = 0;
  if (turn === undefined || turn.output.heldSinceNs < 0 || turn.cancelReason !== "") return;
  turn.output.startNs += cx.nowNs - turn.output.heldSinceNs;
  turn.output.heldSinceNs = -1;
  signal(cx, "output_resume", "prelude", turn.number, reason);
}

/** Neither confirmed nor discarded in time, e.g. because the caller's audio stopped: playout goes on. */
export function onHoldDeadline(cx: StepContext, turn: number): void {
  if (cx.s.prelude.heldTurn === turn) resume(cx, "hold_deadline");
}

function discard(cx: StepContext, reason: DiscardReason): void {
  const p = cx.s.prelude;
  utteranceTransition(p.utterance, "discard", reason);
  const inv = p.hearing === null ? undefined : cx.s.invocations[p.hearing.invocation];
  if (inv !== undefined) cancelInvocation(cx, inv, `discarded_${reason}`);
  cancelSpeculation(cx, "discarded");
  if (p.hearing !== null) releaseText(cx, [...p.hearing.partial, ...p.hearing.finals]);
  tellDiscarded(cx, p.utterance.number, reason);
  resume(cx, reason);
  resetUtterance(cx);
}

function resetUtterance(cx: StepContext): void {
  const p = cx.s.prelude;
  clearTimer(cx, "utterance");
  utteranceTransition(p.utterance, "reset");
  p.hearing = null;
  p.speechUs = 0;
  p.silenceUs = 0;
  p.utteranceUs = 0;
}

/**
 * The caller has stopped speaking: the recogniser finalises at once, the turn is proposed when the final is there. `cutUs`:
 * media time up to which the caller has been heard; nothing before it belongs to another utterance.
 */
function endpoint(cx: StepContext, cutUs: number): void {
  const p = cx.s.prelude;
  const hearing = p.hearing;
  p.cutUs = Math.max(p.cutUs, cutUs);
  const unjudged = hearing?.unjudged === true;
  if (unjudged) utteranceTransition(p.utterance, "confirmed");
  else if (p.utterance.phase === "candidate") confirm(cx, cx.atNs);
  utteranceTransition(p.utterance, "endpoint");
  if (!unjudged) resume(cx, "endpoint");
  if (hearing === null) return resetUtterance(cx);
  hearing.lastVoicedNs = p.lastVoicedNs;
  hearing.endpointNs = cx.atNs;
  const [oldest] = p.closing;
  if (oldest !== undefined && p.closing.length >= CLOSING_MAX) giveUpWaiting(cx, oldest);
  p.closing.push(hearing);
  resetUtterance(cx);
  const inv = cx.s.invocations[hearing.invocation];
  if (inv === undefined || inv.status !== "open") return heardOut(cx, hearing);
  finishInvocation(cx, inv);
  setTimerIn(cx, `final:${hearing.utterance}`, finalWaitMs(cx, hearing));
}

/** Push to talk (F-042): an explicit end of utterance needs no voice activity to agree. */
export function onEndOfUtterance(cx: StepContext): boolean {
  drainRecognisers(cx);
  if (cx.s.prelude.utterance.phase === "none" && !openUnheard(cx)) return false;
  endpoint(cx, cx.s.timebase.lastEndUs);
  return true;
}

/** Push to talk: the talk is over before any voice was found in it; what came in since the last utterance is recognised. */
function openUnheard(cx: StepContext): boolean {
  const p = cx.s.prelude;
  const cfg = endpointing(cx.s.config.graph.nodes[cx.s.topology.endpointing]?.settings ?? NO_SETTINGS);
  if (cfg.mode !== "push_to_talk" || cx.s.authority.held !== "held") return false;
  let heard = false;
  for (let i = 0; i < p.preroll.size; i++) {
    const frame = ringAt(p.preroll, i);
    if (frame?.body.type !== "audio" || frame.body.mediaUs + frame.body.durationUs <= p.cutUs) continue;
    if (!heard) p.firstVoicedNs = frame.monoNs;
    p.lastVoicedNs = frame.monoNs;
    heard = true;
  }
  if (heard) startUtterance(cx, 0, cx.atNs);
  return heard;
}

/** Mute ends what is being said: no audio will come that could end it. */
export function onMuted(cx: StepContext): void {
  const p = cx.s.prelude;
  p.onsetFrames = 0;
  endUtterance(cx);
  p.cutUs = Math.max(p.cutUs, cx.s.timebase.lastEndUs);
}

function endUtterance(cx: StepContext): void {
  const { phase } = cx.s.prelude.utterance;
  const waits = waitsForWords(cx, endpointing(settingsOf(cx)).minSpeechMs);
  if (phase === "candidate" && !waits) return discard(cx, "too_short");
  if (phase === "none") return;
  drainRecognisers(cx);
  if (waits) return endUnjudged(cx, cx.s.timebase.lastEndUs);
  endpoint(cx, cx.s.timebase.lastEndUs);
}

function stallMs(cx: StepContext): number {
  const { settings } = cx.s.config.graph.nodes[cx.s.topology.endpointing] ?? {};
  return endpointing(settings ?? {}).endpointSilenceMs + UTTERANCE_STALL_MS;
}

/** No voice activity for long: the silence that would end the utterance never comes. While reconnecting it is awaited. */
export function onUtteranceStall(cx: StepContext): void {
  const p = cx.s.prelude;
  if (p.utterance.phase === "none") return;
  const leftMs = stallMs(cx) - (cx.nowNs - p.lastActivityNs) / NS_PER_MS;
  if (leftMs > 0 || sessionReconnecting(cx.s.lifecycle))
    return setTimerIn(cx, "utterance", leftMs > 0 ? leftMs : stallMs(cx));
  endUtterance(cx);
}

/** Without authority nobody here listens any more: utterances under way are let go. */
export function abandonUtterances(cx: StepContext, reason: string): void {
  const p = cx.s.prelude;
  cancelSpeculation(cx, reason);
  for (const hearing of p.hearing === null ? p.closing : [...p.closing, p.hearing]) {
    const inv = cx.s.invocations[hearing.invocation];
    if (inv !== undefined) cancelInvocation(cx, inv, reason);
    clearTimer(cx, `final:${hearing.utterance}`);
    releaseText(cx, [...hearing.finals, ...hearing.partial]);
  }
  p.closing = [];
  p.onsetFrames = 0;
  if (p.utterance.phase === "none") return;
  resume(cx, reason);
  utteranceTransition(p.utterance, "discard", "empty");
  resetUtterance(cx);
}
