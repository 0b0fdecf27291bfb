/** A bounded edge (`kernel.md` §5; F-008, F-043): in order, at most once, never past its bounds. */
import type { MonoNs } from "@rspp/base/brand";
import { NS_PER_MS, US_PER_MS } from "@rspp/base/brand";
import { type Ring, ringAt, ringCreate, ringPeek, ringPush, ringRemoveAt, ringSet, ringShift } from "@rspp/base/ring";
import type { KernelEvent } from "./event.ts";
import type { BufferSpec } from "./graph.ts";

export interface EdgeState {
  queue: Ring<KernelEvent>;
  bytes: number;
  queuedUs: number;
  /** `block` only: events whose producer waits. Bounded by the same number of items. */
  waiting: Ring<KernelEvent>;
  /** Since when the oldest waiting event waits; 0 for none. */
  blockedSinceNs: number;
  /** Set while the producer has been told to stop (flow_xoff). */
  xoff: boolean;
  accepted: number;
  delivered: number;
  dropped: number;
  merged: number;
  /** Pending drop_notice: sequence range and reason; 0 for none. */
  noticeFrom: number;
  noticeTo: number;
  noticeReason: string;
}

/**
 * queued: one more item waits for dispatch · waiting: the producer is blocked · merged, replaced: an item already
 * queued now carries it · dropped: gone, with a notice.
 */
export type OfferResult = "queued" | "waiting" | "merged" | "replaced" | "dropped";

/** Room for the `end` marks beside the items; they are never dropped. */
const END_SLOTS = 2;

export function edgeCreate(spec: BufferSpec): EdgeState {
  return {
    queue: ringCreate(spec.maxItems + END_SLOTS),
    bytes: 0,
    queuedUs: 0,
    waiting: ringCreate(spec.maxItems + END_SLOTS),
    blockedSinceNs: 0,
    xoff: false,
    accepted: 0,
    delivered: 0,
    dropped: 0,
    merged: 0,
    noticeFrom: 0,
    noticeTo: 0,
    noticeReason: "",
  };
}

function bytesOf(event: KernelEvent): number {
  return event.body.type === "audio" ? event.body.payload.bytes : 0;
}

function durationOf(event: KernelEvent): number {
  return event.body.type === "audio" ? event.body.durationUs : 0;
}

/** Which bound one more event would break; empty for none. */
function brokenBound(edge: EdgeState, spec: BufferSpec, event: KernelEvent): string {
  if (edge.queue.size >= spec.maxItems) return "max_items";
  if (edge.bytes + bytesOf(event) > spec.maxBytes) return "max_bytes";
  if (edge.queuedUs + durationOf(event) > spec.maxQueueMs * US_PER_MS) return "max_queue_ms";
  return "";
}

export function edgeOffer(edge: EdgeState, spec: BufferSpec, event: KernelEvent, nowNs: MonoNs): OfferResult {
  if (event.body.type === "end") return offerEnd(edge, event);
  if (spec.strategy === "coalesce" && mergePartial(edge, event)) return "merged";
  if (spec.strategy === "latest_only" && replaceLatest(edge, event)) return "replaced";
  if (spec.strategy === "block" && edge.waiting.size > 0) return wait(edge, spec, event, nowNs);
  let bound = brokenBound(edge, spec, event);
  if (bound === "") {
    push(edge, event);
    return "queued";
  }
  if (spec.strategy === "block") return wait(edge, spec, event, nowNs);
  if (spec.strategy !== "drop_oldest") return drop(edge, event, bound);
  let evicted = 0;
  while (bound !== "") {
    if (!evictOldest(edge, bound)) return drop(edge, event, bound);
    evicted += 1;
    bound = brokenBound(edge, spec, event);
  }
  push(edge, event);
  // The evicted item's place in the ready queue serves the new one.
  return evicted > 0 ? "replaced" : "queued";
}

function push(edge: EdgeState, event: KernelEvent): void {
  ringPush(edge.queue, event);
  edge.bytes += bytesOf(event);
  edge.queuedUs += durationOf(event);
  edge.accepted += 1;
}

function offerEnd(edge: EdgeState, event: KernelEvent): OfferResult {
  if (edge.waiting.size > 0) return ringPush(edge.waiting, event) ? "waiting" : "dropped";
  if (!ringPush(edge.queue, event)) return "dropped";
  edge.accepted += 1;
  return "queued";
}

function drop(edge: EdgeState, event: KernelEvent, reason: string): OfferResult {
  edge.dropped += 1;
  if (edge.noticeFrom === 0) edge.noticeFrom = event.seq;
  edge.noticeFrom = Math.min(edge.noticeFrom, event.seq);
  edge.noticeTo = Math.max(edge.noticeTo, event.seq);
  edge.noticeReason = reason;
  return "dropped";
}

function wait(edge: EdgeState, spec: BufferSpec, event: KernelEvent, nowNs: MonoNs): OfferResult {
  // maxItems waiting at most: behind that the producer was told long ago, so it is shed at once.
  if (edge.waiting.size >= spec.maxItems || !ringPush(edge.waiting, event)) return drop(edge, event, "block_overrun");
  if (edge.blockedSinceNs === 0) edge.blockedSinceNs = nowNs;
  return "waiting";
}

/** Coalesce: a newer revision takes the place of a queued partial of the same segment; finals are never replaced. */
function mergePartial(edge: EdgeState, event: KernelEvent): boolean {
  const body = event.body;
  if (body.type !== "text") return false;
  for (let i = edge.queue.size - 1; i >= 0; i--) {
    const queued = ringAt(edge.queue, i) as KernelEvent;
    if (queued.body.type !== "text" || queued.body.final || queued.body.segment !== body.segment) continue;
    ringSet(edge.queue, i, event);
    edge.merged += 1;
    return true;
  }
  return false;
}

/** latest_only: one queued item at most, finals and end marks aside. */
function replaceLatest(edge: EdgeState, event: KernelEvent): boolean {
  for (let i = 0; i < edge.queue.size; i++) {
    const queued = ringAt(edge.queue, i) as KernelEvent;
    if (queued.body.type === "end" || (queued.body.type === "text" && queued.body.final)) continue;
    edge.bytes += bytesOf(event) - bytesOf(queued);
    edge.queuedUs += durationOf(event) - durationOf(queued);
    ringSet(edge.queue, i, event);
    drop(edge, queued, "latest_only");
    return true;
  }
  return false;
}

function evictOldest(edge: EdgeState, reason: string): boolean {
  for (let i = 0; i < edge.queue.size; i++) {
    const queued = ringAt(edge.queue, i) as KernelEvent;
    if (queued.body.type === "end" || (queued.body.type === "text" && queued.body.final)) continue;
    ringRemoveAt(edge.queue, i);
    edge.bytes -= bytesOf(queued);
    edge.queuedUs -= durationOf(queued);
    drop(edge, queued, reason);
    return true;
  }
  return false;
}

/** Takes the oldest event. Afterwards `edgeAdmitWaiting` may move blocked ones up. */
export function edgeTake(edge: EdgeState): KernelEvent | undefined {
  const event = ringShift(edge.queue);
  if (event === undefined) return undefined;
  edge.bytes -= bytesOf(event);
  edge.queuedUs -= durationOf(event);
  edge.delivered += 1;
  return event;
}

/** Moves waiting events into freed room; returns how many became ready. */
export function edgeAdmitWaiting(edge: EdgeState, spec: BufferSpec, nowNs: MonoNs): number {
  let moved = 0;
  for (let next = ringPeek(edge.waiting); next !== undefined; next = ringPeek(edge.waiting)) {
    if (next.body.type !== "end" && brokenBound(edge, spec, next) !== "") break;
    ringShift(edge.waiting);
    push(edge, next);
    moved += 1;
    edge.blockedSinceNs = nowNs;
  }
  if (edge.waiting.size === 0) edge.blockedSinceNs = 0;
  return moved;
}

/** F-148 flavour: what waited longer than `maxBlockMs` is shed, oldest first. Returns the number shed. */
export function edgeShedExpired(edge: EdgeState, spec: BufferSpec, nowNs: MonoNs): number {
  if (edge.blockedSinceNs === 0 || nowNs - edge.blockedSinceNs < spec.maxBlockMs * NS_PER_MS) return 0;
  let shed = 0;
  for (let i = 0; i < edge.waiting.size; ) {
    const event = ringAt(edge.waiting, i) as KernelEvent;
    if (event.body.type === "end") {
      i += 1;
      continue;
    }
    ringRemoveAt(edge.waiting, i);
    drop(edge, event, "max_block_ms");
    shed += 1;
  }
  edge.blockedSinceNs = 0;
  edgeAdmitWaiting(edge, spec, nowNs);
  return shed;
}

/** Empties the edge under a cancel (F-038); returns how many events were discarded. */
export function edgeClear(edge: EdgeState): number {
  const discarded = edge.queue.size + edge.waiting.size;
  edge.queue = ringCreate(edge.queue.capacity);
  edge.waiting = ringCreate(edge.waiting.capacity);
  edge.bytes = 0;
  edge.queuedUs = 0;
  edge.blockedSinceNs = 0;
  edge.xoff = false;
  return discarded;
}
