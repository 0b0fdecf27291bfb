import type { MonoNs } from "@rspp/base/brand";
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import { limits } from "./limits.ts";
import { actedMarks, pushControl } from "./link-state.ts";
import type { EventFrame, LinkConfig, LinkSession, LinkState, OutCredit, Receipt } from "./link-types.ts";

// Credits are totals since the bind, as in QUIC: a repeated or overtaken grant is harmless. They cover the data lane;
// control is never held by credit, telemetry has a bounded queue and a bounded share of each flush instead.

export function hasCredit(credit: OutCredit, event: { audioUs: number; bytes: number }): boolean {
  return (
    credit.sentAudioUs + event.audioUs <= credit.grantedAudioUs && credit.sentBytes + event.bytes <= credit.grantedBytes
  );
}

/** Pays for an event at the moment it is transmitted and stamps the totals into it. */
export function payCredit<P>(credit: OutCredit, event: EventFrame<P>): void {
  invariant(hasCredit(credit, event), "credit never goes negative", { credit, seq: event.seq });
  credit.sentAudioUs += event.audioUs;
  credit.sentBytes += event.bytes;
  event.sentAudioUs = credit.sentAudioUs;
  event.sentBytes = credit.sentBytes;
}

export function applyGrant(credit: OutCredit, receipt: Receipt): void {
  credit.grantedAudioUs = Math.max(credit.grantedAudioUs, receipt.grantedAudioUs);
  credit.grantedBytes = Math.max(credit.grantedBytes, receipt.grantedBytes);
}

/** True when the peer sent more than it was ever told it may. */
export function violatesCredit<P>(session: LinkSession<P>, event: EventFrame<P>): boolean {
  const { toldAudioUs, toldBytes } = session.inCredit;
  return event.sentAudioUs > toldAudioUs || event.sentBytes > toldBytes;
}

/**
 * True when totals leave out what the event itself costs, or fall back: trusted, they would let a peer send for nothing. To
 * be asked in order, since holes raise the totals. Counts are whole, so that sums of them are exact.
 */
export function understatesCredit<P>(session: LinkSession<P>, event: EventFrame<P>): boolean {
  const { arrivedAudioUs, arrivedBytes } = session.inCredit;
  const { audioUs, bytes, sentAudioUs, sentBytes } = event;
  return !isCounted(sentAudioUs, arrivedAudioUs, audioUs) || !isCounted(sentBytes, arrivedBytes, bytes);
}

function isCounted(sent: number, before: number, cost: number): boolean {
  return Number.isSafeInteger(sent) && Number.isSafeInteger(cost) && cost >= 0 && sent - cost >= before;
}

/**
 * Accounts an in-order event that is not {@link understatesCredit}. What was lost before it never reaches the application, so it is released here. A lost tail is
 * seen with the next event only: connections of a living pair lose nothing, a gap is a driver's fault that is reported.
 */
export function creditArrived<P>(session: LinkSession<P>, event: EventFrame<P>): void {
  const credit = session.inCredit;
  const lostAudioUs = event.sentAudioUs - event.audioUs - credit.arrivedAudioUs;
  const lostBytes = event.sentBytes - event.bytes - credit.arrivedBytes;
  credit.releasedAudioUs += lostAudioUs;
  credit.releasedBytes += lostBytes;
  credit.arrivedAudioUs = event.sentAudioUs;
  credit.arrivedBytes = event.sentBytes;
}

/** The application is done with that much; more than arrived is a bug of the application. */
export function releaseCredit<P>(session: LinkSession<P>, audioUs: number, bytes: number): void {
  const credit = session.inCredit;
  credit.releasedAudioUs += audioUs;
  credit.releasedBytes += bytes;
  invariant(audioUs >= 0 && bytes >= 0, "consumed amounts are not negative", { audioUs, bytes });
  invariant(credit.releasedAudioUs <= credit.arrivedAudioUs, "no more audio is consumed than arrived", credit);
  invariant(credit.releasedBytes <= credit.arrivedBytes, "no more bytes are consumed than arrived", credit);
}

/** True when so much is free that the peer should hear of it before the next regular receipt. */
export function grantIsDue<P>(config: LinkConfig, session: LinkSession<P>): boolean {
  const credit = session.inCredit;
  const audioUs = credit.releasedAudioUs + config.windowAudioUs - credit.toldAudioUs;
  const bytes = credit.releasedBytes + config.windowBytes - credit.toldBytes;
  const divisor = limits.LINK_GRANT_AT_WINDOW_DIVISOR;
  return audioUs * divisor >= config.windowAudioUs || bytes * divisor >= config.windowBytes;
}

/** Puts the session on the list of the next receipt, at the latest {@link limits.LINK_RECEIPT_EVERY_MS} from now. */
export function markReceipt<P>(state: LinkState<P>, session: LinkSession<P>, now: MonoNs): void {
  if (!session.receiptDue) {
    session.receiptDue = true;
    state.receiptsDue.push(session.ref);
  }
  state.receiptAtNs ??= monoPlusNs(now, msToNs(limits.LINK_RECEIPT_EVERY_MS));
}

/** Tells every session on the list, many in one frame. */
export function pushReceipts<P>(state: LinkState<P>): void {
  const due = state.receiptsDue;
  state.receiptsDue = [];
  state.receiptAtNs = null;
  for (let from = 0; from < due.length; from += limits.LINK_RECEIPT_ENTRIES_MAX) {
    const entries: Receipt[] = [];
    for (const ref of due.slice(from, from + limits.LINK_RECEIPT_ENTRIES_MAX)) {
      const session = state.sessions[ref];
      if (session !== undefined) entries.push(makeReceipt(state.config, session));
    }
    if (entries.length > 0) pushControl(state, { kind: "receipts", entries });
  }
}

function makeReceipt<P>(config: LinkConfig, session: LinkSession<P>): Receipt {
  const credit = session.inCredit;
  session.receiptDue = false;
  credit.toldAudioUs = Math.max(credit.toldAudioUs, credit.releasedAudioUs + config.windowAudioUs);
  credit.toldBytes = Math.max(credit.toldBytes, credit.releasedBytes + config.windowBytes);
  return {
    ref: session.ref,
    grantedAudioUs: credit.toldAudioUs,
    grantedBytes: credit.toldBytes,
    acked: actedMarks(session),
  };
}
