/** One answer of a vendor's language model, whoever the vendor: what leaves, when it ends, and how its connection ends. */
import type { Clock } from "@rspp/ports/clock";
import type { InvocationSink, OutcomeKind } from "@rspp/ports/provider";
import { Attempt } from "../../attempt.ts";
import { type Ended, outcomeOfStatus } from "../http-outcome.ts";
import { GatheredCalls, type ToolCallDelta } from "./gathered-calls.ts";
import type { ChatValues } from "./settings.ts";

export const chatLimits = {
  TEXT_CHARS_MAX: 64 * 1_024,
  /** Of one answer as it comes over the wire. */
  BODY_BYTES_MAX: 8 * 1_024 * 1_024,
  /** After a success the rest of the body is read for so long, so that the connection can serve the next call. */
  LINGER_MS: 50,
} as const;

/** How the model says that it has ended. `refused` and `filtered` are safety blocks. */
export type Finish = "stop" | "length" | "filtered" | "refused";

export interface ChatTurnOptions {
  readonly clock: Clock;
  readonly values: ChatValues;
  /** Prefix of ids of tool calls where the vendor gives none. */
  readonly invocationId: string;
}

export class ChatTurn {
  readonly #attempt: Attempt;
  readonly #values: ChatValues;
  readonly #calls: GatheredCalls;
  readonly #abort = new AbortController();
  #deadline: NodeJS.Timeout | undefined;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #revision = 0;
  #chars = 0;
  #bytes = 0;
  #heard = false;
  #usage: { inputTokens?: number; outputTokens?: number } = {};
  /** The connection's own failure, whatever an SDK makes of it. */
  #broken: string | undefined;
  #refused: { readonly status: number; readonly retryAfter: string | null } | undefined;

  constructor(sink: InvocationSink, { clock, values, invocationId }: ChatTurnOptions) {
    this.#attempt = new Attempt(sink);
    this.#values = values;
    this.#calls = new GatheredCalls(invocationId);
    this.#attempt.onEnd(clock.hold());
    const guard = setTimeout(
      () => this.end("timeout", "the answer took longer than setting `total_timeout_ms`"),
      values.total_timeout_ms,
    );
    this.#attempt.onEnd(() => clearTimeout(guard));
    this.#attempt.onEnd(() => clearTimeout(this.#deadline));
  }

  get done(): boolean {
    return this.#attempt.done;
  }

  /** For SDKs in place of the platform's own: deadlines, the end of the connection and its bounds are kept here. */
  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const { streaming, connect_timeout_ms, stall_ms } = this.#values;
    const headMs = connect_timeout_ms + (streaming ? 0 : stall_ms);
    this.#due(headMs, "no answer within setting `connect_timeout_ms`");
    let response: Response;
    try {
      // A prompt goes to the endpoint configured, and is not sent after it elsewhere.
      response = await fetch(input, { ...init, signal: this.#abort.signal, redirect: "error" });
    } catch (failure) {
      this.#broken = codeOf(failure);
      throw failure;
    }
    if (!response.ok) this.#refused = { status: response.status, retryAfter: response.headers.get("retry-after") };
    this.#due(stall_ms, "stalled: nothing came within setting `stall_ms`");
    if (response.body === null) return response;
    this.#reader = response.body.getReader();
    return new Response(this.#watched(this.#reader), {
      status: response.status,
      statusText: response.statusText,
      headers: response.headers,
    });
  };

  /** An event came. */
  heard(): void {
    this.#heard = true;
    this.#deadline?.refresh();
  }

  text(text: string): void {
    if (text === "" || this.done) return;
    this.#chars += text.length;
    if (this.#chars > chatLimits.TEXT_CHARS_MAX)
      return this.end("error", `the answer is longer than ${chatLimits.TEXT_CHARS_MAX} characters`);
    this.#attempt.chunk({ kind: "text", text, segment: 0, revision: this.#revision++, final: false });
  }

  /** Pieces of tool calls, or whole ones. */
  calls(deltas: readonly ToolCallDelta[]): void {
    const problem = this.#calls.add(deltas);
    if (problem !== "") this.end("error", problem);
  }

  used(inputTokens: number | null | undefined, outputTokens: number | null | undefined): void {
    if (typeof inputTokens === "number") this.#usage.inputTokens = inputTokens;
    if (typeof outputTokens === "number") this.#usage.outputTokens = outputTokens;
  }

  /** The answer is whole. */
  complete(finish: Finish): void {
    if (finish === "filtered") return this.end("safety_block", "content filter");
    if (finish === "refused") return this.end("safety_block", "the model refused");
    if (finish === "length" && this.#calls.size > 0)
      return this.end("error", "the answer was cut in the middle of a tool call; raise max_tokens");
    if (this.#chars === 0 && this.#calls.size === 0) return this.end("empty", "the answer holds no text");
    for (const call of this.#calls.all()) this.#attempt.chunk({ kind: "tool_call", ...call });
    this.end("success", "");
  }

  end(kind: OutcomeKind, detail: string): void {
    if (this.done) return;
    const known = Object.keys(this.#usage).length > 0;
    // Only what ended well is let run out; else the vendor sees the connection closed now, and no bill runs on.
    if (kind !== "success") this.#abort.abort();
    this.#attempt.end(kind, detail, known ? this.#usage : undefined);
    if (kind === "success") void this.#drain();
  }

  /** The adapter has no more to read; of what it was told it made no end. */
  ranOut(): void {
    if (this.#heard) this.end("disconnect", "the stream ended before the answer did");
    else this.end("error", "malformed: the answer holds nothing of the protocol");
  }

  /** What an SDK threw. @param code the vendor's word for an error in its answer; undefined: none, it was not understood. */
  failed(code: string | undefined): void {
    if (this.done) return;
    if (this.#broken !== undefined)
      return this.end("disconnect", `the connection failed${this.#broken === "" ? "" : ` (${this.#broken})`}`);
    if (this.#refused !== undefined)
      return this.end(...outcomeOfStatus(this.#refused.status, code, this.#refused.retryAfter));
    if (code === undefined) return this.end("error", "malformed: the answer is not of the vendor's protocol");
    this.end(...inStream(code));
  }

  #due(ms: number, detail: string): void {
    clearTimeout(this.#deadline);
    if (this.done) return;
    this.#deadline = setTimeout(() => this.end("timeout", detail), ms);
  }

  #watched(reader: ReadableStreamDefaultReader<Uint8Array>): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          try {
            const { done, value } = await reader.read();
            if (done) return controller.close();
            this.#bytes += value.length;
            if (this.#bytes > chatLimits.BODY_BYTES_MAX) {
              this.end("error", `malformed: the answer is longer than ${chatLimits.BODY_BYTES_MAX} bytes`);
              controller.error(new RangeError("too long"));
            } else controller.enqueue(value);
          } catch (failure) {
            this.#broken = codeOf(failure);
            controller.error(failure);
          }
        },
      },
      { highWaterMark: 0 },
    );
  }

  async #drain(): Promise<void> {
    const timer = setTimeout(() => this.#abort.abort(), chatLimits.LINGER_MS);
    try {
      while (this.#reader !== undefined && !(await this.#reader.read()).done);
    } catch {
      // Cut off, or broken: the answer is out already.
    }
    clearTimeout(timer);
  }
}

/** An error told within an answer that began well. */
function inStream(code: string): Ended {
  const where = "the endpoint reported an error in its stream";
  if (/rate_?limit|resource_exhausted/i.test(code)) return ["overload", `rate_limited: ${where}`];
  if (/overload|unavailable/i.test(code)) return ["overload", where];
  if (/timeout|deadline/i.test(code)) return ["timeout", where];
  const [kind] = outcomeOfStatus(400, code);
  return [kind, where];
}

/** fetch reports every network failure as a TypeError whose cause holds the code. */
function codeOf(failure: unknown): string {
  const cause = failure instanceof Error ? (failure.cause as { code?: unknown } | undefined) : undefined;
  return typeof cause?.code === "string" ? cause.code : "";
}
