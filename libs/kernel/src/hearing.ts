/**
 * Recognition of one utterance (`kernel.md` §2): its recogniser is opened, fed and switched, its transcript kept by the
 * rules of F-024, and its words proposed as a turn once no more are awaited.
 */

import type { MonoNs } from "@rspp/base/brand";
import { NS_PER_MS, US_PER_MS } from "@rspp/base/brand";
import { ringAt, ringPush, ringShift } from "@rspp/base/ring";
import { isOn, KNOWS_WHO_IS_HEARD, RETRIES_WAIT } from "./behaviours.ts";
import { joinText } from "./conversation.ts";
import { recoverNode } from "./degraded.ts";
import { countPromptsAnew } from "./dialogue-state.ts";
import type { KernelEvent, TextBody, TextSpan } from "./event.ts";
import { emit, take } from "./flow.ts";
import type { Settings } from "./graph.ts";
import type { ChunkText, OutcomeKind, Usage } from "./input.ts";
import {
  cancelInvocation,
  candidateOf,
  finishInvocation,
  forget,
  hearingOf,
  nodeOf,
  noteChunk,
  noteOutcome,
  openInvocation,
} from "./invocations.ts";
import { candidatesOf } from "./policy-binding.ts";
import { discardedByWords, onWords } from "./prelude.ts";
import { spansLength } from "./rope.ts";
import { cancelSpeculation } from "./speculation.ts";
import { type Hearing, type InvocationState, numberSetting } from "./state.ts";
import { ask, clearTimer, type StepContext, setTimerIn, signal } from "./step-context.ts";
import { earPasses } from "./text-filter.ts";

/** Below the shell's retention of caller audio (2 s), with slack. */
const HELD_FRAMES_MS = 1_500;
/** Where the next recogniser may follow one that was waited for in vain (behaviour 8). */
const HELD_LONGER_MS = 2_000;
const NO_SETTINGS: Settings = Object.freeze({});

export function openRecogniser(cx: StepContext, hearing: Hearing): void {
  const node = cx.s.topology.recognisers[0];
  if (node === undefined) return;
  const inv = openInvocation(cx, node, 0, false);
  hearing.invocation = inv.id;
  pushHeld(cx, inv, hearing);
}

/** What is held of this utterance; what was said before it has been heard already. */
function pushHeld(cx: StepContext, inv: InvocationState, hearing: Hearing): void {
  const ring = cx.s.prelude.preroll;
  for (let i = 0; i < ring.size; i++) {
    const event = ringAt(ring, i);
    if (event?.body.type !== "audio" || event.body.mediaUs + event.body.durationUs <= hearing.fromUs) continue;
    pushFrame(cx, inv, event);
  }
}

function pushFrame(cx: StepContext, inv: InvocationState, event: KernelEvent | undefined): void {
  if (event === undefined || event.body.type !== "audio") return;
  const { payload, format, durationUs } = event.body;
  cx.effects.push({ type: "provider_push_audio", invocation: inv.id, payload, format, durationUs });
}

/** Caller audio at the recogniser: pushed while an utterance runs, else kept as pre-roll. */
export function onRecogniserAudio(cx: StepContext, event: KernelEvent): void {
  const p = cx.s.prelude;
  if (event.body.type !== "audio") return;
  const settings = cx.s.config.graph.nodes[cx.s.topology.endpointing]?.settings ?? NO_SETTINGS;
  // Push to talk may end an utterance that no voice activity has begun: all of it is held, as far as the shell keeps it.
  const prerollMs = settings.mode === "push_to_talk" ? HELD_FRAMES_MS : numberSetting(settings, "preroll_ms", 300);
  // During an utterance the ring goes on to hold what was pushed, so that another recogniser can be given the same.
  const awaited = p.closing.length > 0 && isOn(cx.s.config.behaviours, RETRIES_WAIT);
  const keepUs = (p.hearing === null && !awaited ? prerollMs : heldMs(cx)) * US_PER_MS;
  const frames = Math.min(p.preroll.capacity, Math.max(1, Math.floor(keepUs / Math.max(1, event.body.durationUs))));
  while (p.preroll.size >= frames) ringShift(p.preroll);
  ringPush(p.preroll, event);
  const inv = p.hearing === null ? undefined : cx.s.invocations[p.hearing.invocation];
  if (inv !== undefined && inv.status === "open" && !inv.finished) pushFrame(cx, inv, event);
}

/** Only where there is another recogniser: what nobody will be given is not held. */
function heldMs(cx: StepContext): number {
  const { topology, config } = cx.s;
  const another = topology.recognisers.some((node) => (config.graph.nodes[node]?.candidates.length ?? 0) > 1);
  return another && isOn(cx.s.config.behaviours, RETRIES_WAIT) ? HELD_LONGER_MS : HELD_FRAMES_MS;
}

/** Within a segment revisions rise up to its final; a new segment starts over; what is final stays. */
function advances(hearing: Hearing, chunk: ChunkText): boolean {
  if (hearing.revision === -1) return true;
  if (chunk.segment !== hearing.segment) return chunk.segment > hearing.segment;
  return !hearing.segmentFinal && chunk.revision > hearing.revision;
}

/** A transcript: monotonic partials, then one immutable final per segment (F-024). What breaks that is refused. */
export function onTranscript(cx: StepContext, inv: InvocationState, chunk: ChunkText): void {
  noteChunk(cx, inv);
  const hearing = hearingOf(cx, inv.id);
  const ref = chunk.payload.ref;
  if (hearing === undefined || hearing.ready || !advances(hearing, chunk)) {
    cx.s.counters.ignoredInputs += 1;
    cx.effects.push({ type: "release", refs: [ref] });
    return;
  }
  if (chunk.segment > hearing.segment && hearing.partial.length > 0) {
    // The segment before never had its final: its last partial stands.
    hearing.finals.push(...hearing.partial);
    hearing.finalChars += hearing.partialChars;
    hearing.partial = [];
  }
  hearing.segment = chunk.segment;
  hearing.revision = chunk.revision;
  hearing.segmentFinal = chunk.final;
  const spans: TextSpan[] = [{ ref, from: 0, to: chunk.chars }];
  if (cx.s.topology.words !== undefined && chunk.language !== "") hearing.language = chunk.language;
  if (hearing.partial.length > 0) releaseText(cx, hearing.partial);
  if (!earPasses(cx, chunk)) {
    hearing.partial = [];
    hearing.partialChars = 0;
    return releaseText(cx, spans);
  }
  hearing.partial = chunk.final ? [] : spans;
  hearing.partialChars = chunk.final ? 0 : chunk.chars;
  if (chunk.final) {
    hearing.finals.push(...spans);
    hearing.finalChars += chunk.chars;
  }
  // Partials of an edge with a cadence are told when the edge delivers them (F-053).
  if (chunk.final || cx.s.topology.pacedWords !== true) tellWords(cx, hearing, chunk, spans);
  const { backChannel, echoGuard } = cx.s.config.policy;
  if (backChannel !== undefined || echoGuard === true) onWords(cx, hearing);
  emit(
    cx,
    cx.s.run,
    inv.node,
    "text",
    {
      type: "text",
      spans,
      chars: chunk.chars,
      segment: chunk.segment,
      revision: chunk.revision,
      final: chunk.final,
      confidence: chunk.confidence,
      language: chunk.language,
    },
    cx.inputSeq,
  );
}

/** A partial that comes at its edge's cadence: told while it still is what was heard last (F-053). */
export function onPacedWords(cx: StepContext, body: TextBody): void {
  const ref = body.spans[0]?.ref;
  if (body.final || ref === undefined || cx.s.topology.pacedWords !== true) return;
  const { hearing, closing } = cx.s.prelude;
  const heard = [...closing, ...(hearing === null ? [] : [hearing])].find((one) => one.partial[0]?.ref === ref);
  if (heard !== undefined) tellWords(cx, heard, body, body.spans);
}

/** Without the lease nothing leaves, though a late renewal may still come (§7). */
function tellWords(
  cx: StepContext,
  hearing: Hearing,
  chunk: Pick<ChunkText, "final" | "revision">,
  spans: readonly TextSpan[],
): void {
  const { held, epoch } = cx.s.authority;
  if (held !== "held") return;
  const { final, revision } = chunk;
  const segment = hearing.utterance;
  cx.effects.push({
    type: "egress_text",
    epoch,
    turn: 0,
    generation: 0,
    role: "user",
    spans,
    final,
    segment,
    revision,
  });
}

export function onRecogniserOutcome(
  cx: StepContext,
  inv: InvocationState,
  outcome: OutcomeKind,
  detail: string,
  usage: Usage | null,
): void {
  const hearing = hearingOf(cx, inv.id);
  const provider = candidateOf(cx, inv)?.provider ?? "none";
  const early = outcome !== "success" && outcome !== "empty";
  noteOutcome(cx, inv, outcome === "success" && inv.chunks === 0 ? "empty" : outcome, detail, usage);
  inv.status = "done";
  forget(cx, inv);
  if (!early && cx.s.degradedBy.length > 0) recoverNode(cx, nodeOf(cx, inv).id);
  if (early) signal(cx, "provider_error", "invocation", 0, `${outcome}: ${detail}`, { provider, invocation: inv.name });
  if (hearing === undefined) return;
  if (early && hearing.revision === -1 && retryRecogniser(cx, inv, hearing)) return;
  if (cx.s.prelude.closing.includes(hearing)) heardOut(cx, hearing);
  else hearing.invocation = 0;
}

/** Another recogniser is given the same audio while all of the utterance is still held. */
function retryRecogniser(cx: StepContext, failed: InvocationState, hearing: Hearing): boolean {
  const p = cx.s.prelude;
  const next = candidatesOf(cx, failed)[failed.candidate + 1];
  const heldNs = heldMs(cx) * NS_PER_MS;
  if (next === undefined || cx.nowNs - hearing.firstVoicedNs > heldNs) return false;
  const inv = openInvocationAt(cx, failed);
  hearing.invocation = inv.id;
  signal(cx, "provider_switch", "invocation", 0, "recogniser_failed", {
    provider: next.provider,
    invocation: inv.name,
  });
  pushHeld(cx, inv, hearing);
  if (p.closing.includes(hearing)) finishInvocation(cx, inv);
  return true;
}

function openInvocationAt(cx: StepContext, failed: InvocationState): InvocationState {
  const at = cx.effects.length;
  const inv = openInvocation(cx, failed.node, 0, false, { candidates: candidatesOf(cx, failed) });
  if (failed.candidates === undefined) delete inv.candidates;
  inv.candidate = failed.candidate + 1;
  inv.attempt = failed.attempt + 1;
  const open = cx.effects[at];
  const candidate = candidateOf(cx, inv);
  if (open?.type === "provider_open" && candidate !== undefined) {
    open.provider = candidate.provider;
    open.settings = candidate.settings;
    open.attempt = inv.attempt;
  }
  return inv;
}

export function onFinalWait(cx: StepContext, utterance: number): void {
  const hearing = cx.s.prelude.closing.find((h) => h.utterance === utterance);
  if (hearing === undefined) return;
  const inv = cx.s.invocations[hearing.invocation];
  if (inv !== undefined && hearing.revision === -1 && nextAfterSilence(cx, inv, hearing)) return;
  const restMs = cx.s.config.policy.finalWaitMs - Math.ceil((cx.nowNs - hearing.endpointNs) / NS_PER_MS);
  if (restMs > 0 && isOn(cx.s.config.behaviours, RETRIES_WAIT))
    return setTimerIn(cx, `final:${hearing.utterance}`, restMs);
  giveUpWaiting(cx, hearing);
}

/** How long a final is awaited: what follows a silent recogniser has its part of the time (F-059). */
export function finalWaitMs(cx: StepContext, hearing: Hearing): number {
  const whole = cx.s.config.policy.finalWaitMs;
  const inv = cx.s.invocations[hearing.invocation];
  if (inv === undefined || !isOn(cx.s.config.behaviours, RETRIES_WAIT)) return whole;
  return Math.ceil(whole / Math.max(1, candidatesOf(cx, inv).length));
}

/** A recogniser that said nothing at all is followed by the next, which is waited for as long. */
function nextAfterSilence(cx: StepContext, silent: InvocationState, hearing: Hearing): boolean {
  if (!isOn(cx.s.config.behaviours, RETRIES_WAIT) || silent.status !== "open") return false;
  if (candidatesOf(cx, silent)[silent.candidate + 1] === undefined) return false;
  cancelInvocation(cx, silent, "final_wait");
  if (!retryRecogniser(cx, silent, hearing)) return false;
  setTimerIn(cx, `final:${hearing.utterance}`, finalWaitMs(cx, hearing));
  return true;
}

/** The utterance goes on with what it has; its recogniser is ended. */
export function giveUpWaiting(cx: StepContext, hearing: Hearing): void {
  const inv = cx.s.invocations[hearing.invocation];
  if (inv !== undefined) cancelInvocation(cx, inv, "final_wait");
  heardOut(cx, hearing);
}

/** Nothing more is awaited for this utterance. It is proposed once those before it are: the caller's order stands. */
export function heardOut(cx: StepContext, hearing: Hearing): void {
  hearing.ready = true;
  clearTimer(cx, `final:${hearing.utterance}`);
  for (let first = cx.s.prelude.closing[0]; first?.ready === true; first = cx.s.prelude.closing[0])
    settleHearing(cx, first);
}

/** The utterance is over and its text is known: propose a turn, or let it go when nothing was said. */
function settleHearing(cx: StepContext, hearing: Hearing): void {
  const p = cx.s.prelude;
  p.closing = p.closing.filter((h) => h !== hearing);
  clearTimer(cx, `final:${hearing.utterance}`);
  // A partial still standing follows the last final: its words were said, too.
  const heard = [...hearing.finals, ...hearing.partial];
  if (discardedByWords(cx, hearing, heard)) return releaseText(cx, heard);
  if (heard.length === 0 || ask(cx, { fn: "is_blank", spans: heard }) === true) {
    cx.effects.push({
      type: "telemetry",
      name: "utterance_discarded_empty",
      value: hearing.utterance,
      turn: 0,
      node: "",
    });
    if (p.closing.length === 0 && p.hearing === null) cancelSpeculation(cx, "empty");
    releaseText(cx, heard);
    return;
  }
  if (isOn(cx.s.config.behaviours, KNOWS_WHO_IS_HEARD)) countPromptsAnew(cx.s);
  const spans = [joinText(cx, heard)];
  const chars = spansLength(spans);
  releaseText(cx, heard);
  const { language } = hearing;
  if (language !== undefined) cx.s.language = language;
  signal(cx, "turn_open_proposed", "prelude", 0, "", { origin: "endpoint", utterance: hearing.utterance });
  cx.proposals.push({
    id: 0,
    origin: "endpoint",
    utterance: hearing.utterance,
    spans,
    chars,
    say: null,
    key: "",
    reason: "endpoint",
    proposedNs: cx.atNs,
    cause: cx.inputSeq,
    firstVoicedNs: hearing.firstVoicedNs as MonoNs,
    lastVoicedNs: hearing.lastVoicedNs as MonoNs,
    speculation: p.speculation?.invocation ?? 0,
    invocations: hearing.invocations,
    ...(language === undefined ? {} : { language }),
  });
}

export function releaseText(cx: StepContext, spans: readonly TextSpan[]): void {
  if (spans.length === 0) return;
  cx.effects.push({ type: "release", refs: [...new Set(spans.map((span) => span.ref))] });
}

/** Caller audio taken in before a positioned control reaches the recogniser before it acts; else the last word is clipped. */
export function drainRecognisers(cx: StepContext): void {
  for (const node of cx.s.topology.recognisers) {
    for (const e of cx.s.topology.into[node] ?? []) {
      for (let event = take(cx, cx.s.run, e); event !== undefined; event = take(cx, cx.s.run, e))
        onRecogniserAudio(cx, event);
    }
  }
}

/** A recogniser was cancelled by itself: its utterance goes on with what was heard so far. */
export function recogniserGone(cx: StepContext, inv: InvocationState): void {
  const hearing = hearingOf(cx, inv.id);
  if (hearing === undefined) return;
  if (cx.s.prelude.closing.includes(hearing)) heardOut(cx, hearing);
  else hearing.invocation = 0;
}
