/**
 * T11 under the policy `remap`: what a language model still says after its turn has closed becomes a new proposal, once it has
 * ended or its grace is over. Bounded, and never the old turn again (F-140).
 */
import type { MonoNs } from "@rspp/base/brand";
import { cutText } from "./conversation.ts";
import { releaseText } from "./hearing.ts";
import type { ChunkAudio, ChunkText, ChunkToolCall } from "./input.ts";
import { nodeOf } from "./invocations.ts";
import { LATE_TEXT_CHUNKS_MAX } from "./limits.ts";
import { spansLength } from "./rope.ts";
import { findTurn, type InvocationState } from "./state.ts";
import { ask, type StepContext, signal } from "./step-context.ts";
import { turnClosed } from "./turn-lifecycle.ts";

const REASON = "late_event";

/** Takes a copy: the chunk's own payload goes with its turn. */
export function keepLate(cx: StepContext, inv: InvocationState, chunk: ChunkText | ChunkAudio | ChunkToolCall): void {
  if (chunk.type !== "text" || inv.modality !== "llm" || inv.turn === 0 || inv.status !== "cancelled") return;
  // Given text goes through the translator once more: what it still says is not kept.
  if (nodeOf(cx, inv).kind === "translator") return;
  const turn = findTurn(cx.s, inv.turn);
  const open = turn !== undefined && !turnClosed(turn.phase);
  if (open || cx.s.authority.held !== "held" || inv.late.length >= LATE_TEXT_CHUNKS_MAX) return;
  inv.late.push(cutText(cx, [{ ref: chunk.payload.ref, from: 0, to: chunk.chars }]));
}

/** The invocation is over: what came late of it is proposed. */
export function proposeLate(cx: StepContext, inv: InvocationState): void {
  const said = inv.late;
  inv.late = [];
  if (said.length === 0) return;
  if (ask(cx, { fn: "is_blank", spans: said }) === true) return releaseText(cx, said);
  // Parts of one stream: they carry their own spaces.
  const spans = [cutText(cx, said)];
  releaseText(cx, said);
  signal(cx, "turn_open_proposed", "api", 0, REASON, { origin: "api", lateOf: inv.turn });
  cx.proposals.push({
    id: 0,
    origin: "api",
    utterance: 0,
    spans: [],
    chars: 0,
    say: { spans, chars: spansLength(spans) },
    key: "",
    reason: REASON,
    proposedNs: cx.atNs,
    cause: cx.inputSeq,
    firstVoicedNs: 0 as MonoNs,
    lastVoicedNs: 0 as MonoNs,
    speculation: 0,
    invocations: [],
  });
}
