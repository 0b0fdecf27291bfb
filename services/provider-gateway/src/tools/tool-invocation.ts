/**
 * One call of a tool, however it is made: arguments checked first, one outcome, a deadline of its own. A cancel cuts
 * off what has no effect; side-effecting work that has been begun goes on to its end or deadline (`kernel.md` §4).
 */
import type { Clock } from "@rspp/ports/clock";
import type { Invocation, InvocationInput, InvocationOpen, InvocationSink, OutcomeKind } from "@rspp/ports/provider";
import { Attempt } from "../attempt.ts";
import type { SettingValues } from "../settings.ts";
import type { ArgumentsCheck } from "./check-arguments.ts";
import type { ExecutedCalls } from "./executed.ts";

/** Settings that every tool has, from the compiled pipeline. */
export const toolSpecs = {
  /** JSON Schema of the arguments. */
  parameters: { type: "string", default: '{"type":"object"}' },
  side_effect: { type: "string", default: "side_effecting", oneOf: ["none", "idempotent", "side_effecting"] },
  result_bytes_max: { type: "number", default: 16_384, min: 16, max: 65_536 },
  /** `name: reference`; values are looked up when the tool is called. */
  headers: { type: "strings", default: [] },
} as const;

type Common = SettingValues<typeof toolSpecs>;

export interface ToolAnswer {
  readonly kind: OutcomeKind;
  /** Static words for logs and evidence. */
  readonly detail: string;
  /** For the model; "" for nothing. */
  readonly text: string;
}

export interface ToolRun {
  readonly args: Readonly<Record<string, unknown>>;
  readonly idempotencyKey: string;
  /** Whether a second try does nothing a second time. */
  readonly repeatable: boolean;
  readonly signal: AbortSignal;
  /** Instant of the deadline on `performance.now()`. */
  readonly untilMs: number;
  readonly resultBytesMax: number;
  readonly trace: string;
}

export interface ToolPlace {
  readonly clock: Clock;
  readonly check: ArgumentsCheck;
  readonly executed: ExecutedCalls;
  /** Calls under way, to be cut off when the gateway stops. */
  readonly running: Set<AbortController>;
}

export type ToolWork = (run: ToolRun) => Promise<ToolAnswer>;

export class ToolInvocation implements Invocation {
  readonly #place: ToolPlace;
  readonly #request: InvocationOpen;
  readonly #values: Common;
  readonly #attempt: Attempt;
  readonly #work: ToolWork;
  readonly #abort = new AbortController();
  #started = false;
  /** Side-effecting work has been handed out. */
  #begun = false;

  constructor(place: ToolPlace, request: InvocationOpen, sink: InvocationSink, values: Common, work: ToolWork) {
    this.#place = place;
    this.#request = request;
    this.#values = values;
    this.#attempt = new Attempt(sink);
    this.#work = work;
  }

  push(input: InvocationInput): void {
    if (input.kind !== "text" || this.#started || this.#attempt.done) return;
    this.#started = true;
    const { clock, running } = this.#place;
    const release = clock.hold();
    running.add(this.#abort);
    const timer = setTimeout(() => {
      this.#attempt.end("timeout", "no result within its deadline");
      this.#abort.abort();
    }, this.#request.attemptTimeoutMs);
    const untilMs = performance.now() + this.#request.attemptTimeoutMs;
    this.#run(input.text, untilMs)
      .catch((error: unknown): ToolAnswer => ({ kind: "error", detail: threw(error), text: "" }))
      .then((answer) => this.#answer(answer))
      .finally(() => {
        clearTimeout(timer);
        running.delete(this.#abort);
        release();
      });
  }

  finish(): void {
    if (this.#started || this.#attempt.done) return;
    const { clock } = this.#place;
    const timer = clock.timerAt(clock.nowNs(), () => this.#attempt.end("empty", "finished without arguments"));
    this.#attempt.onEnd(() => timer.clear());
  }

  cancel(): void {
    if (!this.#begun) this.#abort.abort();
    this.#attempt.end("cancelled", this.#begun ? "cancelled; the call goes on" : "cancelled");
  }

  async #run(json: string, untilMs: number): Promise<ToolAnswer> {
    const { parameters, side_effect, result_bytes_max } = this.#values;
    const { idempotencyKey, headers = {} } = this.#request;
    const checked = await this.#place.check.check(parameters, json);
    if (!checked.ok) return refused("the arguments do not fit the tool's parameters", checked.problem);
    if (this.#attempt.done) return refused("cancelled", "");
    const sideEffecting = side_effect === "side_effecting";
    if (sideEffecting) {
      if (!this.#place.executed.begin(this.#request))
        return refused("this call was made before; it is not made twice", "this call was made before");
      this.#begun = true;
    }
    return this.#work({
      args: checked.value,
      idempotencyKey,
      repeatable: !sideEffecting,
      signal: this.#abort.signal,
      untilMs,
      resultBytesMax: result_bytes_max,
      trace: headers.traceparent ?? "",
    });
  }

  #answer({ kind, detail, text }: ToolAnswer): void {
    piecesOf(text).forEach((piece, revision, all) => {
      this.#attempt.chunk({ kind: "text", text: piece, segment: 0, revision, final: revision === all.length - 1 });
    });
    this.#attempt.end(kind, detail);
  }
}

const PIECE_CHARS_MAX = 16_384;

/** A result in pieces that any line takes; none is cut within a character. */
function piecesOf(text: string): string[] {
  const pieces: string[] = [];
  for (let from = 0; from < text.length; ) {
    let to = Math.min(text.length, from + PIECE_CHARS_MAX);
    if (to < text.length && (text.charCodeAt(to) & 0xfc00) === 0xdc00) to -= 1;
    pieces.push(text.slice(from, to));
    from = to;
  }
  return pieces;
}

/** An error that the model can do something about. */
export function refused(detail: string, told: string): ToolAnswer {
  return { kind: "error", detail, text: told === "" ? "" : JSON.stringify({ error: told }) };
}

/** What a tool threw, by its kind alone: its message may hold an address, an argument or a secret. */
function threw(error: unknown): string {
  return error instanceof Error && error.name === "AbortError" ? "cut off" : "the call failed";
}
