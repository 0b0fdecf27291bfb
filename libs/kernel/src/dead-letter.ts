/**
 * Dead letters (F-132): what cannot be processed is kept on the timeline for analysis, bounded, as its kind, reason and
 * handle; never what it said.
 */
import { canonicalJson } from "@rspp/base/canonical-json";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import { boundText } from "./evidence-bounds.ts";
import type { StepContext } from "./step-context.ts";

export interface DeadLetter {
  /** What it was: `control`, `provider_chunk`, `node_event`. */
  what: string;
  /** A class of the taxonomy or a reason of a node. */
  reason: string;
  /** Name of the signal, node or invocation it has to do with; "" for none. */
  source: string;
  turn: number;
  /** Of its payload, where it has one: "" at L0. */
  payloadHash?: string;
  payloadBytes?: number;
}

export function deadLetter(cx: StepContext, letter: DeadLetter): void {
  const { deadLetters } = cx.s.config.graph;
  if (deadLetters === undefined) return;
  const state = cx.s.deadLetters ?? { kept: 0, dropped: 0 };
  cx.s.deadLetters = state;
  if (state.kept >= deadLetters.max) {
    state.dropped += 1;
    cx.effects.push({
      type: "telemetry",
      name: "dead_letters_dropped",
      value: state.dropped,
      turn: letter.turn,
      node: "",
    });
    return;
  }
  state.kept += 1;
  const body = {
    schema: "dead_letter/v1",
    number: state.kept,
    what: letter.what,
    reason: boundText(letter.reason),
    source: boundText(letter.source),
    turn: letter.turn,
    inputSeq: cx.inputSeq,
    payloadHash: letter.payloadHash ?? "",
    payloadBytes: letter.payloadBytes ?? 0,
    atNs: cx.atNs,
  };
  const hash = sha256Utf8Hex(canonicalJson(body));
  cx.effects.push({
    type: "record",
    record: { kind: "dead_letter", number: state.kept, turn: letter.turn, hash, letter: { ...body, hash } },
  });
}
