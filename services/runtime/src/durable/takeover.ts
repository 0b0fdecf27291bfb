/** What a successor starts with (kernel.md §7, §8; F-155): what the adapter saw, and what the predecessor had written. */

import type { SessionName } from "@rspp/base/session-key";
import type { TakeoverSession } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { DurableState } from "@rspp/kernel/durable-state";
import type { Takeover } from "@rspp/kernel/takeover-state";
import type { Clock } from "@rspp/ports/clock";
import type { TakenOver } from "@rspp/remote/link-session-types";
import { limits } from "../limits.ts";
import { decodeDurable } from "./document.ts";
import type { StatePort } from "./store.ts";

export interface Taken {
  readonly takeover: Takeover;
  /** Highest turn that was given out. */
  readonly turnsBefore: number;
  readonly texts: Readonly<Record<number, string>>;
}

/**
 * Reads the state within its deadline; without it the session starts anew, and says so. A state that another epoch than the
 * predecessor's wrote is believed all the same: epochs only rise, and writes below the newest grant are refused.
 */
export async function readTakeover(
  said: TakeoverSession,
  session: SessionName,
  store: StatePort | null,
  clock: Clock,
  firstRef: number,
): Promise<Taken> {
  const read = store === null ? ({ kind: "missing" } as const) : await store.read(session, limits.STATE_READ_MS);
  const found = read.kind === "found" ? decodeDurable(read.bytes, firstRef) : null;
  const known = found?.ok === true ? found.value : null;
  const agedMs = known === null ? 0 : Math.max(0, Math.round(clock.wallMs() - known.wallMs));
  const durable = known === null ? null : aged(known.durable, agedMs);
  const state = known !== null ? "found" : read.kind === "unreachable" ? "unreachable" : "missing";
  const open = said.openTurnNumber;
  const takeover: Takeover = {
    predecessor: said.predecessorInstance,
    predecessorEpoch: Number(said.predecessorEpoch),
    planned: said.planned,
    state,
    stateVersion: read.kind === "found" ? read.version : 0,
    durable,
    openTurn:
      open === 0
        ? null
        : {
            number: open,
            generation: said.openTurnGeneration,
            playedUs: Number(said.openTurnPlayedUs),
            committed: said.openTurnCommitted,
            complete: said.openTurnComplete,
          },
    lastTurnSeen: said.lastTurnNumber,
    muted: said.muted,
    lostBoundMs: agedMs,
  };
  const turnsBefore = Math.max(said.lastTurnNumber, durable?.lastTurn ?? 0);
  return { takeover, turnsBefore, texts: known?.texts ?? {} };
}

/** The call's clock went on meanwhile. */
function aged(durable: DurableState, ms: number): DurableState {
  const { maxCallLeftMs } = durable;
  return maxCallLeftMs === -1 ? durable : { ...durable, maxCallLeftMs: Math.max(0, maxCallLeftMs - ms) };
}

/** For the adapter. */
export function takenOver({ state, stateVersion, durable, openTurn }: Takeover): TakenOver {
  const replied = durable?.replies.some(({ turn }) => turn === openTurn?.number) === true;
  const closed = openTurn !== null && !openTurn.complete && !openTurn.committed && !replied;
  const closedTurn = closed ? openTurn.number : 0;
  const marks = { audioThrough: durable?.audioThrough ?? 0, controlThrough: durable?.controlThrough ?? 0 };
  return { state, stateVersion, ...marks, closedTurn };
}
