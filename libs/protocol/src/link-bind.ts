import type { MonoNs } from "@rspp/base/brand";
import { msToNs } from "@rspp/base/brand";
import { limits } from "./limits.ts";
import { markReceipt, pushReceipts } from "./link-credit.ts";
import { receiveControl, receiveMedia } from "./link-receive.ts";
import { addSession, pushControl } from "./link-state.ts";
import type {
  BindFrame,
  ControlFrame,
  FrameRefusal,
  LinkFrame,
  LinkOutput,
  LinkState,
  MediaFrame,
} from "./link-types.ts";

/** Takes the peer's bind: opens the session, answers, and lets the frames in that raced it. */
export function receiveBind<P>(state: LinkState<P>, bind: BindFrame, now: MonoNs, out: LinkOutput<P>[]): void {
  if (state.sessions[bind.ref] !== undefined) return;
  if (!isPeerRef(state, bind.ref)) {
    pushControl(state, { kind: "break", ref: bind.ref, reason: "bad_ref" });
    return;
  }
  if (bind.ref <= state.peerRefMax) {
    refuseFrame(bind, "ref_reused", out);
    return;
  }
  state.peerRefMax = bind.ref;
  if (state.sessionCount >= state.config.sessionsMax) {
    pushControl(state, { kind: "break", ref: bind.ref, reason: "sessions_full" });
    takeUnknown(state, bind.ref);
    return;
  }
  const session = addSession(state, bind, "peer", now);
  pushControl(state, { kind: "bound", ref: bind.ref });
  markReceipt(state, session, now);
  pushReceipts(state);
  out.push({ kind: "session_opened", ref: bind.ref, constants: session.constants, origin: "peer" });
  for (const frame of takeUnknown(state, bind.ref)) receiveSessionFrame(state, frame, now, out);
}

function isPeerRef<P>(state: LinkState<P>, ref: number): boolean {
  return ref % 2 === (state.config.role === "adapter" ? 0 : 1);
}

/** Takes a frame of a session, or holds it for its bind. */
export function receiveSessionFrame<P>(
  state: LinkState<P>,
  frame: ControlFrame<P> | MediaFrame<P>,
  now: MonoNs,
  out: LinkOutput<P>[],
): void {
  const session = state.sessions[frame.ref];
  if (session === undefined) {
    holdUnknown(state, frame, now, out);
    return;
  }
  if (frame.kind === "event" || frame.kind === "skip") receiveMedia(state, session, frame, now, out);
  else receiveControl(state, session, frame, now, out);
}

/** An event may race its bind across the two connections; a reference already unbound never comes back (decision 7). */
function holdUnknown<P>(
  state: LinkState<P>,
  frame: ControlFrame<P> | MediaFrame<P>,
  now: MonoNs,
  out: LinkOutput<P>[],
): void {
  if (!isPeerRef(state, frame.ref) || frame.ref <= state.peerRefMax) {
    refuseFrame(frame, "unbound_ref", out);
    return;
  }
  const bytes = frame.kind === "event" ? frame.bytes : 0;
  const full =
    state.unknown.length >= limits.LINK_UNKNOWN_REF_ITEMS_MAX ||
    state.unknownBytes + bytes > limits.LINK_UNKNOWN_REF_BYTES_MAX;
  if (full) {
    refuseFrame(frame, "unknown_ref_overflow", out);
    return;
  }
  state.unknown.push({ frame, arrivedAtNs: now });
  state.unknownBytes += bytes;
}

function takeUnknown<P>(state: LinkState<P>, ref: number): (ControlFrame<P> | MediaFrame<P>)[] {
  const taken = state.unknown.filter((u) => u.frame.ref === ref).map((u) => u.frame);
  state.unknown = state.unknown.filter((u) => u.frame.ref !== ref);
  for (const frame of taken) if (frame.kind === "event") state.unknownBytes -= frame.bytes;
  return taken;
}

/** Refuses what has waited too long for its bind. */
export function expireUnknown<P>(state: LinkState<P>, now: MonoNs, out: LinkOutput<P>[]): void {
  const waitNs = msToNs(limits.LINK_UNKNOWN_REF_WAIT_MS);
  for (let first = state.unknown[0]; first !== undefined; first = state.unknown[0]) {
    if (now - first.arrivedAtNs < waitNs) return;
    state.unknown.shift();
    if (first.frame.kind === "event") state.unknownBytes -= first.frame.bytes;
    refuseFrame(first.frame, "unknown_ref_timeout", out);
  }
}

/** Reports an arriving frame as refused; nothing of it acts. */
export function refuseFrame<P>(frame: LinkFrame<P>, reason: FrameRefusal, out: LinkOutput<P>[]): void {
  const media = frame.kind === "event" || frame.kind === "skip";
  const ref = frame.kind === "receipts" ? 0 : frame.ref;
  const seq = "seq" in frame ? frame.seq : 0;
  out.push({ kind: "frame_refused", ref, lane: media ? frame.lane : "control", seq, reason });
}
