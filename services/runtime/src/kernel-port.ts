import type { MonoNs } from "@rspp/base/brand";
import type { Digest } from "@rspp/base/digest";
import { type DurableState, durableState } from "@rspp/kernel/durable-state";
import type { Effect } from "@rspp/kernel/effect";
import { digestEffects } from "@rspp/kernel/effect-digest";
import type { TextSpan } from "@rspp/kernel/event";
import type { Batch } from "@rspp/kernel/input";
import type { Fact, FactAnswer, PureFunctions, TextQuestion } from "@rspp/kernel/pure-functions";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { createSession, findTurn, type GraphRun, type SessionState, type TurnState } from "@rspp/kernel/state";
import { step } from "@rspp/kernel/step";
import { atTurnBoundary } from "@rspp/kernel/takeover";
import { evaluateText } from "@rspp/kernel/text-functions";
import { timebaseErrorMs } from "@rspp/kernel/timebase";
import { late } from "@rspp/wire/late";

// Few pipelines have conditions, and the evaluator is large.
const evaluator = late<typeof import("@rspp/spec/cel")>(() => import.meta.resolve("@rspp/spec/cel"));

export interface KernelStep {
  effects: readonly Effect[];
  facts: readonly Fact[];
  runnable: boolean;
}

/** A turn as the kernel holds it, to be looked at: it stays readable, as it ended, after the kernel has let go of it. */
export type TurnView = Readonly<TurnState>;

/** The kernel as the shell drives it; tests of the shell put a scripted one in its place. */
export interface KernelPort {
  /** The state is the kernel's own; the shell passes it back untouched. */
  createSession(config: SessionConfig): unknown;
  step(state: unknown, batch: Batch, fns: PureFunctions): KernelStep;
  digest(digest: Digest, effects: readonly Effect[]): void;
  /** Of the last caller frame, milliseconds; negative before the first (NF-018). */
  mappingErrorMs(state: unknown): number;
  evaluateText(question: TextQuestion, join: (spans: readonly TextSpan[]) => string): FactAnswer;
  /** What a successor starts from (kernel.md §8); a scripted kernel has none. */
  readonly durable?: {
    state(state: unknown, nowNs: MonoNs): DurableState;
    atTurnBoundary(state: unknown): boolean;
  };
  /** For measurement alone; a scripted kernel has none. */
  readonly look?: {
    /** Null where there is no such turn. */
    turn(state: unknown, number: number): TurnView | null;
    /** The session's own part of the graph; null where the state is no kernel's. */
    run(state: unknown): Readonly<GraphRun> | null;
  };
}

export const kernel: KernelPort = {
  createSession,
  step: (state, batch, fns) => step(state as SessionState, batch, { fns }),
  digest: digestEffects,
  mappingErrorMs(state) {
    const { timebase } = state as SessionState;
    return timebase.mapped ? timebaseErrorMs(timebase) : -1;
  },
  evaluateText: (question, join) =>
    question.fn === "predicate" ? evaluator().answerPredicate(question) : evaluateText(question, join),
  durable: {
    state: (state, nowNs) => durableState(state as SessionState, nowNs),
    atTurnBoundary: (state) => atTurnBoundary(state as SessionState),
  },
  look: {
    turn: (state, number) => findTurn(state as SessionState, number) ?? null,
    run: (state) => (state as Partial<SessionState>).run ?? null,
  },
};
