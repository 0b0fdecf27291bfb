import type { Clock } from "@rspp/ports/clock";
import { Attempt, endedInvocation, type ManagedProvider } from "../attempt.ts";
import { roundsSoFar, scriptedAnswer, scriptedCalls, toolScriptSpecs } from "../scripted-tools.ts";
import { readSettings } from "../settings.ts";
import { Pace, sendPaced, simSpecs } from "../sim/pace.ts";
import { answerTo } from "./answers.ts";

const specs = {
  first_chunk_ms: simSpecs.first_chunk_ms,
  /** Between words. */
  chunk_ms: simSpecs.chunk_ms,
  ...toolScriptSpecs,
} as const;

/**
 * `local/responder`: a small deterministic agent without a model (greeting, sums, days of a month, spelling,
 * directions, opening hours, counting, a story, repeat, help, goodbye). Streams word by word when the messages arrive.
 * Calls the tools it is offered by a phrasebook. Settings: `first_chunk_ms`, `chunk_ms` (both 0), `tool_calls`, `tool_answers`.
 */
export function createResponder(options: { clock: Clock }): ManagedProvider {
  const { clock } = options;
  return {
    name: "local/responder",
    modality: "llm",
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      const attempt = new Attempt(sink);
      const exact = { ...read.values, jitter_ms: 0, distribution: "uniform", seed: "", fault: "none" };
      const pace = new Pace(clock, attempt, request, exact);
      let started = false;
      return {
        push(input) {
          if (input.kind !== "messages" || started) return;
          started = true;
          const { messages, tools = [] } = input;
          const calls =
            roundsSoFar(messages) > 0 ? [] : scriptedCalls(read.values, messages, tools, request.invocationId);
          if (calls.length > 0) {
            return sendPaced(
              pace,
              calls,
              (call) => attempt.chunk({ kind: "tool_call", ...call }),
              () => attempt.end("success", "", { outputTokens: calls.length }),
            );
          }
          const words = (scriptedAnswer(read.values, messages) ?? answerTo(messages)).match(/\s*\S+/g) ?? [];
          sendPaced(
            pace,
            words,
            (text, revision) => attempt.chunk({ kind: "text", text, segment: 0, revision, final: false }),
            () => attempt.end("success", "", { outputTokens: words.length }),
          );
        },
        finish() {
          if (!started) pace.after(0, () => attempt.end("empty", "finished without messages"));
        },
        cancel: () => attempt.end("cancelled", "cancelled"),
      };
    },
  };
}
