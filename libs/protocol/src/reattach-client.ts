import type { Lane } from "./link-types.ts";
import type {
  ClientReceipt,
  ClientStep,
  ReattachAnswer,
  ReattachClientState,
  ReattachRequest,
} from "./reattach-types.ts";

/** The client's (or adapter's) end of a session it has just opened. */
export function createReattachClient(session: string, tokenRef: string): ReattachClientState {
  return {
    session,
    tokenRef,
    phase: "attached",
    attempt: 0,
    attachment: 1,
    lastReceived: { control: 0, data: 0, telemetry: 0 },
    openTurn: null,
    duplicates: 0,
  };
}

/** Takes an event, live or replayed: each sequence of a lane is delivered once, in order (F-158). */
export function clientReceive(state: ReattachClientState, lane: Lane, seq: number): ClientReceipt {
  const last = state.lastReceived[lane];
  if (seq <= last) {
    state.duplicates++;
    return { deliver: false, reason: "duplicate" };
  }
  state.lastReceived[lane] = seq;
  return { deliver: true, missed: seq === last + 1 ? null : { fromSeq: last + 1, toSeq: seq - 1 } };
}

/** Notes the turn seen open, or its end with null. */
export function clientTurn(state: ReattachClientState, openTurn: number | null): void {
  state.openTurn = openTurn;
}

/** The connection is gone, or the last attempt got no answer: the request to send on a new one; null once lost. */
export function clientReattach(state: ReattachClientState): ReattachRequest | null {
  if (state.phase === "lost") return null;
  state.phase = "reattaching";
  state.attempt++;
  const { session, tokenRef, attempt, openTurn } = state;
  return { session, tokenRef, attempt, lastReceived: { ...state.lastReceived }, openTurn };
}

/**
 * Takes the server's answer to the last attempt; an answer to an earlier one is ignored. The replayed events of a `resume`
 * then go through {@link clientReceive} like live ones.
 */
export function clientAnswer<P>(state: ReattachClientState, answer: ReattachAnswer<P>): ClientStep {
  if (state.phase !== "reattaching" || answer.attempt !== state.attempt) return { kind: "ignored" };
  if (answer.kind === "refused") {
    state.phase = "lost";
    return { kind: "lost", reason: answer.reason };
  }
  state.phase = "attached";
  state.attachment = answer.attachment;
  if (answer.kind === "resume") return { kind: "attached", openTurn: answer.openTurn, turn: answer.turn };
  state.lastReceived = { ...answer.snapshotAt };
  state.openTurn = answer.openTurn;
  return { kind: "restart_from_snapshot", openTurn: answer.openTurn };
}
