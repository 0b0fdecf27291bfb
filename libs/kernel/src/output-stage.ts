/**
 * The last stage before the transport: paced audio behind the output fence (`kernel.md` §6; F-175). It runs last in a
 * step, after every cancel of the step has been decided, so that nothing leaves past a fence raised in the same step.
 */
import { type MonoNs, NS_PER_MS, NS_PER_US } from "@rspp/base/brand";
import { ringPeek } from "@rspp/base/ring";
import type { AudioBody, EventBody, KernelEvent } from "./event.ts";
import { fenceAllows } from "./fence.ts";
import { noteUnheard, shedLate, take } from "./flow.ts";
import { textWords } from "./pronunciation.ts";
import { armSoft, softlyAllows } from "./soft-cancel.ts";
import type { GraphRun, TurnState } from "./state.ts";
import { clearTimer, type StepContext, setTimer } from "./step-context.ts";

export function releaseOutputs(cx: StepContext): void {
  const s = cx.s;
  if (s.topology.outputs.length === 0) return;
  const held = s.authority.held === "held";
  for (const node of s.topology.outputs) {
    const edges = s.topology.into[node] ?? [];
    for (const e of edges) {
      if (s.run.edges[e] !== null && s.run.edges[e] !== undefined) releaseSession(cx, s.run, e, held);
      for (const turn of s.turns)
        if (turn.run.edges[e] !== null && turn.run.edges[e] !== undefined) releaseTurn(cx, turn, e, held);
    }
  }
}

/** Session-scoped output is live audio: it goes as it comes. */
function releaseSession(cx: StepContext, run: GraphRun, e: number, held: boolean): void {
  const out = cx.s.sessionOutput;
  for (let event = take(cx, run, e); event !== undefined; event = take(cx, run, e)) {
    if (event.body.type !== "audio") continue;
    if (!held) {
      cx.s.counters.rejectedOutputs += 1;
      continue;
    }
    out.sequence += 1;
    cx.effects.push({
      type: "egress_media",
      epoch: cx.s.authority.epoch,
      turn: 0,
      generation: 0,
      sequence: out.sequence,
      offsetUs: out.offsetUs,
      durationUs: event.body.durationUs,
      format: event.body.format,
      payload: event.body.payload,
      end: false,
    });
    out.offsetUs += event.body.durationUs;
  }
}

function releaseTurn(cx: StepContext, turn: TurnState, e: number, held: boolean): void {
  if (turn.phase !== "active" && turn.phase !== "closed_commit") return;
  if (turn.output.heldSinceNs >= 0 || cx.s.lifecycle.phase === "ended") return;
  const edge = turn.run.edges[e];
  if (edge === null || edge === undefined) return;
  if (edge.extras !== undefined) shedLate(cx, turn.run, e);
  for (let next = ringPeek(edge.queue); next !== undefined; next = ringPeek(edge.queue)) {
    if (!held || !fenceAllows(cx.s.fence, turn.number, next.generation)) {
      take(cx, turn.run, e);
      reject(cx, turn, next.body);
      continue;
    }
    if (next.body.type === "end") {
      // The end mark follows the commit, never precedes it.
      if (turn.phase !== "closed_commit") return;
      take(cx, turn.run, e);
      sendEnd(cx, turn);
      continue;
    }
    if (next.body.type !== "audio") {
      take(cx, turn.run, e);
      continue;
    }
    if (turn.soft !== undefined && !softlyAllows(turn, next.body.segment)) return armSoft(cx, turn);
    if (!mayRunAhead(cx, turn, next.body.durationUs)) return;
    take(cx, turn.run, e);
    send(cx, turn, next, next.body);
    if (turn.soft !== undefined) armSoft(cx, turn);
  }
}

/** Refused at runtime egress, by the fence or for want of the lease (`kernel.md` §6, §7): counted evidence, never heard. */
function reject(cx: StepContext, turn: TurnState, body: EventBody): void {
  if (body.type === "audio") noteUnheard(turn, body.segment, body.durationUs);
  turn.rejectedOutputs += 1;
  cx.s.counters.rejectedOutputs += 1;
}

/**
 * Paces by the monotonic clock: never more than `outputLeadMs` of audio beyond what can have been played, except for
 * frames longer than half of that, which leave when half of it is left, so that none of them makes a gap.
 */
function mayRunAhead(cx: StepContext, turn: TurnState, durationUs: number): boolean {
  const out = turn.output;
  const sentNs = out.sentUs * NS_PER_US;
  if (out.startNs < 0 || out.startNs + sentNs < cx.nowNs) out.startNs = cx.nowNs - sentNs;
  const leadNs = out.startNs + sentNs - cx.nowNs;
  const maxNs = cx.s.config.outputLeadMs * NS_PER_MS;
  const lowNs = Math.floor(maxNs / 2);
  if (leadNs <= lowNs || leadNs + durationUs * NS_PER_US <= maxNs) return true;
  setTimer(cx, `output:${turn.number}`, (cx.nowNs + leadNs - lowNs) as MonoNs);
  return false;
}

function send(cx: StepContext, turn: TurnState, event: KernelEvent, body: AudioBody): void {
  const out = turn.output;
  if (turn.anchors.firstOutputNs === 0) {
    turn.anchors.firstOutputNs = cx.atNs;
    clearTimer(cx, `first_output:${turn.number}`);
    clearTimer(cx, `first_output_warning:${turn.number}`);
  }
  const segment = turn.segments[body.segment];
  if (segment !== undefined) {
    if (segment.startUs < 0) segment.startUs = out.sentUs;
    segment.durationUs += body.durationUs;
    if (body.words !== null) segment.words = textWords(segment.marks, body.words);
    if (body.segmentEnd) segment.complete = true;
  }
  out.sequence += 1;
  cx.effects.push({
    type: "egress_media",
    epoch: cx.s.authority.epoch,
    turn: turn.number,
    generation: event.generation,
    sequence: out.sequence,
    offsetUs: out.sentUs,
    durationUs: body.durationUs,
    format: body.format,
    payload: body.payload,
    end: false,
  });
  out.sentUs += body.durationUs;
}

function sendEnd(cx: StepContext, turn: TurnState): void {
  const out = turn.output;
  if (out.endSent) return;
  out.endSent = true;
  // What an edge has shed or the fence refused was counted too: the end bears the number that `commit` has named.
  out.sequence = Math.max(out.sequence + 1, turn.lastDataSequence);
  clearTimer(cx, `output:${turn.number}`);
  cx.effects.push({
    type: "egress_media",
    epoch: cx.s.authority.epoch,
    turn: turn.number,
    generation: turn.generation,
    sequence: out.sequence,
    offsetUs: out.sentUs,
    durationUs: 0,
    format: null,
    payload: null,
    end: true,
  });
}
