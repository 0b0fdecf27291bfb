/**
 * Three ways to say what a fence cuts (kernel.md §6), which must not be mixed up:
 * - the contract's `TurnCutoff.min_generation` and the transport's fence name the least generation still accepted;
 * - the link machine's `Cutoff.generation` names the last one that is cut.
 */
import { create } from "@bufbuild/protobuf";
import { invariant } from "@rspp/base/invariant";
import { type TurnCutoff, TurnCutoffSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { Cutoff } from "@rspp/protocol/link-types";
import { isUint32 } from "./numbers.ts";

/** Nothing of any turn is cut: what an overtaking message without a cut-off stands for. */
export const CUTS_NOTHING: Cutoff = Object.freeze({ turn: 0, generation: -1, olderTurns: false });

/** @throws InvariantError for a turn or generation outside uint32: they come from the kernel's own counters. */
export function cutoffToWire(cutoff: Cutoff): TurnCutoff {
  const minGeneration = cutoff.generation + 1;
  invariant(isUint32(cutoff.turn) && isUint32(minGeneration), "a cut-off fits the contract", cutoff);
  return create(TurnCutoffSchema, { turnNumber: cutoff.turn, minGeneration, olderTurns: cutoff.olderTurns });
}

/** `generation` is -1 where nothing of the turn itself is cut. */
export function cutoffFromWire(cutoff: TurnCutoff): Cutoff {
  return { turn: cutoff.turnNumber, generation: cutoff.minGeneration - 1, olderTurns: cutoff.olderTurns };
}

/** The fence of the transport port: everything below `generation` is refused, of earlier turns too where `all`. */
export interface TransportFence {
  turn: number;
  generation: number;
  all: boolean;
}

export function cutoffOfFence(fence: TransportFence): Cutoff {
  return { turn: fence.turn, generation: fence.generation - 1, olderTurns: fence.all };
}

export function fenceOfCutoff(cutoff: Cutoff): TransportFence {
  return { turn: cutoff.turn, generation: cutoff.generation + 1, all: cutoff.olderTurns };
}
