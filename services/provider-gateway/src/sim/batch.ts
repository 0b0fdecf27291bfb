import { monoPlusNs, msToNs } from "@rspp/base/brand";
import type { Clock } from "@rspp/ports/clock";
import type { InvocationInput, InvocationSink } from "@rspp/ports/provider";
import type { ManagedProvider } from "../attempt.ts";
import type { BatchCall, BatchRun } from "../batch/batch.ts";
import { readSettings } from "../settings.ts";

const specs = {
  /** What it says; empty: the last user message is repeated. */
  text: { type: "string", default: "" },
  /** From a request to its answers, however many calls are in it. */
  answer_ms: { type: "number", default: 20, min: 0, max: 600_000 },
  fault: { type: "string", default: "none", oneOf: ["none", "overload", "throw", "silent"] },
} as const;

export interface SimBatchOptions {
  readonly clock: Clock;
  /** Calls in one request at most. Default 8. */
  readonly itemsMax?: number;
  /** Milliseconds that the first call waits for others. Default 20. */
  readonly windowMs?: number;
  /** Milliseconds kept free for the answer. Default 50. */
  readonly answerMs?: number;
  /** Told of each request, with the ids of its sessions. */
  readonly onRequest?: (sessions: readonly string[]) => void;
}

/**
 * `sim/batch`: a simulated text model behind an interface that takes several calls in one request and gives each answer
 * whole. One request holds the calls of one tenant with the same settings.
 */
export function createSimBatch(options: SimBatchOptions): ManagedProvider {
  const run = (calls: readonly BatchCall[]): BatchRun => request(options, calls);
  return {
    name: "sim/batch",
    modality: "llm",
    batch: {
      itemsMax: options.itemsMax ?? 8,
      windowMs: options.windowMs ?? 20,
      answerMs: options.answerMs ?? 50,
      run,
    },
    // Only for who goes round the gateway: a request of one.
    open(asked, sink) {
      const inputs: InvocationInput[] = [];
      const call: BatchCall = { request: asked, inputs, sink };
      let running: BatchRun | null = null;
      return {
        push: (input) => void inputs.push(input),
        finish: () => {
          running ??= run([call]);
        },
        cancel: (reason) => {
          running?.cancel(call, reason);
          sink.outcome({ kind: "cancelled", detail: "cancelled" });
        },
      };
    },
  };
}

function request({ clock, onRequest }: SimBatchOptions, calls: readonly BatchCall[]): BatchRun {
  onRequest?.(calls.map(({ request: { sessionId } }) => sessionId));
  const read = readSettings(calls[0]?.request.settings ?? {}, specs);
  const values = read.ok ? read.values : null;
  if (values?.fault === "throw") throw new Error("sim: thrown as asked");
  const wanted = new Set(calls);
  const waitMs = values?.answer_ms ?? 0;
  const timer = clock.timerAt(monoPlusNs(clock.nowNs(), msToNs(waitMs)), () => {
    for (const call of wanted) {
      if (!read.ok) call.sink.outcome({ kind: "error", detail: read.problem });
      else if (read.values.fault === "overload") call.sink.outcome({ kind: "overload", detail: "sim: too many" });
      else if (read.values.fault === "none") answer(call.sink, read.values.text || lastSaid(call.inputs));
    }
  });
  return {
    cancel: (call) => {
      wanted.delete(call);
      if (wanted.size === 0) timer.clear();
    },
  };
}

function answer(sink: InvocationSink, text: string): void {
  if (text === "") return sink.outcome({ kind: "empty", detail: "nothing to say" });
  sink.chunk({ kind: "text", text, segment: 0, revision: 0, final: false });
  sink.outcome({ kind: "success", detail: "", usage: { outputTokens: text.split(/\s+/).length } });
}

function lastSaid(inputs: readonly InvocationInput[]): string {
  const asked = inputs.find((input) => input.kind === "messages");
  return asked?.kind === "messages" ? (asked.messages.findLast(({ role }) => role === "user")?.text ?? "") : "";
}
