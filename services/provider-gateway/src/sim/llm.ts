import type { Clock } from "@rspp/ports/clock";
import type { Invocation, InvocationChunk, InvocationOpen, InvocationSink, ToolCall } from "@rspp/ports/provider";
import { Attempt, endedInvocation, type ManagedProvider } from "../attempt.ts";
import { roundsSoFar, scriptedAnswer, scriptedCalls, toolScriptSpecs } from "../scripted-tools.ts";
import { readSettings } from "../settings.ts";
import { Pace, sendPaced, simSpecs } from "./pace.ts";

const specs = {
  ...simSpecs,
  /** What it says; empty: the last user message is repeated. */
  text: { type: "string", default: "" },
  /** Into how many pieces the text is cut; 0: one a word. */
  chunks: { type: "number", default: 0, min: 0, max: 10_000 },
  ...toolScriptSpecs,
  /** Answers that call the tools of `tool_calls` before it speaks of their results. */
  tool_rounds: { type: "number", default: 1, min: 0, max: 100 },
  /** Said in the answers that call. */
  tool_preamble: { type: "string", default: "" },
} as const;

/** `sim/llm`: says a set text with set waits and faults, seeded. Starts when the messages arrive. */
export function createSimLlm(options: { clock: Clock }): ManagedProvider {
  const { clock } = options;
  return { name: "sim/llm", modality: "llm", open: (request, sink) => openLlm(clock, request, sink) };
}

function openLlm(clock: Clock, request: InvocationOpen, sink: InvocationSink): Invocation {
  const read = readSettings(request.settings, specs);
  if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
  const { text, chunks } = read.values;
  const attempt = new Attempt(sink);
  const pace = new Pace(clock, attempt, request, read.values);
  const late = pace.fault === "late_data" || pace.fault === "chunk_after_terminal";
  const chunkOf = (piece: string, index: number): InvocationChunk => ({
    kind: "text",
    text: piece,
    segment: 0,
    revision: index,
    final: false,
  });
  let started = false;
  return {
    push(input) {
      if (input.kind !== "messages" || started || attempt.done) return;
      started = true;
      if (pace.failsAtOnce()) return;
      const { messages, tools = [] } = input;
      const more = roundsSoFar(messages) < read.values.tool_rounds;
      const calls = more ? scriptedCalls(read.values, messages, tools, request.invocationId) : [];
      if (calls.length > 0) return sendCalls(pace, attempt, calls, read.values.tool_preamble);
      const caller = messages.findLast((message) => message.role === "user")?.text;
      const said = scriptedAnswer(read.values, messages) || text || caller || "";
      const pieces = cut(said, chunks);
      if (pieces.length === 0 || pace.fault === "silent_audio") {
        pace.after(0, () => attempt.end("empty", "nothing to say"));
        return;
      }
      const send = (piece: string, index: number) =>
        late ? sink.chunk(chunkOf(piece, index)) : attempt.chunk(chunkOf(piece, index));
      const whole = pace.streaming ? pieces : [pieces.join("")];
      if (!pace.streaming && pace.fault === "none") {
        pace.afterAll(pieces.length, () => {
          send(whole[0] ?? "", 0);
          attempt.end("success", "", { outputTokens: pieces.length });
        });
        return;
      }
      sendPaced(pace, whole, send, () => {
        attempt.end("success", "", { outputTokens: pieces.length });
        if (pace.fault === "chunk_after_terminal") send(" late", pieces.length);
      });
    },
    finish() {
      if (!started) pace.after(0, () => attempt.end("empty", "finished without messages"));
    },
    cancel: () => attempt.end("cancelled", "cancelled"),
  };
}

/** An answer that calls tools, and may say something before. */
function sendCalls(pace: Pace, attempt: Attempt, calls: readonly ToolCall[], preamble: string): void {
  const said: InvocationChunk[] =
    preamble === "" ? [] : [{ kind: "text", text: preamble, segment: 0, revision: 0, final: false }];
  const chunks = [...said, ...calls.map((call): InvocationChunk => ({ kind: "tool_call", ...call }))];
  sendPaced(
    pace,
    chunks,
    (chunk) => attempt.chunk(chunk),
    () => attempt.end("success", "", { outputTokens: chunks.length }),
  );
}

/** Pieces that join to the text again; words keep the space before them. */
function cut(text: string, pieces: number): string[] {
  const words = text.match(/\s*\S+/g) ?? [];
  if (pieces === 0 || pieces >= words.length) return words;
  const out: string[] = [];
  for (let i = 0; i < pieces; i++) {
    const from = Math.floor((i * words.length) / pieces);
    out.push(words.slice(from, Math.floor(((i + 1) * words.length) / pieces)).join(""));
  }
  return out;
}
