/**
 * What a fence cuts (kernel.md §6). The kernel, the transport port, the link machine and the contract all name the least
 * generation still accepted; only the field's name differs. The test holds the four together.
 */
import { create } from "@bufbuild/protobuf";
import { invariant } from "@rspp/base/invariant";
import { type TurnCutoff, TurnCutoffSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { Cutoff } from "@rspp/protocol/link-types";
import { isUint32 } from "./numbers.ts";

/** Nothing of any turn is cut: what an overtaking message without a cut-off stands for. */
export const CUTS_NOTHING: Cutoff = Object.freeze({ turn: 0, generation: 0, olderTurns: false });

/** @throws InvariantError for a turn or generation outside uint32: they come from the kernel's own counters. */
export function cutoffToWire(cutoff: Cutoff): TurnCutoff {
  invariant(isUint32(cutoff.turn) && isUint32(cutoff.generation), "a cut-off fits the contract", cutoff);
  return create(TurnCutoffSchema, {
    turnNumber: cutoff.turn,
    minGeneration: cutoff.generation,
    olderTurns: cutoff.olderTurns,
  });
}

export function cutoffFromWire(cutoff: TurnCutoff): Cutoff {
  return { turn: cutoff.turnNumber, generation: cutoff.minGeneration, olderTurns: cutoff.olderTurns };
}

/** The fence of the transport port: everything below `generation` is refused, of earlier turns too where `all`. */
export interface TransportFence {
  turn: number;
  generation: number;
  all: boolean;
}

export function cutoffOfFence(fence: TransportFence): Cutoff {
  return { turn: fence.turn, generation: fence.generation, olderTurns: fence.all };
}

export function fenceOfCutoff(cutoff: Cutoff): TransportFence {
  return { turn: cutoff.turn, generation: cutoff.generation, all: cutoff.olderTurns };
}
