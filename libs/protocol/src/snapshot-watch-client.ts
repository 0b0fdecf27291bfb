/** The watcher's end: it never goes back, keeps the last good one, and knows how old that is. */
import { type MonoNs, nsToMs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import {
  SNAPSHOT_BOUNDS,
  type SnapshotAnswer,
  type SnapshotFreshness,
  type SnapshotKind,
  type SnapshotOffer,
  type SnapshotSubscription,
  type StalenessBound,
  type WatchClientState,
  type WatchedKind,
} from "./snapshot-watch-types.ts";

export function createWatchClient(kinds: readonly SnapshotKind[]): WatchClientState {
  const state: WatchClientState = {
    kinds: {},
    counters: { accepted: 0, refused: 0, repeated: 0, older: 0, connections: 0 },
  };
  for (const kind of kinds) state.kinds[kind] = { accepted: 0, refused: 0, loading: 0, heardNs: -1, ageBeforeMs: 0 };
  return state;
}

/** Puts what was kept on disk in force. False, and nothing changed, where something as new is in force already. */
export function clientRestore(
  state: WatchClientState,
  kept: { kind: SnapshotKind; version: number; ageMs: number },
  nowNs: MonoNs,
): boolean {
  const known = state.kinds[kept.kind];
  if (known === undefined || kept.version <= known.accepted) return false;
  known.accepted = kept.version;
  known.heardNs = nowNs;
  known.ageBeforeMs = Math.max(0, kept.ageMs);
  return true;
}

/** A connection begins. What was loading goes on loading; its answer is a new one's. */
export function clientSubscribe(state: WatchClientState): SnapshotSubscription {
  state.counters.connections += 1;
  const kinds: SnapshotSubscription["kinds"][number][] = [];
  for (const [kind, { accepted, refused }] of Object.entries(state.kinds))
    kinds.push({ kind: kind as SnapshotKind, accepted, refused });
  return { kinds };
}

export type OfferStep =
  /** Check it and put it in force, then say {@link clientAccept} or {@link clientRefuse}. */
  | { act: "load" }
  | { act: "answer"; answer: SnapshotAnswer }
  /** Of a kind that is not watched. */
  | { act: "ignore" };

export function clientOffer(state: WatchClientState, offer: SnapshotOffer, nowNs: MonoNs): OfferStep {
  const known = state.kinds[offer.kind];
  if (known === undefined) return { act: "ignore" };
  if (offer.version === known.refused && offer.version > known.accepted) {
    hear(known, nowNs);
    const { nonce, kind, version } = offer;
    return { act: "answer", answer: { type: "refused", nonce, kind, version, reason: "refused before" } };
  }
  if (offer.version <= known.accepted) {
    if (offer.version === known.accepted) {
      state.counters.repeated += 1;
      hear(known, nowNs);
    } else state.counters.older += 1;
    return { act: "answer", answer: acceptance(offer.nonce, offer.kind, known) };
  }
  known.loading = offer.version;
  return { act: "load" };
}

/** The offer is in force from now on; null where a newer one is already, and the answer says which. */
export function clientAccept(state: WatchClientState, offer: SnapshotOffer, nowNs: MonoNs): SnapshotAnswer {
  const known = watched(state, offer.kind);
  if (offer.version > known.accepted) {
    known.accepted = offer.version;
    state.counters.accepted += 1;
    hear(known, nowNs);
  }
  if (known.loading === offer.version) known.loading = 0;
  return acceptance(offer.nonce, offer.kind, known);
}

/** The offer cannot be used: what is in force stays. */
export function clientRefuse(
  state: WatchClientState,
  { kind, version, nonce }: SnapshotOffer,
  reason: string,
  nowNs: MonoNs,
): SnapshotAnswer {
  const known = watched(state, kind);
  invariant(version > known.accepted, "what is in force is not refused afterwards", { kind, version });
  known.refused = Math.max(known.refused, version);
  if (known.loading === version) known.loading = 0;
  state.counters.refused += 1;
  hear(known, nowNs);
  return { type: "refused", nonce, kind, version, reason };
}

/** The control plane says that `version` is still its newest. */
export function clientUnchanged(state: WatchClientState, kind: SnapshotKind, version: number, nowNs: MonoNs): void {
  const known = state.kinds[kind];
  if (known === undefined || known.accepted === 0) return;
  if (version === known.accepted || version === known.refused) hear(known, nowNs);
}

export function clientFreshness(
  state: WatchClientState,
  kind: SnapshotKind,
  nowNs: MonoNs,
  bound: StalenessBound = SNAPSHOT_BOUNDS[kind],
): SnapshotFreshness {
  const known = state.kinds[kind];
  if (known === undefined || known.accepted === 0 || known.heardNs === -1)
    return { state: "missing", version: 0, ageMs: 0 };
  const ageMs = known.ageBeforeMs + nsToMs(nowNs - known.heardNs);
  const version = known.accepted;
  if (ageMs > bound.holdMs) return { state: "too_stale", version, ageMs };
  // One that was refused is newer: what is in force is the last good one, not the current one.
  const behind = known.refused > known.accepted;
  return { state: ageMs > bound.freshMs || behind ? "stale" : "fresh", version, ageMs };
}

function hear(known: WatchedKind, nowNs: MonoNs): void {
  known.heardNs = nowNs;
  known.ageBeforeMs = 0;
}

function acceptance(nonce: string, kind: SnapshotKind, { accepted }: WatchedKind): SnapshotAnswer {
  return { type: "accepted", nonce, kind, version: accepted };
}

function watched(state: WatchClientState, kind: SnapshotKind): WatchedKind {
  const known = state.kinds[kind];
  invariant(known !== undefined, "only offers of a watched kind are loaded", kind);
  return known;
}
