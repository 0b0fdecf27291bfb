import type { MonoNs } from "@rspp/base/brand";
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import { limits } from "./limits.ts";
import type { DropReason } from "./link-types.ts";

// Order inside one lane of one session and direction: sequences are given when an event is queued, so that a positioned
// message can name the last one before it; what the sender then drops is told as a skip, never seen as a loss.

/** A frame that fills the sequences `seq` … `toSeq ?? seq`. */
export interface Sequenced {
  seq: number;
  toSeq?: number;
}

/** Receiving side. `next` is the lowest sequence not yet passed; `hold` is sorted, bounded, all above `next`. */
export interface InLane<F extends Sequenced> {
  next: number;
  hold: { frame: F; arrivedAtNs: MonoNs; acted: boolean }[];
}

export interface OutSkip {
  kind: "skip";
  seq: number;
  toSeq: number;
  reason: DropReason;
}

/** Sending side. `items`, `bytes`, `audioUs` count the queued events; skips weigh nothing and merge with their like. */
export interface OutLane<E> {
  lastSeq: number;
  queue: (E | OutSkip)[];
  items: number;
  bytes: number;
  audioUs: number;
  droppedItems: number;
}

interface QueuedEvent {
  kind: "event";
  seq: number;
  turn: number | null;
  generation: number;
  bytes: number;
  audioUs: number;
}

export function inLaneCreate<F extends Sequenced>(): InLane<F> {
  return { next: 1, hold: [] };
}

export function outLaneCreate<E>(): OutLane<E> {
  return { lastSeq: 0, queue: [], items: 0, bytes: 0, audioUs: 0, droppedItems: 0 };
}

export function lastSeqOf(frame: Sequenced): number {
  return frame.toSeq ?? frame.seq;
}

/**
 * Where an arriving frame stands. `next`: take it, then {@link takeHeld}. `held`: kept until the hole before it is
 * filled or declared. `duplicate`: already passed, already held, or late after its hole was declared a gap.
 */
export function placeFrame<F extends Sequenced>(lane: InLane<F>, frame: F, now: MonoNs): "next" | "held" | "duplicate" {
  if (lastSeqOf(frame) < lane.next) return "duplicate";
  if (frame.seq <= lane.next) {
    lane.next = lastSeqOf(frame) + 1;
    return "next";
  }
  let at = lane.hold.length;
  while (at > 0 && (lane.hold[at - 1]?.frame.seq ?? 0) > frame.seq) at--;
  if (lane.hold[at - 1]?.frame.seq === frame.seq) return "duplicate";
  lane.hold.splice(at, 0, { frame, arrivedAtNs: now, acted: false });
  return "held";
}

/** The held frame that is next in order, if any; the lane moves past it. Held frames wholly passed are thrown away. */
export function takeHeld<F extends Sequenced>(lane: InLane<F>): { frame: F; acted: boolean } | null {
  for (;;) {
    const first = lane.hold[0];
    if (first === undefined || first.frame.seq > lane.next) return null;
    lane.hold.shift();
    if (lastSeqOf(first.frame) < lane.next) continue;
    lane.next = lastSeqOf(first.frame) + 1;
    return { frame: first.frame, acted: first.acted };
  }
}

/** Passes over the hole before the first held frame; returns the missing range, null when there is no hole. */
export function declareGap<F extends Sequenced>(lane: InLane<F>): { fromSeq: number; toSeq: number } | null {
  const first = lane.hold[0];
  if (first === undefined || first.frame.seq <= lane.next) return null;
  const gap = { fromSeq: lane.next, toSeq: first.frame.seq - 1 };
  lane.next = first.frame.seq;
  return gap;
}

export function holdIsFull<F extends Sequenced>(lane: InLane<F>): boolean {
  return lane.hold.length > limits.LINK_REORDER_ITEMS_MAX;
}

/** When the hole before the held frames is declared; null when nothing is held. */
export function holdDeadline<F extends Sequenced>(lane: InLane<F>): MonoNs | null {
  let oldest: MonoNs | null = null;
  for (const held of lane.hold) if (oldest === null || held.arrivedAtNs < oldest) oldest = held.arrivedAtNs;
  return oldest === null ? null : monoPlusNs(oldest, msToNs(limits.LINK_REORDER_HOLD_MS));
}

/** Appends an event that already carries the lane's next sequence. */
export function enqueueEvent<E extends QueuedEvent>(lane: OutLane<E>, event: E): void {
  invariant(event.seq === lane.lastSeq + 1, "sequences of a lane have no holes on the sending side", event.seq);
  lane.lastSeq = event.seq;
  lane.queue.push(event);
  lane.items++;
  lane.bytes += event.bytes;
  lane.audioUs += event.audioUs;
}

/** Gives the next sequence to an event that is dropped instead of queued. */
export function enqueueDropped<E extends QueuedEvent>(lane: OutLane<E>, reason: DropReason): number {
  lane.lastSeq++;
  lane.droppedItems++;
  pushSkip(lane.queue, { kind: "skip", seq: lane.lastSeq, toSeq: lane.lastSeq, reason });
  return lane.lastSeq;
}

/** Removes the head of the queue, which is about to be transmitted. */
export function dequeue<E extends QueuedEvent>(lane: OutLane<E>): E | OutSkip | undefined {
  const head = lane.queue.shift();
  if (head !== undefined && head.kind === "event") forget(lane, head);
  return head;
}

/** Replaces queued events that `matches` by skips; `max` of them at most, oldest first. Returns how many. */
export function dropQueued<E extends QueuedEvent>(
  lane: OutLane<E>,
  reason: DropReason,
  max: number,
  matches: (event: E) => boolean,
): number {
  let dropped = 0;
  const kept: (E | OutSkip)[] = [];
  for (const item of lane.queue) {
    if (item.kind === "event" && dropped < max && matches(item)) {
      forget(lane, item);
      lane.droppedItems++;
      dropped++;
      pushSkip(kept, { kind: "skip", seq: item.seq, toSeq: item.seq, reason });
    } else if (item.kind === "skip") pushSkip(kept, item);
    else kept.push(item);
  }
  lane.queue = kept;
  return dropped;
}

function forget<E extends QueuedEvent>(lane: OutLane<E>, event: E): void {
  lane.items--;
  lane.bytes -= event.bytes;
  lane.audioUs -= event.audioUs;
}

function pushSkip<E extends QueuedEvent>(queue: (E | OutSkip)[], skip: OutSkip): void {
  const last = queue[queue.length - 1];
  if (last !== undefined && last.kind === "skip" && last.reason === skip.reason && last.toSeq + 1 === skip.seq) {
    last.toSeq = skip.toSeq;
  } else queue.push({ ...skip });
}
