/** Proposals the kernel makes of its own accord: a sentence of the spec, said in a turn (`kernel.md` §2). */
import type { MonoNs } from "@rspp/base/brand";
import { cutText } from "./conversation.ts";
import type { ProposalOptions } from "./dialogue-state.ts";
import type { TextSpan } from "./event.ts";
import { spansLength } from "./rope.ts";
import type { StepContext } from "./step-context.ts";
import { signal } from "./step-context.ts";

/** The turn gets a copy: what it says goes with it, and the sentence may be wanted again. */
export function proposeSentence(
  cx: StepContext,
  sentence: readonly TextSpan[],
  reason: string,
  options: ProposalOptions,
  origin: "timer" | "operator" | "endpoint" = "timer",
): void {
  const spans = [cutText(cx, sentence)];
  const emitter = origin === "endpoint" ? "prelude" : origin;
  signal(cx, "turn_open_proposed", emitter, 0, reason, { origin });
  cx.proposals.push({
    id: 0,
    origin,
    utterance: 0,
    spans: [],
    chars: 0,
    say: { spans, chars: spansLength(spans) },
    key: "",
    reason,
    proposedNs: cx.atNs,
    cause: cx.inputSeq,
    firstVoicedNs: 0 as MonoNs,
    lastVoicedNs: 0 as MonoNs,
    speculation: 0,
    invocations: [],
    ...options,
  });
}
