/**
 * A planned migration at the runtime that gives the session away (kernel.md §7; F-157): a turn boundary or the deadline, the
 * state written and acknowledged, then the adapter is asked to go on elsewhere.
 */
import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { Clock } from "@rspp/ports/clock";
import type { HandoverAsk } from "@rspp/remote/link-session-types";
import { limits } from "../limits.ts";
import type { RuntimeSession } from "../runtime.ts";

/** What a session offers for it. */
export interface HandoverPort {
  /** Nothing is open that a successor would not have. */
  atTurnBoundary(): boolean;
  /** Version of the state that holds all up to now; null when it could not be written in time. */
  flush(deadlineMs: number): Promise<number | null>;
  /** The session goes on elsewhere: it ends here without a word. */
  released(): void;
}

export interface HandoverInit {
  readonly session: RuntimeSession;
  readonly clock: Clock;
  readonly reason: HandoverAsk["reason"];
  /** "" for any. */
  readonly target: string;
  /** For the open turn, milliseconds; past it the turn is cut (T8). */
  readonly deadlineMs: number;
  /** Asks the adapter. */
  ask(ask: HandoverAsk): void;
}

export type HandoverEnd =
  | "moved"
  /** It ended by itself meanwhile. */
  | "ended"
  /** The state could not be written, or nobody took it: it goes on here. */
  | "state_unwritten"
  | "not_taken";

/** Never rejects. */
export async function handOver({
  session,
  clock,
  reason,
  target,
  deadlineMs,
  ask,
}: HandoverInit): Promise<HandoverEnd> {
  const port = session.handover;
  if (port === null) return "state_unwritten";
  let over: HandoverEnd | null = null;
  void session.ended.then((end) => {
    over = end.reason === "migrated" ? "moved" : "ended";
  });
  session.operator("migrate", { reason: "migration" });
  await until(clock, deadlineMs, () => over !== null || port.atTurnBoundary());
  if (over === null && !port.atTurnBoundary()) {
    session.operator("migrate_now", { reason: "migration" });
    await until(clock, limits.HANDOVER_CUT_MS, () => over !== null || port.atTurnBoundary());
  }
  if (over !== null) return over;
  const stateVersion = await port.flush(limits.HANDOVER_FLUSH_MS);
  if (over !== null) return over;
  if (stateVersion === null) return "state_unwritten";
  ask({ reason, target, stateVersion, deadlineMs: limits.HANDOVER_TAKEN_MS });
  await until(clock, limits.HANDOVER_TAKEN_MS, () => over !== null);
  return over ?? "not_taken";
}

function until(clock: Clock, ms: number, holds: () => boolean): Promise<void> {
  const endNs = clock.nowNs() + msToNs(ms);
  return new Promise((resolve) => {
    const look = (): void => {
      if (holds() || clock.nowNs() >= endNs) return resolve();
      clock.timerAt(asMonoNs(Math.min(endNs, clock.nowNs() + msToNs(limits.HANDOVER_LOOK_MS))), look);
    };
    look();
  });
}
