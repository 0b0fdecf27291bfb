import { asMonoNs, type MonoNs, msToNs, NS_PER_MS } from "@rspp/base/brand";
import type { GrantorState, LeaseRecord } from "@rspp/protocol/lease-types";
import { limits } from "@rspp/protocol/limits";
import type { LeaseRow, LeaseStoreState, LeaseView } from "@rspp/store/lease-store";
import { sessionName } from "./session-name.ts";

// The grantor reckons in monotonic instants of one process, the store in wall time of the database. Each transaction puts
// its own "now" at the same far-off instant, and everything else relative to it.
const nowNs: MonoNs = asMonoNs(msToNs(10 * 86_400_000));

export interface GrantorView {
  readonly state: GrantorState;
  readonly now: MonoNs;
}

function toMono(wallMs: number, nowWallMs: number): MonoNs {
  const awayMs = Math.min(wallMs - nowWallMs, 30 * 86_400_000);
  return asMonoNs(Math.max(0, nowNs + awayMs * NS_PER_MS));
}

function toWall(at: MonoNs, nowWallMs: number): number {
  return nowWallMs + Math.ceil((at - nowNs) / NS_PER_MS);
}

/** One session's part of the grantor, as the machine of libs/protocol wants it. */
export function grantorView({ store, lease, nowWallMs }: LeaseView): GrantorView {
  return {
    now: nowNs,
    state: grantorState(store, lease === undefined ? [] : [lease], nowWallMs),
  };
}

export function grantorState(store: LeaseStoreState, leases: readonly LeaseRow[], nowWallMs: number): GrantorState {
  const records = leases.map((row) => [sessionName(row.session), recordOf(row, nowWallMs)]);
  return {
    storeIncarnation: store.incarnation,
    lastEpoch: store.lastEpoch,
    lostRunOutAtNs: toMono(store.lostRunOutWallMs, nowWallMs),
    sessionsMax: limits.LEASE_GRANTOR_SESSIONS_MAX,
    leases: Object.fromEntries(records),
    sessionCount: store.sessionCount,
  };
}

function recordOf(row: LeaseRow, nowWallMs: number): LeaseRecord {
  const { epoch, heldSinceEpoch, holder, receivers, termMs, lastSequence, signature } = row;
  const grant = { session: sessionName(row.session), epoch, holder, receivers: [...receivers], termMs, lastSequence };
  return {
    signed: { grant, signature },
    heldSinceEpoch,
    expiresAtNs: toMono(row.expiresWallMs, nowWallMs),
    oldRunsOutAtNs: toMono(row.oldRunsOutWallMs, nowWallMs),
    revoked: row.revoked,
  };
}

/** What the machine decided, to be stored. `requestKey` is that of the request which issued the epoch. */
export function storedLease(
  view: LeaseView,
  record: LeaseRecord,
  session: LeaseRow["session"],
  requestKey: string,
): LeaseRow {
  const { epoch, holder, receivers, termMs, lastSequence } = record.signed.grant;
  const issued = view.lease?.epoch !== epoch;
  return {
    session,
    epoch,
    heldSinceEpoch: record.heldSinceEpoch,
    holder,
    receivers,
    termMs,
    lastSequence,
    signature: record.signed.signature,
    expiresWallMs: toWall(record.expiresAtNs, view.nowWallMs),
    oldRunsOutWallMs: issued ? toWall(record.oldRunsOutAtNs, view.nowWallMs) : (view.lease?.oldRunsOutWallMs ?? 0),
    revoked: record.revoked,
    issuedWallMs: issued ? view.nowWallMs : (view.lease?.issuedWallMs ?? 0),
    requestKey: issued ? requestKey : (view.lease?.requestKey ?? ""),
  };
}

export function storedState({ store }: LeaseView, state: GrantorState): LeaseStoreState {
  return {
    incarnation: state.storeIncarnation,
    lastEpoch: state.lastEpoch,
    lostRunOutWallMs: store.lostRunOutWallMs,
    sessionCount: state.sessionCount,
  };
}
