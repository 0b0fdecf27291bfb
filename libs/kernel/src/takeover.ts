/**
 * A session that goes on here after another runtime held it (`kernel.md` §7, §8; F-096, F-157). What the predecessor left
 * open is closed, what the caller had not heard is answered, in the first step of its life.
 */
import type { MonoNs } from "@rspp/base/brand";
import { appendPart, cutText } from "./conversation.ts";
import type { DurableReply, DurableState } from "./durable-state.ts";
import type { TextSpan } from "./event.ts";
import { dialogueOf } from "./hang-up.ts";
import { releaseText } from "./hearing.ts";
import { sliceSpans, spansLength } from "./rope.ts";
import type { SessionState } from "./state.ts";
import { ask, type StepContext, signal } from "./step-context.ts";
import type { OpenTurnSeen, Takeover } from "./takeover-state.ts";

/**
 * F-157: the session waits for a turn boundary, to be handed over. The successor's epoch is not known yet: it is told by the
 * finish, here the least that it can be.
 */
export function startMigration(cx: StepContext): void {
  const { epoch } = cx.s.authority;
  signal(cx, "migration_start", "routing", 0, "migration", { epochOld: epoch, epochNew: epoch + 1 });
}

/** Whether nothing is open that a successor would not have: no turn, no delivery, no speech of the caller. */
export function atTurnBoundary({ turns, proposals, prelude }: SessionState): boolean {
  return (
    turns.length === 0 && proposals.size === 0 && prelude.utterance.phase === "none" && prelude.closing.length === 0
  );
}

/** The caller is there. */
export function goOnAfterTakeover(cx: StepContext): void {
  const taken = cx.s.config.takeover;
  if (taken === undefined) return;
  const { predecessorEpoch, planned, durable, openTurn } = taken;
  signal(cx, planned ? "migration_finish" : "session_handoff", "routing", 0, planned ? "migration" : "failover", {
    epochOld: predecessorEpoch,
    epochNew: cx.s.authority.epoch,
    state: taken.state,
    stateVersion: taken.stateVersion,
  });
  restoreDialogue(cx, durable);
  if (openTurn !== null) closeOpenTurn(cx, taken, openTurn);
  settleReplies(cx, taken);
}

function restoreDialogue(cx: StepContext, durable: DurableState | null): void {
  const [summary] = durable?.summary ?? [];
  if (durable === null || (durable.prompted === 0 && summary === undefined)) return;
  const d = dialogueOf(cx);
  d.prompted = durable.prompted;
  if (summary !== undefined) d.summary = { pending: [], invocation: 0, asked: [], adopted: summary };
}

/** The successor appends the terminal its predecessor owes, and what the adapter still holds of it is cut. */
function closeOpenTurn(cx: StepContext, { durable }: Takeover, turn: OpenTurnSeen): void {
  if (turn.complete) return;
  const { number, generation } = turn;
  cx.effects.push({
    type: "egress_fence",
    epoch: cx.s.authority.epoch,
    turn: number,
    generation: generation + 1,
    all: true,
    reason: "authority_loss",
  });
  // What was committed stays so, whether the adapter has heard of it or not: no second terminal.
  if (turn.committed || durable?.replies.some((reply) => reply.turn === number) === true) return;
  signal(cx, "abort", "arbiter", number, "authority_loss", { cause: "takeover" });
  signal(cx, "close", "arbiter", number);
}

/**
 * Of committed replies the conversation gets what was heard. The rest of one that was cut off is said in a turn of its own;
 * where there was no reply yet, the caller is answered anew.
 */
function settleReplies(cx: StepContext, { durable, openTurn, lastTurnSeen }: Takeover): void {
  let rest: TextSpan[] = [];
  for (const { turn, clauses } of durable?.replies ?? []) {
    const spans = clauses.flatMap((clause) => clause.spans);
    // What is not open at the adapter has been played to its end, and its report was on its way.
    const cut = openTurn !== null && openTurn.number === turn && !openTurn.complete;
    const chars = cut ? heardChars(cx, clauses, openTurn.playedUs) : spansLength(spans);
    const heard = sliceSpans(spans, 0, chars);
    if (chars > 0) appendPart(cx, { role: "assistant", turn, spans: [cutText(cx, heard)], chars });
    const left = sliceSpans(spans, chars, spansLength(spans));
    if (cut && left.length > 0 && ask(cx, { fn: "is_blank", spans: left }) !== true) rest = [cutText(cx, left)];
    releaseText(cx, spans);
  }
  if (rest.length > 0) return recover(cx, { spans: rest, chars: spansLength(rest) });
  const { conversation, topology } = cx.s;
  const last = conversation.at(-1);
  // What the caller himself cut off is answered with his next words.
  const owed = openTurn === null ? (last?.turn ?? 0) > lastTurnSeen : !openTurn.complete;
  if (owed && last?.role === "user" && topology.llm !== -1) recover(cx, null);
}

function heardChars(cx: StepContext, clauses: DurableReply["clauses"], playedUs: number): number {
  let chars = 0;
  let startUs = 0;
  for (const clause of clauses) {
    const intoUs = playedUs - startUs;
    startUs += clause.durationUs;
    if (intoUs >= clause.durationUs) {
      chars += clause.chars;
      continue;
    }
    if (intoUs <= 0) break;
    if (clause.words !== null) {
      let end = 0;
      for (const word of clause.words) if (word.endUs <= intoUs) end = Math.max(end, word.to);
      return chars + Math.min(end, clause.chars);
    }
    const at = Math.floor((clause.chars * intoUs) / Math.max(1, clause.durationUs));
    return chars + (ask(cx, { fn: "word_end_before", spans: clause.spans, at }) as number);
  }
  return chars;
}

function recover(cx: StepContext, say: { spans: readonly TextSpan[]; chars: number } | null): void {
  const reason = "recovery";
  signal(cx, "turn_open_proposed", "api", 0, reason, { origin: "api" });
  cx.proposals.push({
    id: 0,
    origin: "api",
    utterance: 0,
    spans: [],
    chars: 0,
    say,
    key: "",
    reason,
    proposedNs: cx.atNs,
    cause: cx.inputSeq,
    firstVoicedNs: 0 as MonoNs,
    lastVoicedNs: 0 as MonoNs,
    speculation: 0,
    invocations: [],
  });
}
