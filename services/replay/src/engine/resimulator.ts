/**
 * Recomputed emissions in place of recorded ones (`kernel.md` §12): each is offered at the recorded position of its (command,
 * index), with the recorded latency. Extra, missing and different ones are divergences.
 */
import { canonicalJson } from "@rspp/base/canonical-json";
import type { Effect } from "@rspp/kernel/effect";
import type { TextSpan } from "@rspp/kernel/event";
import type { InputBody } from "@rspp/kernel/input";
import type { StepDivergence } from "./replay-run.ts";

/** One call of a provider or node, as far as it has come. */
export interface CallView {
  /** `provider_open`, `node_event`, `node_input` …: what asked. */
  readonly opened: Effect;
  /** What was pushed to it since, in order. */
  readonly pushed: readonly Effect[];
  /** Empty where payloads are not recorded. */
  textOf(spans: readonly TextSpan[]): string;
  /** What was recorded at this index; undefined past the last. */
  recorded(index: number): InputBody | undefined;
}

/** Its invocation or command number and index are set by the engine. */
export interface Recomputed {
  readonly body: InputBody;
  /** Content of the payload of a text. Without it the recorded payload stands. */
  readonly text?: string;
}

export interface Resimulator {
  /** Null: it emits nothing at this index. Undefined: it cannot be recomputed here, and the recorded emission is served. */
  emit(call: CallView, index: number): Recomputed | null | undefined;
}

/** The last emission of a call. */
export function isFinal({ type }: InputBody): boolean {
  return ["provider_outcome", "node_done", "node_failed", "node_stopped", "cancel_acked", "node_ready"].includes(type);
}

/** The difference between a recorded emission and the recomputed one; null where there is none. */
export function emissionDivergence(
  batch: number,
  recorded: InputBody | null,
  found: InputBody | null,
): StepDivergence | null {
  const expected = told(recorded);
  const now = told(found);
  if (expected === now) return null;
  const of = { batch, expected: expected || "no emission", found: now || "no emission" };
  if (recorded === null || found === null || recorded.type !== found.type) return { ...of, class: "ORDERING" };
  return { ...of, class: recorded.type === "provider_outcome" ? "OUTCOME" : "PAYLOAD" };
}

/** A body without the numbers that a run gives it. */
function told(body: InputBody | null): string {
  if (body === null) return "";
  const { invocation: _i, command: _c, index: _x, instance: _n, ...rest } = body as unknown as Record<string, unknown>;
  return canonicalJson(rest);
}
