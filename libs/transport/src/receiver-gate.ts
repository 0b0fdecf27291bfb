/** What this receiver believes and refuses (kernel.md §6, §7; F-156, F-175): the floor of the epoch, and the output fence. */
import type { TransportEgress } from "@rspp/ports/transport";
import { fencesCreate, isFenced, raiseFence } from "@rspp/protocol/link-fence";

/**
 * stale_epoch: below the floor. ungranted_epoch: above it without a grant. fenced: (turn, generation) below the fence.
 * overflow: more than is held for a caller. order: a sequence again, or after the end mark. format: cannot be converted.
 * illegal: breaks the contract of events. closed: the session is over.
 */
export const REFUSAL_REASONS = [
  "stale_epoch",
  "ungranted_epoch",
  "fenced",
  "overflow",
  "order",
  "format",
  "illegal",
  "closed",
] as const;
export type GateReason = (typeof REFUSAL_REASONS)[number];
export type GateCounts = Record<GateReason, number>;

export interface ReceiverGate {
  floor(): number;
  /** A grant: from now on only `epoch` is believed. Never lowers; false when it would. */
  raiseEpoch(epoch: number): boolean;
  /** With `all`, every turn before `turn` is cut too. Fences only rise. */
  raiseFence(turn: number, generation: number, all: boolean): void;
  fenced(turn: number, generation: number): boolean;
  epochRefusal(message: TransportEgress): GateReason | undefined;
  refuse(reason: GateReason): void;
  counts(): Readonly<GateCounts>;
}

export function createReceiverGate(epoch: number): ReceiverGate {
  let floor = epoch;
  const fences = fencesCreate();
  const counts = Object.fromEntries(REFUSAL_REASONS.map((r) => [r, 0])) as GateCounts;
  return {
    floor: () => floor,
    raiseEpoch(next) {
      if (next < floor) return false;
      floor = next;
      return true;
    },
    raiseFence: (turn, generation, all) => raiseFence(fences, { turn, generation, olderTurns: all }),
    // Turn 0 is the session's own output: no fence of other turns cuts it.
    fenced: (turn, generation) => isFenced(fences, turn === 0 ? null : turn, generation),
    epochRefusal(message) {
      if (message.epoch < floor) return "stale_epoch";
      return message.epoch > floor ? "ungranted_epoch" : undefined;
    },
    refuse(reason) {
      counts[reason] += 1;
    },
    counts: () => ({ ...counts }),
  };
}
