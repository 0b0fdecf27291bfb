/**
 * What this receiver believes and refuses (kernel.md §6, §7; F-156, F-175): the floor of the authority epoch and the
 * output fence. Refusals are counted by reason and kept as evidence.
 */
import type { MonoNs } from "@rspp/base/brand";
import type { TransportEgress } from "@rspp/ports/transport";
import { FENCE_ENTRIES_MAX, REFUSALS_MAX } from "./limits.ts";

/**
 * stale_epoch: below the floor. ungranted_epoch: above it without a grant. fenced: (turn, generation) below the fence.
 * overflow: the runtime did not pace. order: a sequence again, or after the end mark. format: not the playout's format.
 * closed: not connected, disconnected or closed.
 */
export const REFUSAL_REASONS = [
  "stale_epoch",
  "ungranted_epoch",
  "fenced",
  "overflow",
  "order",
  "format",
  "closed",
] as const;
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

export interface Refusal {
  atNs: MonoNs;
  reason: RefusalReason;
  /** Kind of the refused message. */
  kind: TransportEgress["kind"];
  /** Epoch of the message and the floor it met. */
  epoch: number;
  floor: number;
  /** 0 where the message has none. */
  turn: number;
  generation: number;
  sequence: number;
}

export interface ReceiverGate {
  floor(): number;
  /** A grant: from now on only `epoch` is believed. Never lowers; false when it would. */
  raiseEpoch(epoch: number): boolean;
  /** Raises the fence; it only ever rises. With `all`, every turn before `turn` is cut too. */
  raiseFence(turn: number, generation: number, all: boolean): void;
  /** Whether (turn, generation) lies below the fence. */
  fenced(turn: number, generation: number): boolean;
  /** The reason to refuse `message` by its epoch, or undefined. */
  epochRefusal(message: TransportEgress): RefusalReason | undefined;
  /** Counts a refusal and keeps it as evidence, up to REFUSALS_MAX. */
  refuse(message: TransportEgress, reason: RefusalReason, atNs: MonoNs): Refusal;
  counts(): Readonly<Record<RefusalReason, number>>;
  refusals(): readonly Refusal[];
}

export function createReceiverGate(epoch: number): ReceiverGate {
  let floor = epoch;
  let turnFloor = 0;
  const fences = new Map<number, number>();
  const counts = Object.fromEntries(REFUSAL_REASONS.map((r) => [r, 0])) as Record<RefusalReason, number>;
  const evidence: Refusal[] = [];

  function raiseTurnFloor(turn: number): void {
    if (turn <= turnFloor) return;
    turnFloor = turn;
    for (const known of fences.keys()) if (known > 0 && known < turnFloor) fences.delete(known);
  }

  return {
    floor: () => floor,
    raiseEpoch(next) {
      if (next < floor) return false;
      floor = next;
      return true;
    },
    raiseFence(turn, generation, all) {
      if (all) raiseTurnFloor(turn);
      if (turn > 0 && turn < turnFloor) return;
      fences.set(turn, Math.max(generation, fences.get(turn) ?? 0));
      // Full: the lowest turn gives way and everything up to it is refused. The fence fails closed, never open.
      if (fences.size > FENCE_ENTRIES_MAX) raiseTurnFloor(Math.min(...[...fences.keys()].filter((t) => t > 0)) + 1);
    },
    // Turn 0 is the session's own output: no fence of other turns cuts it.
    fenced: (turn, generation) => (turn > 0 && turn < turnFloor) || generation < (fences.get(turn) ?? 0),
    epochRefusal(message) {
      if (message.epoch < floor) return "stale_epoch";
      return message.epoch > floor ? "ungranted_epoch" : undefined;
    },
    refuse(message, reason, atNs) {
      counts[reason] += 1;
      const refusal = describe(message, reason, atNs, floor);
      if (evidence.length < REFUSALS_MAX) evidence.push(refusal);
      return refusal;
    },
    counts: () => ({ ...counts }),
    refusals: () => evidence,
  };
}

function describe(message: TransportEgress, reason: RefusalReason, atNs: MonoNs, floor: number): Refusal {
  const turn = "turn" in message ? message.turn : 0;
  const generation = "generation" in message ? message.generation : 0;
  const sequence = "sequence" in message ? message.sequence : 0;
  return { atNs, reason, kind: message.kind, epoch: message.epoch, floor, turn, generation, sequence };
}
