/**
 * Ready queues of the three lanes (`kernel.md` §4). Inside a lane the order is (due, sequence); the sequence is a
 * counter, never a clock. A binary heap as plain data.
 */
import type { Lane } from "./event.ts";

export interface ReadyItem {
  /** 0 for at once, else the monotonic instant in nanoseconds before which it must not run. */
  due: number;
  seq: number;
  /** 0 for the session's own graph, else the turn number. */
  turn: number;
  edge: number;
}

export interface Lanes {
  /** One heap per lane, indexed by lane number. */
  heaps: [ReadyItem[], ReadyItem[], ReadyItem[]];
}

export function lanesCreate(): Lanes {
  return { heaps: [[], [], []] };
}

function before(a: ReadyItem, b: ReadyItem): boolean {
  return a.due !== b.due ? a.due < b.due : a.seq < b.seq;
}

export function lanePush(lanes: Lanes, lane: Lane, item: ReadyItem): void {
  const heap = lanes.heaps[lane];
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
export function lanePop(lanes: Lanes, lane: Lane, nowNs: number): ReadyItem | undefined {
  const heap = lanes.heaps[lane];
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
  for (const heap of lanes.heaps) {
    const first = heap[0];
    if (first !== undefined && first.due <= nowNs) return true;
  }
  return false;
}

/** Forgets what a closed turn still had waiting. */
export function lanesForgetTurn(lanes: Lanes, turn: number): void {
  for (let lane = 0; lane < 3; lane++) {
    const heap = lanes.heaps[lane as Lane];
    if (!heap.some((item) => item.turn === turn)) continue;
    const kept = heap.filter((item) => item.turn !== turn);
    heap.length = 0;
    for (const item of kept) lanePush(lanes, lane as Lane, item);
  }
}
