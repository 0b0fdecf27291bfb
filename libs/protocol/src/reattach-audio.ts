import type { MediaUs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import { limits } from "./limits.ts";

// On a takeover the adapter resends the caller's audio since the last commit (kernel.md §7): at most 30 s of it, named by
// sequences that the durable high-water mark of the session is compared with, so that nothing is heard twice.

export interface CallerFrame<P> {
  seq: number;
  mediaUs: MediaUs;
  audioUs: number;
  bytes: number;
  payload: P;
}

/** The adapter's buffer. `frames` are those after `committed`, oldest first, as far as the bounds allow. */
export interface CallerAudioState<P> {
  frames: CallerFrame<P>[];
  lastSeq: number;
  committed: number;
  /** Highest sequence thrown away by a bound before it was committed; 0 for none. */
  lostUpTo: number;
  audioUs: number;
  bytes: number;
}

/** What the adapter tells the new holder: the turn it saw open, and the audio that may not have been heard. */
export interface TakeoverReport<P> {
  openTurn: number | null;
  openGeneration: number;
  frames: CallerFrame<P>[];
  /** Uncommitted audio beyond the bounds, gone for good: declared, never silent. */
  lost: { fromSeq: number; toSeq: number } | null;
}

export function createCallerAudio<P>(): CallerAudioState<P> {
  return { frames: [], lastSeq: 0, committed: 0, lostUpTo: 0, audioUs: 0, bytes: 0 };
}

/** Keeps a frame on its way to the runtime and gives its sequence; the oldest go when a bound is passed. */
export function callerAudioCapture<P>(
  state: CallerAudioState<P>,
  frame: { mediaUs: MediaUs; audioUs: number; bytes: number; payload: P },
): number {
  const seq = ++state.lastSeq;
  state.frames.push({ seq, ...frame });
  state.audioUs += frame.audioUs;
  state.bytes += frame.bytes;
  while (
    state.audioUs > limits.CALLER_AUDIO_US_MAX ||
    state.bytes > limits.CALLER_AUDIO_BYTES_MAX ||
    state.frames.length > limits.CALLER_AUDIO_ITEMS_MAX
  ) {
    state.lostUpTo = shift(state).seq;
  }
  return seq;
}

/** A turn committed, and with it the caller's audio up to `throughSeq`: it is not needed again. */
export function callerAudioCommitted<P>(state: CallerAudioState<P>, throughSeq: number): void {
  state.committed = Math.max(state.committed, Math.min(throughSeq, state.lastSeq));
  while ((state.frames[0]?.seq ?? Number.POSITIVE_INFINITY) <= state.committed) shift(state);
}

/** The report for a new holder whose durable high-water mark is `highWater`. May be asked again: it changes nothing. */
export function callerAudioTakeover<P>(
  state: CallerAudioState<P>,
  ask: { highWater: number; openTurn: number | null; openGeneration: number },
): TakeoverReport<P> {
  const after = Math.max(ask.highWater, state.committed);
  return {
    openTurn: ask.openTurn,
    openGeneration: ask.openGeneration,
    frames: state.frames.filter((f) => f.seq > after).map((f) => ({ ...f })),
    lost: state.lostUpTo > after ? { fromSeq: after + 1, toSeq: state.lostUpTo } : null,
  };
}

/** The holder's side: the highest caller sequence taken. Durable, so that a successor starts from it. */
export interface IngressMark {
  highWater: number;
}

/** Whether a frame, live or resent, is new (F-158). `missed` frames before it are lost, not late: lanes keep order. */
export function ingressTake(mark: IngressMark, seq: number): { take: boolean; missed: number } {
  invariant(Number.isSafeInteger(seq) && seq >= 1, "caller sequences begin at 1", seq);
  if (seq <= mark.highWater) return { take: false, missed: 0 };
  const missed = seq - mark.highWater - 1;
  mark.highWater = seq;
  return { take: true, missed };
}

function shift<P>(state: CallerAudioState<P>): CallerFrame<P> {
  const frame = state.frames.shift();
  invariant(frame !== undefined, "a buffer over its bound is not empty");
  state.audioUs -= frame.audioUs;
  state.bytes -= frame.bytes;
  return frame;
}
