/**
 * The session-durable state (`kernel.md` §8; F-155): what a successor on another runtime starts from. Hot state (detectors,
 * utterances, speculations, nodes) is not in it and starts anew there. Plain data over handles: the shell reads the texts.
 */
import { type MonoNs, NS_PER_MS } from "@rspp/base/brand";
import type { TextSpan, WordMark } from "./event.ts";
import { DURABLE_KEYS_MAX, SPEECH_CHAR_US, TAKEOVER_ONSET_US } from "./limits.ts";
import { MAX_CALL_TIMER } from "./silence.ts";
import type { SegmentPlay, SessionState, TurnState } from "./state.ts";
import type { ConversationPart } from "./tool-state.ts";

/** A clause of a reply as it was to be heard. */
export interface DurableClause {
  spans: readonly TextSpan[];
  chars: number;
  /** Length of its audio, microseconds. */
  durationUs: number;
  words: readonly WordMark[] | null;
}

/** A reply that is committed and was not yet heard to its end. */
export interface DurableReply {
  turn: number;
  clauses: readonly DurableClause[];
}

export interface DurableState {
  /** Turns given out so far. */
  lastTurn: number;
  /** As heard; what was cut holds the words that were heard. */
  conversation: readonly ConversationPart[];
  /** What has left it, summed up. */
  summary: readonly TextSpan[];
  replies: readonly DurableReply[];
  /** Prompts on silence since the caller was last heard. */
  prompted: number;
  /** Rest of the longest call, milliseconds; -1 where it has no limit. */
  maxCallLeftMs: number;
  /** Caller audio up to this frame is heard and settled. */
  audioThrough: number;
  /** Positioned signals of the adapter up to this one have acted. */
  controlThrough: number;
  /** Latest idempotency keys, oldest first (F-158). */
  keys: readonly string[];
  language: string;
}

export function durableState(s: SessionState, nowNs: MonoNs): DurableState {
  const { dedupe, dialogue, timers } = s;
  const maxCallNs = timers[MAX_CALL_TIMER];
  const keys = [...dedupe.order.slice(dedupe.next), ...dedupe.order.slice(0, dedupe.next)];
  return {
    lastTurn: s.lastTurn,
    conversation: s.conversation,
    summary: dialogue?.summary?.adopted === undefined ? [] : [dialogue.summary.adopted],
    replies: s.turns.filter(isPending).map(replyOf),
    prompted: dialogue?.prompted ?? 0,
    maxCallLeftMs: maxCallNs === undefined ? -1 : Math.max(0, Math.round((maxCallNs - nowNs) / NS_PER_MS)),
    audioThrough: settledAudio(s),
    controlThrough: dedupe.highWater.control ?? 0,
    keys: keys.filter((key) => key !== "").slice(-DURABLE_KEYS_MAX),
    language: s.language ?? "",
  };
}

/** Committed, not cut, and not in the conversation yet. */
function isPending(turn: TurnState): boolean {
  return turn.phase === "closed_commit" && turn.cancelReason === "" && turn.heardChars === -1;
}

function replyOf({ number, segments }: TurnState): DurableReply {
  const clauses = segments.map((segment) => {
    const { spans, chars, words } = segment;
    return { spans, chars, durationUs: lengthOf(segment), words };
  });
  return { turn: number, clauses };
}

/** Of a clause that is not all sent: what its words say, else the usual pace. */
function lengthOf({ chars, durationUs, shedUs, words, complete }: SegmentPlay): number {
  const sentUs = durationUs + shedUs;
  if (complete) return sentUs;
  return Math.max(sentUs, words?.at(-1)?.endUs ?? chars * SPEECH_CHAR_US);
}

/**
 * Frames that nobody needs again: those already heard, and those before the speech under way. An onset is not noticed at its
 * first frame, hence a little earlier. 0: not known now, an earlier answer stands.
 */
function settledAudio({ prelude, timebase, proposals, lastAudioSequence }: SessionState): number {
  const frameUs = timebase.lastEndUs - timebase.lastStartUs;
  if (prelude.closing.length > 0 || proposals.size > 0 || !timebase.mapped || frameUs <= 0) return 0;
  const before = (us: number): number => lastAudioSequence - Math.ceil(Math.max(0, us) / frameUs);
  const underWayUs = prelude.utterance.phase === "none" ? 0 : prelude.utteranceUs;
  return Math.max(0, before(TAKEOVER_ONSET_US + underWayUs), before(timebase.lastEndUs - prelude.cutUs));
}
