/** When an adapter gives a runtime up, and what it tells the successor (kernel.md §7). */
import { msToNs } from "@rspp/base/brand";
import type { Clock } from "@rspp/ports/clock";
import { limits } from "./link-limits.ts";
import type { OpenInit } from "./link-open.ts";
import type { PooledLink } from "./link-pool.ts";
import type { TurnsSeen } from "./link-turns-seen.ts";
import type { SessionMover } from "./session-mover.ts";

/** What a session leaves. */
export interface TakeoverFrom {
  readonly why: "lost" | "draining" | "migration";
  readonly target: string;
  /** Of the durable state at a hand-over; 0 not known. */
  readonly stateVersion: number;
  readonly instance: string;
  readonly epoch: number;
}

export function takeoverOf(
  { instance, epoch, why, stateVersion }: TakeoverFrom,
  turns: TurnsSeen,
  frames: { readonly from: number; readonly through: number },
): NonNullable<OpenInit["takeover"]> {
  const { open } = turns;
  return {
    predecessorInstance: instance,
    predecessorEpoch: BigInt(epoch),
    planned: why !== "lost",
    lastTurnNumber: turns.last,
    openTurnNumber: open?.turn ?? 0,
    openTurnGeneration: open?.generation ?? 0,
    openTurnPlayedUs: BigInt(Math.round(open?.playedUs ?? 0)),
    openTurnCommitted: open?.committed ?? false,
    openTurnComplete: open?.complete ?? false,
    resendFrom: BigInt(frames.from),
    resendThrough: BigInt(frames.through),
    reconnecting: turns.away,
    muted: turns.muted,
    stateVersion: BigInt(stateVersion),
  };
}

/**
 * How long a runtime whose pair was lost is waited for: not at all where it was silent for long before, or takes no dial. A
 * slow runtime whose link lives never comes here.
 */
export class Patience {
  readonly #link: PooledLink;
  readonly #clock: Clock;
  readonly #moves: boolean;
  readonly #dialsBefore: number;
  readonly #endNs: number;

  constructor(
    link: PooledLink,
    why: string,
    { clock, mover, failoverAfterMs }: { clock: Clock; mover: SessionMover | null; failoverAfterMs: number },
  ) {
    this.#link = link;
    this.#clock = clock;
    // A rotation finds its runtime where it is.
    this.#moves = mover !== null && why !== "rotation";
    this.#dialsBefore = link.dialsFailed;
    const atOnce = link.lastDown === "silent" || link.draining;
    this.#endNs = clock.nowNs() + (atOnce ? 0 : msToNs(failoverAfterMs));
  }

  /** Until when its link is waited for before it is looked at again. */
  until(deadlineNs: number): number {
    return this.#moves ? Math.min(deadlineNs, this.#clock.nowNs() + msToNs(limits.FAILOVER_LOOK_MS)) : deadlineNs;
  }

  isOver(refused: boolean): boolean {
    if (!this.#moves) return false;
    return refused || this.#link.dialsFailed > this.#dialsBefore || this.#clock.nowNs() >= this.#endNs;
  }

  get pauseMs(): number {
    return this.#moves && !this.#link.up ? 1 : limits.LINK_REATTACH_PAUSE_MS;
  }
}
