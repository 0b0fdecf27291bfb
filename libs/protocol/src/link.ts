import type { MonoNs } from "@rspp/base/brand";
import { unreachable } from "@rspp/base/invariant";
import type { Result } from "@rspp/base/result";
import { err, ok } from "@rspp/base/result";
import { receiveBind, receiveSessionFrame, refuseFrame } from "./link-bind.ts";
import { applyGrant, grantIsDue, markReceipt, pushReceipts, releaseCredit } from "./link-credit.ts";
import { flushMedia, markReady, queueOutgoing, shouldFlush, unbindSession } from "./link-send.ts";
import {
  addSession,
  attend,
  breakSession,
  controlOutIsFull,
  flushControl,
  killPair,
  pushControl,
} from "./link-state.ts";
import { linkTick } from "./link-tick.ts";
import type {
  BindRefusal,
  Connection,
  FrameRefusal,
  LinkFrame,
  LinkInput,
  LinkOutput,
  LinkState,
  Outgoing,
  Receipt,
  SendRefusal,
  SessionConstants,
} from "./link-types.ts";

/** The whole machine behind one door, for drivers and simulators that prefer inputs as data. */
export function linkStep<P>(
  state: LinkState<P>,
  input: LinkInput<P>,
  now: MonoNs,
  out: LinkOutput<P>[] = [],
): LinkOutput<P>[] {
  switch (input.kind) {
    case "connected":
      linkConnected(state, input.connection, input.incarnation, now, out);
      return out;
    case "disconnected":
      linkDisconnected(state, input.connection, input.incarnation, out);
      return out;
    case "bind": {
      const bound = linkBind(state, input.constants, input.supersedes, now, out);
      if (!bound.ok) out.push({ kind: "bind_refused", reason: bound.error, session: input.constants.session });
      return out;
    }
    case "unbind":
      linkUnbind(state, input.ref, input.reason, out);
      return out;
    case "send": {
      const sent = linkSend(state, input.ref, input.item, now, out);
      if (!sent.ok) out.push({ kind: "send_refused", ref: input.ref, lane: input.item.lane, reason: sent.error });
      return out;
    }
    case "consumed":
      linkConsumed(state, input.ref, input.audioUs, input.bytes, now, out);
      return out;
    case "frame":
      linkReceive(state, input.connection, input.incarnation, input.frame, now, out);
      return out;
    case "tick":
      linkTick(state, now, input.idle, out);
      return out;
    default:
      return unreachable(input);
  }
}

/** A connection of the pair is there. A higher incarnation ends the current pair; a lower or spent one is closed. */
export function linkConnected<P>(
  state: LinkState<P>,
  connection: Connection,
  incarnation: number,
  now: MonoNs,
  out: LinkOutput<P>[],
): void {
  const spent = state.phase === "down" || state.connected[connection];
  if (incarnation < state.incarnation || (incarnation === state.incarnation && spent)) {
    out.push({ kind: "close_connection", connection, incarnation, reason: "old_incarnation" });
    return;
  }
  if (incarnation > state.incarnation) {
    killPair(state, "superseded", out);
    state.incarnation = incarnation;
    state.phase = "half";
    state.halfSinceNs = now;
    state.nextRef = state.config.role === "adapter" ? 1 : 2;
    state.peerRefMax = 0;
  }
  state.connected[connection] = true;
  if (!state.connected.control || !state.connected.media) return;
  state.phase = "up";
  out.push({ kind: "pair_up", incarnation });
  flushControl(state, out);
}

/** If either connection dies, the pair dies (decision 6). News of an older pair changes nothing. */
export function linkDisconnected<P>(
  state: LinkState<P>,
  connection: Connection,
  incarnation: number,
  out: LinkOutput<P>[],
): void {
  if (state.phase === "down" || incarnation !== state.incarnation || !state.connected[connection]) return;
  state.connected[connection] = false;
  killPair(state, connection === "control" ? "control_lost" : "media_lost", out);
}

/** Binds a session and gives its reference, odd for an adapter, even for a runtime; events may be sent at once. */
export function linkBind<P>(
  state: LinkState<P>,
  constants: SessionConstants,
  supersedes: number | null,
  now: MonoNs,
  out: LinkOutput<P>[],
): Result<number, BindRefusal> {
  if (state.phase !== "up") return err("not_up");
  if (state.sessionCount >= state.config.sessionsMax) return err("sessions_full");
  const ref = state.nextRef;
  state.nextRef += 2;
  const session = addSession(state, { ref, constants, supersedes }, "self", now);
  attend(state, session);
  pushControl(state, { kind: "bind", ref, constants: session.constants, supersedes });
  markReceipt(state, session, now);
  pushReceipts(state);
  out.push({ kind: "session_opened", ref, constants: session.constants, origin: "self" });
  flushControl(state, out);
  return ok(ref);
}

/** Ends a session at both ends; an unknown reference is already ended. */
export function linkUnbind<P>(state: LinkState<P>, ref: number, reason: string, out: LinkOutput<P>[]): void {
  const session = state.sessions[ref];
  if (session === undefined) return;
  unbindSession(state, session, reason, out);
  flushControl(state, out);
}

/** Queues an event and gives its sequence in its lane; control and urgent data leave in `out` of this very call. */
export function linkSend<P>(
  state: LinkState<P>,
  ref: number,
  item: Outgoing<P>,
  now: MonoNs,
  out: LinkOutput<P>[],
): Result<number, SendRefusal> {
  if (state.phase !== "up") return err("not_up");
  const session = state.sessions[ref];
  if (session === undefined) return err("unknown_ref");
  const sent = queueOutgoing(state, session, item, now, out);
  if (shouldFlush(state, now, false)) flushMedia(state, now, out);
  flushControl(state, out);
  return sent;
}

/** The application is done with data it was given: that much credit goes back to the peer. */
export function linkConsumed<P>(
  state: LinkState<P>,
  ref: number,
  audioUs: number,
  bytes: number,
  now: MonoNs,
  out: LinkOutput<P>[],
): void {
  const session = state.sessions[ref];
  if (session === undefined) return;
  releaseCredit(session, audioUs, bytes);
  markReceipt(state, session, now);
  if (grantIsDue(state.config, session)) pushReceipts(state);
  flushControl(state, out);
}

/** A frame from the peer, with the connection and incarnation it came on. */
export function linkReceive<P>(
  state: LinkState<P>,
  connection: Connection,
  incarnation: number,
  frame: LinkFrame<P>,
  now: MonoNs,
  out: LinkOutput<P>[],
): void {
  const refusal = frameRefusal(state, connection, incarnation, frame);
  if (refusal !== null) {
    refuseFrame(frame, refusal, out);
    return;
  }
  switch (frame.kind) {
    case "bind":
      receiveBind(state, frame, now, out);
      break;
    case "bound": {
      const session = state.sessions[frame.ref];
      if (session === undefined || session.bound) break;
      session.bound = true;
      out.push({ kind: "session_bound", ref: frame.ref });
      break;
    }
    case "break": {
      const session = state.sessions[frame.ref];
      if (session !== undefined) breakSession(state, session, frame.reason, out);
      break;
    }
    case "receipts":
      for (const receipt of frame.entries) receiveReceipt(state, receipt, now);
      break;
    default:
      receiveSessionFrame(state, frame, now, out);
  }
  if (controlOutIsFull(state)) killPair(state, "control_overflow", out);
  flushControl(state, out);
}

function frameRefusal<P>(
  state: LinkState<P>,
  connection: Connection,
  incarnation: number,
  frame: LinkFrame<P>,
): FrameRefusal | null {
  if (incarnation > state.incarnation) return "unknown_incarnation";
  if (incarnation < state.incarnation || state.phase === "down") return "old_incarnation";
  const media = frame.kind === "event" || frame.kind === "skip";
  if (media !== (connection === "media") || !state.connected[connection]) return "wrong_connection";
  return null;
}

function receiveReceipt<P>(state: LinkState<P>, receipt: Receipt, now: MonoNs): void {
  const session = state.sessions[receipt.ref];
  if (session === undefined) return;
  applyGrant(session.outCredit, receipt);
  for (const lane of ["control", "data", "telemetry"] as const) {
    session.peerAcked[lane] = Math.max(session.peerAcked[lane], receipt.acked[lane]);
  }
  markReady(state, session, now);
}
