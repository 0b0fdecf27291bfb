/**
 * What the caller is told when a turn has failed (F-135): by policy, per class of error, a sentence in a turn of its own, or
 * silence. Never about a turn that was such a sentence itself, nor into what the caller is saying.
 */
import type { MonoNs } from "@rspp/base/brand";
import { classOfAbort } from "./error-taxonomy.ts";
import type { TurnState } from "./state.ts";
import { ask, type StepContext, signal, type TerminalCause } from "./step-context.ts";

export const ERROR_RESPONSE = "error_response";

export function proposeErrorResponse(cx: StepContext, turn: TurnState, found: TerminalCause): void {
  const { errors } = cx.s.config.graph;
  if (errors === undefined || (found.kind !== "failure" && found.kind !== "budget_terminate")) return;
  if (turn.errorOf !== undefined || cx.s.lifecycle.phase !== "active" || cx.s.authority.held !== "held") return;
  if (cx.s.prelude.utterance.phase === "confirmed" || cx.s.prelude.closing.length > 0) return;
  const errorClass = classOfAbort(turn.terminalReason);
  const text = errors[errorClass] ?? errors.default ?? "";
  if (text === "") return;
  const ref = cx.s.nextDerivedRef;
  cx.s.nextDerivedRef -= 1;
  ask(cx, { fn: "cut", spans: [], from: 0, to: text.length, ref, literal: text });
  signal(cx, "turn_open_proposed", "timer", 0, ERROR_RESPONSE, { origin: "timer", errorOf: turn.number, errorClass });
  cx.proposals.push({
    id: 0,
    origin: "timer",
    utterance: 0,
    spans: [],
    chars: 0,
    say: { spans: [{ ref, from: 0, to: text.length }], chars: text.length },
    key: "",
    reason: ERROR_RESPONSE,
    proposedNs: cx.atNs,
    cause: cx.inputSeq,
    firstVoicedNs: 0 as MonoNs,
    lastVoicedNs: 0 as MonoNs,
    speculation: 0,
    invocations: [],
    errorOf: { turn: turn.number, class: errorClass },
  });
}
