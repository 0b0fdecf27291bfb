/** A bounded edge (`kernel.md` §5; F-008, F-043): in order, at most once, never past its bounds. */
import type { MonoNs } from "@rspp/base/brand";
import { NS_PER_MS, US_PER_MS } from "@rspp/base/brand";
import { type Ring, ringAt, ringCreate, ringPeek, ringPush, ringRemoveAt, ringShift } from "@rspp/base/ring";
import type { RouteState } from "./conditions.ts";
import type { KernelEvent } from "./event.ts";
import type { BufferSpec } from "./graph.ts";
import { spansLength } from "./rope.ts";

export interface EdgeState {
  queue: Ring<KernelEvent>;
  bytes: number;
  queuedUs: number;
  /** `block` only: events whose producer waits. Bounded by the same number of items. */
  waiting: Ring<KernelEvent>;
  /** Since when each of `waiting` waits, nanoseconds, in step with it. */
  waitingSinceNs: Ring<number>;
  /** Set while the producer has been told to stop (flow_xoff). */
  xoff: boolean;
  /** Offered = accepted + waiting + dropped; accepted = delivered + queued + evicted + merged (until cleared). */
  accepted: number;
  delivered: number;
  dropped: number;
  evicted: number;
  merged: number;
  /** Pending drop_notice: sequence range and reason; 0 for none. */
  noticeFrom: number;
  noticeTo: number;
  noticeReason: string;
  /** Synthesised audio that was shed since the last notice, by clause: it is never heard. */
  shed: { segment: number; durationUs: number }[];
  /** Edges with a condition, from its first answer on. */
  route?: RouteState;
}

/**
 * queued: one more item waits for dispatch · waiting: the producer is blocked · merged, replaced: the place of an item
 * already queued now serves this one · dropped: gone, with a notice.
 */
export type OfferResult = "queued" | "waiting" | "merged" | "replaced" | "dropped";

/** Room for the `end` marks beside the items; they are never dropped. */
const END_SLOTS = 2;

const UTF16_BYTES = 2;

export function edgeCreate(spec: BufferSpec): EdgeState {
  return {
    queue: ringCreate(spec.maxItems + END_SLOTS),
    bytes: 0,
    queuedUs: 0,
    waiting: ringCreate(spec.maxItems + END_SLOTS),
    waitingSinceNs: ringCreate(spec.maxItems + END_SLOTS),
    xoff: false,
    accepted: 0,
    delivered: 0,
    dropped: 0,
    evicted: 0,
    merged: 0,
    noticeFrom: 0,
    noticeTo: 0,
    noticeReason: "",
    shed: [],
  };
}

/** Bytes of the payloads an event stands for; text as UTF-16. */
function bytesOf(event: KernelEvent): number {
  const { body } = event;
  if (body.type === "audio") return body.payload.bytes;
  if (body.type === "text") return body.chars * UTF16_BYTES;
  if (body.type !== "messages") return 0;
  let chars = 0;
  for (const message of body.messages) {
    chars += spansLength(message.spans);
    for (const call of message.toolCalls ?? []) chars += spansLength(call.spans);
  }
  return chars * UTF16_BYTES;
}

function durationOf(event: KernelEvent): number {
  return event.body.type === "audio" ? event.body.durationUs : 0;
}

/** Finals and end marks are never taken out to make room. */
function isKept(event: KernelEvent): boolean {
  return event.body.type === "end" || isFinal(event);
}

function isFinal(event: KernelEvent): boolean {
  return event.body.type === "text" && event.body.final;
}

/** Which bound one more event would break, with `without` taken out first; empty for none. */
function brokenBound(edge: EdgeState, spec: BufferSpec, event: KernelEvent, without?: KernelEvent): string {
  const out = without === undefined ? 0 : 1;
  const outBytes = without === undefined ? 0 : bytesOf(without);
  const outUs = without === undefined ? 0 : durationOf(without);
  if (edge.queue.size - out >= spec.maxItems) return "max_items";
  if (edge.bytes - outBytes + bytesOf(event) > spec.maxBytes) return "max_bytes";
  if (edge.queuedUs - outUs + durationOf(event) > spec.maxQueueMs * US_PER_MS) return "max_queue_ms";
  return "";
}

/** What would not even fit an empty edge is shed at once, instead of emptying the edge or blocking it for nothing. */
function tooLarge(spec: BufferSpec, event: KernelEvent): string {
  if (bytesOf(event) > spec.maxBytes) return "max_bytes";
  return durationOf(event) > spec.maxQueueMs * US_PER_MS ? "max_queue_ms" : "";
}

export function edgeOffer(edge: EdgeState, spec: BufferSpec, event: KernelEvent, nowNs: MonoNs): OfferResult {
  if (event.body.type === "end") return offerEnd(edge, event, nowNs);
  const { strategy } = spec;
  if (strategy === "block" && edge.waiting.size > 0 && tooLarge(spec, event) === "")
    return wait(edge, spec, event, nowNs);
  if (strategy === "coalesce" && replace(edge, spec, event, elderPartial(edge, event), "coalesced")) return "merged";
  if (strategy === "latest_only" && replace(edge, spec, event, firstFree(edge), "latest_only")) return "replaced";
  const bound = brokenBound(edge, spec, event);
  if (bound === "") {
    push(edge, event);
    return "queued";
  }
  if (tooLarge(spec, event) !== "") return drop(edge, event, bound);
  if (strategy === "block") return wait(edge, spec, event, nowNs);
  return overflow(edge, spec, event, bound);
}

/** A full edge that may not block: finals, and anything under drop_oldest, take the place of what may be lost. */
function overflow(edge: EdgeState, spec: BufferSpec, event: KernelEvent, broken: string): OfferResult {
  if (spec.strategy !== "drop_oldest" && !isFinal(event)) return drop(edge, event, broken);
  let bound = broken;
  while (bound !== "") {
    const victim = spec.strategy === "drop_newest" ? lastFree(edge) : firstFree(edge);
    if (victim === -1) return drop(edge, event, bound);
    evict(edge, victim, bound);
    bound = brokenBound(edge, spec, event);
  }
  push(edge, event);
  // The evicted item's place in the ready queue serves the new one.
  return "replaced";
}

function push(edge: EdgeState, event: KernelEvent): void {
  ringPush(edge.queue, event);
  edge.bytes += bytesOf(event);
  edge.queuedUs += durationOf(event);
  edge.accepted += 1;
}

function offerEnd(edge: EdgeState, event: KernelEvent, nowNs: MonoNs): OfferResult {
  if (edge.waiting.size > 0) {
    if (!ringPush(edge.waiting, event)) return drop(edge, event, "end_overrun");
    ringPush(edge.waitingSinceNs, nowNs);
    return "waiting";
  }
  if (!ringPush(edge.queue, event)) return drop(edge, event, "end_overrun");
  edge.accepted += 1;
  return "queued";
}

function drop(edge: EdgeState, event: KernelEvent, reason: string): OfferResult {
  edge.dropped += 1;
  note(edge, event, reason);
  return "dropped";
}

/** Widens the pending notice over this event. */
function note(edge: EdgeState, event: KernelEvent, reason: string): void {
  edge.noticeFrom = edge.noticeFrom === 0 ? event.seq : Math.min(edge.noticeFrom, event.seq);
  edge.noticeTo = Math.max(edge.noticeTo, event.seq);
  edge.noticeReason = reason;
  if (event.body.type === "audio" && event.body.segment >= 0) noteShed(edge, event.body.segment, event.body.durationUs);
}

function noteShed(edge: EdgeState, segment: number, durationUs: number): void {
  const last = edge.shed.at(-1);
  if (last?.segment === segment) last.durationUs += durationUs;
  else edge.shed.push({ segment, durationUs });
}

function wait(edge: EdgeState, spec: BufferSpec, event: KernelEvent, nowNs: MonoNs): OfferResult {
  // maxItems waiting at most: behind that the producer was told long ago, so it is shed at once.
  if (edge.waiting.size >= spec.maxItems || !ringPush(edge.waiting, event)) return drop(edge, event, "block_overrun");
  ringPush(edge.waitingSinceNs, nowNs);
  return "waiting";
}

/** Coalesce: the newest queued partial of the same segment, which a newer revision takes the place of; finals stay. */
function elderPartial(edge: EdgeState, event: KernelEvent): number {
  const body = event.body;
  if (body.type !== "text") return -1;
  for (let i = edge.queue.size - 1; i >= 0; i--) {
    const queued = ringAt(edge.queue, i) as KernelEvent;
    if (queued.body.type === "text" && !queued.body.final && queued.body.segment === body.segment) return i;
  }
  return -1;
}

function firstFree(edge: EdgeState): number {
  for (let i = 0; i < edge.queue.size; i++) if (!isKept(ringAt(edge.queue, i) as KernelEvent)) return i;
  return -1;
}

function lastFree(edge: EdgeState): number {
  for (let i = edge.queue.size - 1; i >= 0; i--) if (!isKept(ringAt(edge.queue, i) as KernelEvent)) return i;
  return -1;
}

/** Takes the elder at `index` out and puts the event at the end, since order on an edge is by sequence (F-008). */
function replace(
  edge: EdgeState,
  spec: BufferSpec,
  event: KernelEvent,
  index: number,
  reason: "coalesced" | "latest_only",
): boolean {
  const elder = ringAt(edge.queue, index);
  if (elder === undefined || brokenBound(edge, spec, event, elder) !== "") return false;
  removeAt(edge, index, elder);
  if (reason === "coalesced") edge.merged += 1;
  else edge.evicted += 1;
  note(edge, elder, reason);
  push(edge, event);
  return true;
}

function evict(edge: EdgeState, index: number, reason: string): void {
  const victim = ringAt(edge.queue, index) as KernelEvent;
  removeAt(edge, index, victim);
  edge.evicted += 1;
  note(edge, victim, reason);
}

function removeAt(edge: EdgeState, index: number, event: KernelEvent): void {
  if (index === 0) ringShift(edge.queue);
  else ringRemoveAt(edge.queue, index);
  edge.bytes -= bytesOf(event);
  edge.queuedUs -= durationOf(event);
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

/** Moves waiting events into freed room; returns how many became ready: they are the last ones of the queue. */
export function edgeAdmitWaiting(edge: EdgeState, spec: BufferSpec): number {
  let moved = 0;
  for (let next = ringPeek(edge.waiting); next !== undefined; next = ringPeek(edge.waiting)) {
    if (next.body.type !== "end" && brokenBound(edge, spec, next) !== "") break;
    ringShift(edge.waiting);
    ringShift(edge.waitingSinceNs);
    push(edge, next);
    moved += 1;
  }
  return moved;
}

/** The instant at which the oldest waiting event will have waited `maxBlockMs`; 0 while none waits. */
export function edgeBlockDeadlineNs(edge: EdgeState, spec: BufferSpec): number {
  const sinceNs = ringPeek(edge.waitingSinceNs);
  return sinceNs === undefined ? 0 : sinceNs + spec.maxBlockMs * NS_PER_MS;
}

/** Sheds what has waited `maxBlockMs`, oldest first; end marks stay. Returns the number shed. */
export function edgeShedExpired(edge: EdgeState, spec: BufferSpec, nowNs: MonoNs): number {
  let shed = 0;
  for (let i = 0; i < edge.waiting.size; ) {
    const event = ringAt(edge.waiting, i) as KernelEvent;
    if (nowNs - (ringAt(edge.waitingSinceNs, i) as number) < spec.maxBlockMs * NS_PER_MS) break;
    if (event.body.type === "end") {
      i += 1;
      continue;
    }
    ringRemoveAt(edge.waiting, i);
    ringRemoveAt(edge.waitingSinceNs, i);
    drop(edge, event, "max_block_ms");
    shed += 1;
  }
  return shed;
}

/** Empties the edge under a cancel (F-038); returns how many events were discarded. */
export function edgeClear(edge: EdgeState): number {
  const discarded = edge.queue.size + edge.waiting.size;
  edge.queue = ringCreate(edge.queue.capacity);
  edge.waiting = ringCreate(edge.waiting.capacity);
  edge.waitingSinceNs = ringCreate(edge.waitingSinceNs.capacity);
  edge.bytes = 0;
  edge.queuedUs = 0;
  edge.xoff = false;
  return discarded;
}
