import type { MonoNs } from "@rspp/base/brand";
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import { limits } from "./limits.ts";
import {
  creditArrived,
  grantIsDue,
  markReceipt,
  pushReceipts,
  releaseCredit,
  understatesCredit,
  violatesCredit,
} from "./link-credit.ts";
import { isFenced } from "./link-fence.ts";
import type { InLane } from "./link-lane.ts";
import { declareGap, holdIsFull, placeFrame, takeHeld } from "./link-lane.ts";
import { fenceOutgoing, markReady } from "./link-send.ts";
import { attend, breakBoth, removeSession } from "./link-state.ts";
import type {
  ControlFrame,
  EventFrame,
  LinkOutput,
  LinkSession,
  LinkState,
  MediaFrame,
  OvertakingFrame,
} from "./link-types.ts";

/** Takes a data or telemetry frame of a bound session. */
export function receiveMedia<P>(
  state: LinkState<P>,
  session: LinkSession<P>,
  frame: MediaFrame<P>,
  now: MonoNs,
  out: LinkOutput<P>[],
): void {
  if (frame.kind === "event" && frame.lane === "data" && violatesCredit(session, frame)) {
    breakBoth(state, session, "credit_violation", out);
    return;
  }
  const lane = frame.lane === "data" ? session.inData : session.inTelemetry;
  const place = placeFrame(lane, frame, now);
  if (place === "duplicate") {
    out.push({ kind: "frame_refused", ref: frame.ref, lane: frame.lane, seq: frame.seq, reason: "duplicate" });
    return;
  }
  if (place === "next") {
    if (!takeMedia(state, session, frame, out) || !drainHeldMedia(state, session, lane, out)) return;
  } else {
    attend(state, session);
    while (holdIsFull(lane)) if (!passMediaGap(state, session, lane, frame.lane, out)) return;
  }
  afterMedia(state, session, now, out);
}

/** Declares the hole before what is held in a media lane, then goes on in order. False when that broke the session. */
export function passMediaGap<P>(
  state: LinkState<P>,
  session: LinkSession<P>,
  lane: InLane<MediaFrame<P>>,
  name: "data" | "telemetry",
  out: LinkOutput<P>[],
): boolean {
  const gap = declareGap(lane);
  if (gap !== null) out.push({ kind: "gap", ref: session.ref, lane: name, ...gap });
  return drainHeldMedia(state, session, lane, out);
}

/** To be called whenever media of the session moved: positioned messages may act, receipts fall due. */
export function afterMedia<P>(state: LinkState<P>, session: LinkSession<P>, now: MonoNs, out: LinkOutput<P>[]): void {
  markReceipt(state, session, now);
  if (grantIsDue(state.config, session)) pushReceipts(state);
  actPositioned(state, session, now, out);
}

function drainHeldMedia<P>(
  state: LinkState<P>,
  session: LinkSession<P>,
  lane: InLane<MediaFrame<P>>,
  out: LinkOutput<P>[],
): boolean {
  for (let held = takeHeld(lane); held !== null; held = takeHeld(lane)) {
    if (!takeMedia(state, session, held.frame, out)) return false;
  }
  return true;
}

/** False when the frame broke the session; nothing more of it may be taken then. */
function takeMedia<P>(
  state: LinkState<P>,
  session: LinkSession<P>,
  frame: MediaFrame<P>,
  out: LinkOutput<P>[],
): boolean {
  if (frame.kind === "skip") {
    const { ref, lane, seq: fromSeq, toSeq, reason } = frame;
    out.push({ kind: "skipped", ref, lane, fromSeq, toSeq, reason });
    return true;
  }
  if (frame.lane === "data") {
    if (understatesCredit(session, frame)) {
      breakBoth(state, session, "credit_violation", out);
      return false;
    }
    creditArrived(session, frame);
  }
  if (isFenced(session.fences, frame.turn, frame.generation)) refuseFenced(session, frame, out);
  else out.push({ kind: "event", ref: frame.ref, event: frame });
  return true;
}

/** kernel.md §6: what is cut is refused at the receiver too, and costs the sender no credit. */
function refuseFenced<P>(session: LinkSession<P>, frame: EventFrame<P>, out: LinkOutput<P>[]): void {
  if (frame.lane === "data") releaseCredit(session, frame.audioUs, frame.bytes);
  out.push({ kind: "frame_refused", ref: frame.ref, lane: frame.lane, seq: frame.seq, reason: "fenced" });
}

/**
 * Takes a control frame of a bound session. Overtaking ones act on arrival, even ahead of a hole in their lane, since a
 * cut-off only rises; positioned ones act in order of the lane.
 */
export function receiveControl<P>(
  state: LinkState<P>,
  session: LinkSession<P>,
  frame: ControlFrame<P>,
  now: MonoNs,
  out: LinkOutput<P>[],
): void {
  const lane = session.inControl;
  const place = placeFrame(lane, frame, now);
  if (place === "duplicate") {
    out.push({ kind: "frame_refused", ref: frame.ref, lane: "control", seq: frame.seq, reason: "duplicate" });
    return;
  }
  if (frame.kind === "overtaking") {
    actOvertaking(state, session, frame, now, out);
    for (const held of lane.hold) if (held.frame === frame) held.acted = true;
  } else if (place === "next") queuePositioned(session, frame, now);
  if (place === "next") {
    for (let held = takeHeld(lane); held !== null; held = takeHeld(lane)) {
      if (held.frame.kind !== "overtaking") queuePositioned(session, held.frame, now);
    }
  } else attend(state, session);
  markReceipt(state, session, now);
  if (session.waiting.length > limits.POSITIONED_WAITING_ITEMS_MAX) {
    breakBoth(state, session, "positioned_overflow", out);
    return;
  }
  actPositioned(state, session, now, out);
}

function queuePositioned<P>(
  session: LinkSession<P>,
  frame: Exclude<ControlFrame<P>, OvertakingFrame<P>>,
  now: MonoNs,
): void {
  session.waiting.push({ frame, deadlineNs: monoPlusNs(now, msToNs(limits.POSITIONED_WAIT_MS)) });
}

function actOvertaking<P>(
  state: LinkState<P>,
  session: LinkSession<P>,
  frame: OvertakingFrame<P>,
  now: MonoNs,
  out: LinkOutput<P>[],
): void {
  fenceOutgoing(session, frame.cutoff, out);
  markReady(state, session, now);
  out.push({ kind: "overtaking", ref: frame.ref, seq: frame.seq, cutoff: frame.cutoff, payload: frame.payload });
}

/**
 * Lets waiting positioned messages act, in order: when their media has passed, or `forced` after 40 ms (kernel.md §6).
 * The first one's deadline is the earliest, so the order costs no one behind it more than its own 40 ms.
 */
export function actPositioned<P>(
  state: LinkState<P>,
  session: LinkSession<P>,
  now: MonoNs,
  out: LinkOutput<P>[],
): void {
  for (let first = session.waiting[0]; first !== undefined; first = session.waiting[0]) {
    const { frame, deadlineNs } = first;
    const mediaPassed = session.inData.next > frame.lastMediaSeq;
    if (!mediaPassed && now < deadlineNs) {
      attend(state, session);
      return;
    }
    session.waiting.shift();
    if (frame.kind === "unbind") {
      removeSession(state, session.ref);
      const { constants, outData } = session;
      if (outData.items > 0) {
        out.push({ kind: "dropped", ref: session.ref, lane: "data", items: outData.items, reason: "closed" });
      }
      out.push({ kind: "session_closed", ref: session.ref, constants, reason: frame.reason, by: "peer" });
      return;
    }
    const { ref, seq, lastMediaSeq, payload } = frame;
    out.push({ kind: "positioned", ref, seq, lastMediaSeq, forced: !mediaPassed, payload });
  }
}
