import type { MonoNs } from "@rspp/base/brand";
import { msToNs } from "@rspp/base/brand";
import type { Result } from "@rspp/base/result";
import { err, ok } from "@rspp/base/result";
import { limits } from "./limits.ts";
import { hasCredit, payCredit } from "./link-credit.ts";
import { isFenced, raiseFence } from "./link-fence.ts";
import { dequeue, dropQueued, enqueueDropped, enqueueEvent } from "./link-lane.ts";
import { pushControl, removeSession } from "./link-state.ts";
import type {
  Cutoff,
  EventFrame,
  LinkFrame,
  LinkOutput,
  LinkSession,
  LinkState,
  Outgoing,
  SendRefusal,
} from "./link-types.ts";

/** Queues one event of the session; control is on its way when the public step returns. Gives its sequence. */
export function queueOutgoing<P>(
  state: LinkState<P>,
  session: LinkSession<P>,
  item: Outgoing<P>,
  now: MonoNs,
  out: LinkOutput<P>[],
): Result<number, SendRefusal> {
  switch (item.lane) {
    case "data":
      return queueData(state, session, item, now, out);
    case "telemetry":
      return queueTelemetry(state, session, item, now, out);
    case "control": {
      const seq = ++session.controlSeq;
      if (item.class === "overtaking") {
        pushControl(state, { kind: "overtaking", ref: session.ref, seq, cutoff: item.cutoff, payload: item.payload });
        fenceOutgoing(session, item.cutoff, out);
      } else {
        const lastMediaSeq = item.afterMedia ? session.outData.lastSeq : 0;
        pushControl(state, { kind: "positioned", ref: session.ref, seq, lastMediaSeq, payload: item.payload });
      }
      return ok(seq);
    }
  }
}

function queueData<P>(
  state: LinkState<P>,
  session: LinkSession<P>,
  item: Extract<Outgoing<P>, { lane: "data" }>,
  now: MonoNs,
  out: LinkOutput<P>[],
): Result<number, SendRefusal> {
  const lane = session.outData;
  if (isFenced(session.fences, item.turn, item.generation)) return err("fenced");
  if (item.audioUs > limits.LINK_EVENT_AUDIO_US_MAX || item.audioUs > state.config.initialAudioUs) {
    return err("too_large");
  }
  if (item.bytes > limits.LINK_EVENT_BYTES_MAX || item.bytes > state.config.initialBytes) return err("too_large");
  // A full queue that may be paid for is sent before anything of it is dropped.
  if (isOver(state, session, item) && session.isReady) flushMedia(state, now, out);
  while (isOver(state, session, item)) {
    if (state.config.dataOverflow === "refuse") return err("no_credit");
    if (state.config.dataOverflow === "drop_newest") {
      const seq = enqueueDropped(lane, "overflow");
      out.push({ kind: "dropped", ref: session.ref, lane: "data", items: 1, reason: "overflow" });
      markReady(state, session, now);
      return ok(seq);
    }
    const items = dropQueued(lane, "overflow", 1, () => true);
    out.push({ kind: "dropped", ref: session.ref, lane: "data", items, reason: "overflow" });
  }
  const event = makeEvent(session, "data", lane.lastSeq + 1, item);
  enqueueEvent(lane, event);
  if (markReady(state, session, now) && item.urgent) state.urgent = true;
  return ok(event.seq);
}

function isOver<P>(state: LinkState<P>, session: LinkSession<P>, item: { audioUs: number; bytes: number }): boolean {
  const lane = session.outData;
  if (lane.items === 0) return false;
  return (
    lane.items + 1 > state.config.dataQueueItemsMax ||
    lane.bytes + item.bytes > limits.LINK_DATA_QUEUE_BYTES_MAX ||
    lane.audioUs + item.audioUs > limits.LINK_DATA_QUEUE_AUDIO_US_MAX
  );
}

/** Telemetry blocks nothing: when its queue is full the newest is dropped and counted (kernel.md §4). */
function queueTelemetry<P>(
  state: LinkState<P>,
  session: LinkSession<P>,
  item: Extract<Outgoing<P>, { lane: "telemetry" }>,
  now: MonoNs,
  out: LinkOutput<P>[],
): Result<number, SendRefusal> {
  const lane = session.outTelemetry;
  if (item.bytes > limits.LINK_EVENT_BYTES_MAX) return err("too_large");
  if (lane.items >= limits.LINK_TELEMETRY_QUEUE_ITEMS_MAX) {
    out.push({ kind: "dropped", ref: session.ref, lane: "telemetry", items: 1, reason: "overflow" });
    return ok(enqueueDropped(lane, "overflow"));
  }
  const whole = { turn: null, generation: 0, audioUs: 0, bytes: item.bytes, payload: item.payload };
  const event = makeEvent(session, "telemetry", lane.lastSeq + 1, whole);
  enqueueEvent(lane, event);
  markReady(state, session, now);
  return ok(event.seq);
}

function makeEvent<P>(
  session: LinkSession<P>,
  lane: "data" | "telemetry",
  seq: number,
  item: { turn: number | null; generation: number; audioUs: number; bytes: number; payload: P },
): EventFrame<P> {
  return {
    kind: "event",
    ref: session.ref,
    lane,
    seq,
    turn: item.turn,
    generation: item.generation,
    audioUs: item.audioUs,
    bytes: item.bytes,
    sentAudioUs: 0,
    sentBytes: 0,
    payload: item.payload,
  };
}

/** Raises the fence for both directions and empties this end's queue of what it cuts. */
export function fenceOutgoing<P>(session: LinkSession<P>, cutoff: Cutoff, out: LinkOutput<P>[]): void {
  raiseFence(session.fences, cutoff);
  const cut = (e: EventFrame<P>): boolean => isFenced(session.fences, e.turn, e.generation);
  const items = dropQueued(session.outData, "fenced", Number.MAX_SAFE_INTEGER, cut);
  if (items > 0) out.push({ kind: "dropped", ref: session.ref, lane: "data", items, reason: "fenced" });
}

/** Lists the session for the next flush if anything of it may be sent now; tells whether it is listed. */
export function markReady<P>(state: LinkState<P>, session: LinkSession<P>, now: MonoNs): boolean {
  const head = session.outData.queue[0];
  const dataReady = head !== undefined && (head.kind === "skip" || hasCredit(session.outCredit, head));
  if (!dataReady && session.outTelemetry.queue.length === 0) return false;
  if (!session.isReady) {
    session.isReady = true;
    state.ready.push(session.ref);
  }
  state.readySinceNs ??= now;
  return true;
}

/**
 * The flush policy of steady media (architecture.md, decision 5): at once when it is urgent (opens, first chunk, final) or
 * the event loop is idle; under load batched, {@link limits.FLUSH_BATCH_MS} at most. Control never waits for this.
 */
export function shouldFlush<P>(state: LinkState<P>, now: MonoNs, idle: boolean): boolean {
  if (state.phase !== "up" || state.readySinceNs === null) return false;
  return state.urgent || idle || now - state.readySinceNs >= msToNs(limits.FLUSH_BATCH_MS);
}

/** Sends what credit allows of every ready session, data before a bounded share of telemetry. */
export function flushMedia<P>(state: LinkState<P>, now: MonoNs, out: LinkOutput<P>[]): void {
  const refs = state.ready;
  const frames: LinkFrame<P>[] = [];
  state.ready = [];
  state.urgent = false;
  state.readySinceNs = null;
  for (const ref of refs) {
    const session = state.sessions[ref];
    if (session === undefined) continue;
    session.isReady = false;
    drainSession(session, frames);
    markReady(state, session, now);
  }
  transmitMedia(state, frames, out);
}

function drainSession<P>(session: LinkSession<P>, frames: LinkFrame<P>[]): void {
  const data = session.outData;
  for (let head = data.queue[0]; head !== undefined; head = data.queue[0]) {
    if (head.kind === "event") {
      if (!hasCredit(session.outCredit, head)) break;
      payCredit(session.outCredit, head);
      frames.push(head);
    } else frames.push({ ...head, ref: session.ref, lane: "data" });
    dequeue(data);
  }
  for (let n = 0; n < limits.LINK_TELEMETRY_PER_FLUSH_MAX; n++) {
    const head = dequeue(session.outTelemetry);
    if (head === undefined) break;
    if (head.kind === "event") frames.push(head);
    else frames.push({ ...head, ref: session.ref, lane: "telemetry" });
  }
}

function transmitMedia<P>(state: LinkState<P>, frames: LinkFrame<P>[], out: LinkOutput<P>[]): void {
  if (frames.length === 0) return;
  out.push({ kind: "transmit", connection: "media", incarnation: state.incarnation, frames });
}

/** Ends our side of a session: sends what credit allows, declares the rest dropped, then the positioned unbind. */
export function unbindSession<P>(
  state: LinkState<P>,
  session: LinkSession<P>,
  reason: string,
  out: LinkOutput<P>[],
): void {
  const frames: LinkFrame<P>[] = [];
  drainSession(session, frames);
  for (const [lane, queue] of [
    ["data", session.outData],
    ["telemetry", session.outTelemetry],
  ] as const) {
    const items = dropQueued(queue, "closed", Number.MAX_SAFE_INTEGER, () => true);
    if (items > 0) out.push({ kind: "dropped", ref: session.ref, lane, items, reason: "closed" });
  }
  drainSession(session, frames);
  transmitMedia(state, frames, out);
  const seq = ++session.controlSeq;
  pushControl(state, { kind: "unbind", ref: session.ref, seq, lastMediaSeq: session.outData.lastSeq, reason });
  removeSession(state, session.ref);
  out.push({ kind: "session_closed", ref: session.ref, constants: session.constants, reason, by: "self" });
}
