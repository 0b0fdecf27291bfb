/**
 * Ready queues of Data and Telemetry (`kernel.md` §4). Inside a lane the order is (due, sequence); the sequence is a
 * counter, never a clock. A binary heap as plain data.
 */
import { LANE_DATA, type LANE_TELEMETRY } from "./event.ts";

export interface ReadyItem {
  /** 0 for at once, else the monotonic instant in nanoseconds before which it must not run. */
  due: number;
  seq: number;
  /** 0 for the session's own graph, else the turn number. */
  turn: number;
  edge: number;
}

/** The lanes that wait for dispatch. Control does not: it acts when it is taken in, before any dispatch of its step. */
export type WaitingLane = typeof LANE_DATA | typeof LANE_TELEMETRY;

/** One heap per waiting lane. */
export interface Lanes {
  data: ReadyItem[];
  telemetry: ReadyItem[];
}

export function lanesCreate(): Lanes {
  return { data: [], telemetry: [] };
}

function heapOf(lanes: Lanes, lane: WaitingLane): ReadyItem[] {
  return lane === LANE_DATA ? lanes.data : lanes.telemetry;
}

function before(a: ReadyItem, b: ReadyItem): boolean {
  return a.due !== b.due ? a.due < b.due : a.seq < b.seq;
}

export function lanePush(lanes: Lanes, lane: WaitingLane, item: ReadyItem): void {
  const heap = heapOf(lanes, lane);
  let at = heap.length;
  heap.push(item);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] as ReadyItem;
    if (!before(item, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = item;
}

/** Takes the first item due at `nowNs`; undefined when there is none. */
export function lanePop(lanes: Lanes, lane: WaitingLane, nowNs: number): ReadyItem | undefined {
  const heap = heapOf(lanes, lane);
  const first = heap[0];
  if (first === undefined || first.due > nowNs) return undefined;
  const last = heap.pop() as ReadyItem;
  if (heap.length > 0) sink(heap, last);
  return first;
}

function sink(heap: ReadyItem[], item: ReadyItem): void {
  const size = heap.length;
  let at = 0;
  for (;;) {
    let child = at * 2 + 1;
    if (child >= size) break;
    const right = heap[child + 1];
    if (right !== undefined && before(right, heap[child] as ReadyItem)) child += 1;
    const below = heap[child] as ReadyItem;
    if (!before(below, item)) break;
    heap[at] = below;
    at = child;
  }
  heap[at] = item;
}

/** Whether any lane holds something due now. */
export function lanesReady(lanes: Lanes, nowNs: number): boolean {
  return isDue(lanes.data[0], nowNs) || isDue(lanes.telemetry[0], nowNs);
}

function isDue(first: ReadyItem | undefined, nowNs: number): boolean {
  return first !== undefined && first.due <= nowNs;
}

/** Forgets the data that a closed turn (0: the session itself) still had waiting; telemetry belongs to no turn. */
export function lanesForgetTurn(lanes: Lanes, turn: number): void {
  const heap = lanes.data;
  if (!heap.some((item) => item.turn === turn)) return;
  lanes.data = [];
  for (const item of heap) if (item.turn !== turn) lanePush(lanes, LANE_DATA, item);
}
