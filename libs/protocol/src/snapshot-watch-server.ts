/** The control plane's end of one watcher's connection: the newest version, one at a time, never one that was refused. */
import {
  type ServedKind,
  type SnapshotAnswer,
  type SnapshotKind,
  type SnapshotOffer,
  type SnapshotSubscription,
  snapshotVersion,
  type WatchServerState,
} from "./snapshot-watch-types.ts";

/** @param connection differs between all connections that a watcher may ever have, over replicas too. */
export function createWatchServer(
  watcher: string,
  connection: string,
  { kinds }: SnapshotSubscription,
): WatchServerState {
  const state: WatchServerState = { watcher, connection, sent: 0, kinds: {} };
  for (const { kind, accepted, refused } of kinds)
    state.kinds[kind] = { accepted, refused, newest: 0, outstanding: null };
  return state;
}

/** The newest version of a kind: the offer to send now; null where there is nothing to send, or one is under way. */
export function serverNewest(state: WatchServerState, kind: SnapshotKind, version: number): SnapshotOffer | null {
  const served = state.kinds[kind];
  if (served === undefined || version <= served.newest) return null;
  served.newest = version;
  return nextOffer(state, kind, served);
}

export type AnswerStep =
  | { ok: true; offer: SnapshotOffer | null; refused: { kind: SnapshotKind; version: string; reason: string } | null }
  | { ok: false; problem: string };

/** Takes an answer to an outstanding offer; any other is a fault of the watcher, and changes nothing. */
export function serverAnswer(
  state: WatchServerState,
  answer: SnapshotAnswer | { nonce: string; type: "accepted" | "refused"; reason?: string },
): AnswerStep {
  for (const [name, served] of Object.entries(state.kinds)) {
    if (served.outstanding?.nonce !== answer.nonce) continue;
    const kind = name as SnapshotKind;
    const { version } = served.outstanding;
    served.outstanding = null;
    if (answer.type === "accepted") served.accepted = Math.max(served.accepted, version);
    else served.refused = Math.max(served.refused, version);
    const refused =
      answer.type === "refused" ? { kind, version: snapshotVersion(kind, version), reason: answer.reason ?? "" } : null;
    return { ok: true, offer: nextOffer(state, kind, served), refused };
  }
  return { ok: false, problem: "the nonce names no snapshot that waits for an answer" };
}

/** Whether the watcher has everything there is of a kind, or has refused it: an `unchanged` keeps it fresh. */
export function serverSettled(state: WatchServerState, kind: SnapshotKind): number | null {
  const served = state.kinds[kind];
  if (served === undefined || served.outstanding !== null || served.newest === 0) return null;
  return served.accepted >= served.newest || served.refused === served.newest ? served.newest : null;
}

/** The watcher has a newer version than there is: this control plane was set back. */
export function serverBehind(state: WatchServerState, kind: SnapshotKind): number | null {
  const served = state.kinds[kind];
  return served !== undefined && served.newest > 0 && served.accepted > served.newest ? served.accepted : null;
}

function nextOffer(state: WatchServerState, kind: SnapshotKind, served: ServedKind): SnapshotOffer | null {
  const { newest, accepted, refused } = served;
  if (served.outstanding !== null || newest <= accepted || newest === refused) return null;
  state.sent += 1;
  const nonce = `${state.connection}.${state.sent}`;
  served.outstanding = { nonce, version: newest };
  return { kind, version: newest, nonce };
}
