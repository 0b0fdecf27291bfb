import type { MonoNs } from "@rspp/base/brand";
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import { limits } from "./limits.ts";
import { expireUnknown } from "./link-bind.ts";
import { pushReceipts } from "./link-credit.ts";
import { holdDeadline } from "./link-lane.ts";
import { actPositioned, afterMedia, passMediaGap } from "./link-receive.ts";
import { flushMedia, shouldFlush } from "./link-send.ts";
import { attend, breakBoth, flushControl, killPair } from "./link-state.ts";
import type { LinkOutput, LinkSession, LinkState } from "./link-types.ts";

/** Lets deadlines act and flushes by policy. `idle`: the driver's event loop has nothing else to do. */
export function linkTick<P>(state: LinkState<P>, now: MonoNs, idle: boolean, out: LinkOutput<P>[]): void {
  if (state.phase === "half" && now - state.halfSinceNs >= msToNs(limits.LINK_PAIR_UP_DEADLINE_MS)) {
    killPair(state, "pair_up_timeout", out);
  }
  if (state.phase === "down") return;
  expireUnknown(state, now, out);
  const refs = state.attention;
  state.attention = [];
  for (const ref of refs) {
    const session = state.sessions[ref];
    if (session === undefined) continue;
    session.needsAttention = false;
    if (!attendSession(state, session, now, out)) {
      killPair(state, "control_gap", out);
      return;
    }
    if (state.sessions[ref] !== undefined && sessionDeadline(session) !== null) attend(state, session);
  }
  if (state.receiptAtNs !== null && now >= state.receiptAtNs) pushReceipts(state);
  if (shouldFlush(state, now, idle)) flushMedia(state, now, out);
  flushControl(state, out);
}

/** False when the control lane has a hole that time did not fill: control is never lost in a living pair. */
function attendSession<P>(state: LinkState<P>, session: LinkSession<P>, now: MonoNs, out: LinkOutput<P>[]): boolean {
  if (!session.bound && now - session.openedAtNs >= msToNs(limits.LINK_BIND_DEADLINE_MS)) {
    breakBoth(state, session, "bind_timeout", out);
    return true;
  }
  const control = holdDeadline(session.inControl);
  if (control !== null && now >= control) return false;
  for (const name of ["data", "telemetry"] as const) {
    const lane = name === "data" ? session.inData : session.inTelemetry;
    for (let at = holdDeadline(lane); at !== null && now >= at; at = holdDeadline(lane)) {
      if (!passMediaGap(state, session, lane, name, out)) return true;
      afterMedia(state, session, now, out);
      if (state.sessions[session.ref] === undefined) return true;
    }
  }
  actPositioned(state, session, now, out);
  return true;
}

/** The next instant at which {@link linkTick} has something to do even if nothing arrives; null when none. */
export function linkNextDeadline<P>(state: LinkState<P>): MonoNs | null {
  if (state.phase === "down") return null;
  let next: MonoNs | null = null;
  const sooner = (at: MonoNs | null): void => {
    if (at !== null && (next === null || at < next)) next = at;
  };
  if (state.phase === "half") sooner(monoPlusNs(state.halfSinceNs, msToNs(limits.LINK_PAIR_UP_DEADLINE_MS)));
  const unknown = state.unknown[0];
  if (unknown !== undefined) sooner(monoPlusNs(unknown.arrivedAtNs, msToNs(limits.LINK_UNKNOWN_REF_WAIT_MS)));
  if (state.phase === "up" && state.readySinceNs !== null) {
    sooner(monoPlusNs(state.readySinceNs, state.urgent ? 0 : msToNs(limits.FLUSH_BATCH_MS)));
  }
  sooner(state.receiptAtNs);
  for (const ref of state.attention) {
    const session = state.sessions[ref];
    if (session !== undefined) sooner(sessionDeadline(session));
  }
  return next;
}

function sessionDeadline<P>(session: LinkSession<P>): MonoNs | null {
  const deadlines: (MonoNs | null)[] = [
    session.bound ? null : monoPlusNs(session.openedAtNs, msToNs(limits.LINK_BIND_DEADLINE_MS)),
    session.waiting[0]?.deadlineNs ?? null,
    holdDeadline(session.inControl),
    holdDeadline(session.inData),
    holdDeadline(session.inTelemetry),
  ];
  let next: MonoNs | null = null;
  for (const at of deadlines) if (at !== null && (next === null || at < next)) next = at;
  return next;
}
