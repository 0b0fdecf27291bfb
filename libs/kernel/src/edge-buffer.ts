/** A bounded edge (`kernel.md` §5; F-008, F-043): in order, at most once, never past its bounds. */
import type { MonoNs } from "@rspp/base/brand";
import { NS_PER_MS, US_PER_MS } from "@rspp/base/brand";
import { type Ring, ringAt, ringCreate, ringPeek, ringPush, ringRemoveAt, ringSet, ringShift } from "@rspp/base/ring";
import type { RouteState } from "./conditions.ts";
import { type EdgeExtras, extrasClear, extrasCreate, isDropped, noteLost, syncIdOf } from "./edge-extras.ts";
import type { KernelEvent } from "./event.ts";
import type { BufferSpec } from "./graph.ts";
import { MERGED_FROM_MAX } from "./limits.ts";
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
  /** Edges whose BufferSpec asks for more than bounds and a strategy. */
  extras?: EdgeExtras;
}

/**
 * queued: one more item waits for dispatch · waiting: the producer is blocked · merged, replaced: the place of an item
 * already queued now serves this one · dropped: gone, with a notice · sampled: gone, told with the next that is kept.
 */
export type OfferResult = "queued" | "waiting" | "merged" | "replaced" | "dropped" | "sampled";

/** Room for the `end` marks beside the items; they are never dropped. */
const END_SLOTS = 2;
/** And for control events, where the edge has a rule for them. */
const CONTROL_SLOTS = 16;

const UTF16_BYTES = 2;

export function edgeCreate(spec: BufferSpec): EdgeState {
  const slots = spec.maxItems + END_SLOTS + (spec.lanes?.control === undefined ? 0 : CONTROL_SLOTS);
  const extras = extrasCreate(spec, slots);
  const edge: EdgeState = {
    queue: ringCreate(slots),
    bytes: 0,
    queuedUs: 0,
    waiting: ringCreate(slots),
    waitingSinceNs: ringCreate(slots),
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
  if (extras !== undefined) edge.extras = extras;
  return edge;
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

/** Finals and end marks, and control events where there is a rule for them, are never taken out to make room. */
function isKept(edge: EdgeState, event: KernelEvent): boolean {
  return isFinal(event) || isUnbound(edge, event);
}

/** What no bound keeps out. */
function isUnbound(edge: EdgeState, event: KernelEvent): boolean {
  return event.body.type === "end" || (event.body.type === "error" && edge.extras?.control === true);
}

function isFinal(event: KernelEvent): boolean {
  return event.body.type === "text" && event.body.final;
}

/** Which bound one more event would break, with `without` taken out first; empty for none. */
function brokenBound(edge: EdgeState, spec: BufferSpec, event: KernelEvent, without?: KernelEvent): string {
  const out = without === undefined ? 0 : 1;
  const outBytes = without === undefined ? 0 : bytesOf(without);
  const outUs = without === undefined ? 0 : durationOf(without);
  const items = edge.queue.size - out;
  const x = edge.extras;
  if (items - (x === undefined ? 0 : x.controls) >= spec.maxItems) return "max_items";
  if (x !== undefined && spec.credits !== undefined && items + x.owed >= spec.credits) return "credits";
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
  if (isUnbound(edge, event)) return offerEnd(edge, event, nowNs);
  const first = edge.extras === undefined ? null : offerFirst(edge, edge.extras, spec, event, nowNs);
  if (first !== null) return first;
  const { strategy } = spec;
  if (strategy === "block" && edge.waiting.size > 0 && tooLarge(spec, event) === "")
    return wait(edge, spec, event, nowNs);
  if (strategy === "coalesce" && replace(edge, spec, event, elderPartial(edge, event), "coalesced", nowNs))
    return "merged";
  if (strategy === "latest_only" && replace(edge, spec, event, firstFree(edge), "latest_only", nowNs))
    return "replaced";
  const bound = brokenBound(edge, spec, event);
  if (bound === "") {
    push(edge, event, nowNs);
    return "queued";
  }
  if (tooLarge(spec, event) !== "") return drop(edge, event, bound);
  if (strategy === "block") return wait(edge, spec, event, nowNs);
  return overflow(edge, spec, event, bound, nowNs);
}

/** What an edge with more than bounds decides before its strategy does; null where that is to decide. */
function offerFirst(
  edge: EdgeState,
  x: EdgeExtras,
  spec: BufferSpec,
  event: KernelEvent,
  nowNs: MonoNs,
): OfferResult | null {
  if (x.sync !== null && isDropped(x.sync, event)) return drop(edge, event, "sync_group");
  if (spec.strategy === "sample" && !isKept(edge, event)) {
    x.seen += 1;
    if ((x.seen - 1) % (spec.sampleEvery ?? 1) !== 0) {
      drop(edge, event, "sampled");
      return "sampled";
    }
  }
  if (spec.maxLatencyMs !== undefined) {
    // Behind one that is late already, one more would be late as well: the newest is what this strategy sheds.
    const late = spec.strategy === "drop_newest" && !isKept(edge, event) && isLate(x, spec, 0, nowNs);
    if (late) return drop(edge, event, "max_latency_ms");
    edgeShedLate(edge, spec, nowNs);
  }
  if (!x.pressed) return null;
  const action = spec.watermark?.action;
  if (action === "block" && tooLarge(spec, event) === "") return wait(edge, spec, event, nowNs);
  if (action === "drop" && !isKept(edge, event)) return drop(edge, event, "watermark");
  return action === "merge" && merge(edge, x, spec, event, nowNs) ? "merged" : null;
}

function isLate(x: EdgeExtras, spec: BufferSpec, index: number, nowNs: MonoNs): boolean {
  const sinceNs = x.sinceNs === null ? undefined : ringAt(x.sinceNs, index);
  return sinceNs !== undefined && nowNs - sinceNs > (spec.maxLatencyMs ?? 0) * NS_PER_MS;
}

/** Sheds what has been on the edge for longer than `maxLatencyMs`; finals stay, late as they are. Returns the number shed. */
export function edgeShedLate(edge: EdgeState, spec: BufferSpec, nowNs: MonoNs): number {
  const x = edge.extras;
  if (x === undefined || spec.maxLatencyMs === undefined) return 0;
  let shed = 0;
  for (let i = 0; isLate(x, spec, i, nowNs); ) {
    if (isKept(edge, ringAt(edge.queue, i) as KernelEvent)) {
      i += 1;
      continue;
    }
    evict(edge, i, "max_latency_ms");
    shed += 1;
  }
  return shed;
}

/** A full edge that may not block: finals, and anything under drop_oldest, take the place of what may be lost. */
function overflow(edge: EdgeState, spec: BufferSpec, event: KernelEvent, broken: string, nowNs: MonoNs): OfferResult {
  if (spec.strategy !== "drop_oldest" && !isFinal(event)) return drop(edge, event, broken);
  let bound = broken;
  while (bound !== "") {
    const victim = spec.strategy === "drop_newest" ? lastFree(edge) : firstFree(edge);
    if (victim === -1) return drop(edge, event, bound);
    evict(edge, victim, bound);
    bound = brokenBound(edge, spec, event);
  }
  push(edge, event, nowNs);
  // The evicted item's place in the ready queue serves the new one.
  return "replaced";
}

function push(edge: EdgeState, event: KernelEvent, sinceNs: number): void {
  ringPush(edge.queue, event);
  const x = edge.extras;
  if (x !== undefined && x.sinceNs !== null) ringPush(x.sinceNs, sinceNs);
  if (x !== undefined && event.body.type === "error" && x.control) x.controls += 1;
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
  if (edge.queue.size >= edge.queue.capacity) return drop(edge, event, "end_overrun");
  push(edge, event, nowNs);
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
  const sync = edge.extras?.sync;
  if (sync !== undefined && sync !== null && reason !== "coalesced" && reason !== "merged") noteLost(sync, event);
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
  for (let i = 0; i < edge.queue.size; i++) if (!isKept(edge, ringAt(edge.queue, i) as KernelEvent)) return i;
  return -1;
}

function lastFree(edge: EdgeState): number {
  for (let i = edge.queue.size - 1; i >= 0; i--) if (!isKept(edge, ringAt(edge.queue, i) as KernelEvent)) return i;
  return -1;
}

/** Takes the elder at `index` out and puts the event at the end, since order on an edge is by sequence (F-008). */
function replace(
  edge: EdgeState,
  spec: BufferSpec,
  event: KernelEvent,
  index: number,
  reason: "coalesced" | "latest_only",
  nowNs: MonoNs,
): boolean {
  const elder = ringAt(edge.queue, index);
  if (elder === undefined || brokenBound(edge, spec, event, elder) !== "") return false;
  removeAt(edge, index, elder);
  if (reason === "coalesced") edge.merged += 1;
  else edge.evicted += 1;
  note(edge, elder, reason);
  const x = edge.extras;
  push(edge, x === undefined || reason !== "coalesced" ? event : withLineage(x, elder, event), nowNs);
  return true;
}

/** Under pressure: a newer partial takes the elder's place; final text of one segment is joined, so that nothing is lost. */
function merge(edge: EdgeState, x: EdgeExtras, spec: BufferSpec, event: KernelEvent, nowNs: MonoNs): boolean {
  const { body } = event;
  if (body.type !== "text") return false;
  if (!body.final) return replace(edge, spec, event, elderPartial(edge, event), "coalesced", nowNs);
  const at = edge.queue.size - 1;
  const elder = ringAt(edge.queue, at);
  if (edge.waiting.size > 0 || elder?.body.type !== "text" || !elder.body.final) return false;
  if (elder.body.segment !== body.segment || elder.body.language !== body.language) return false;
  if (edge.bytes + bytesOf(event) > spec.maxBytes) return false;
  const spans = [...elder.body.spans, ...body.spans];
  const joined = { ...event, body: { ...body, spans, chars: elder.body.chars + body.chars } };
  note(edge, elder, "merged");
  ringSet(edge.queue, at, withLineage(x, elder, joined));
  edge.bytes += bytesOf(event);
  edge.accepted += 1;
  edge.merged += 1;
  return true;
}

/** The event with those it stands for; what a drop_notice tells of it is kept until that is sent. */
function withLineage(x: EdgeExtras, elder: KernelEvent, event: KernelEvent): KernelEvent {
  if (elder.merged === undefined) x.groups += 1;
  const group = elder.merged?.group ?? x.groups;
  const from = [...(elder.merged?.from ?? []), elder.seq].slice(0, MERGED_FROM_MAX);
  const count = (elder.merged?.count ?? 0) + 1;
  x.lineage = { group, into: event.seq, from, count };
  return { ...event, merged: { group, from, count } };
}

function evict(edge: EdgeState, index: number, reason: string): void {
  const victim = ringAt(edge.queue, index) as KernelEvent;
  removeAt(edge, index, victim);
  edge.evicted += 1;
  note(edge, victim, reason);
}

function removeAt(edge: EdgeState, index: number, event: KernelEvent): void {
  if (edge.extras !== undefined && edge.extras.sinceNs !== null) ringRemoveAt(edge.extras.sinceNs, index);
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
  const x = edge.extras;
  if (x !== undefined && x.sinceNs !== null) ringShift(x.sinceNs);
  if (x !== undefined && event.body.type === "error" && x.control) x.controls -= 1;
  return event;
}

/** Whether a watermark keeps events waiting whatever room there is. */
export function edgeIsHeld(edge: EdgeState, spec: BufferSpec): boolean {
  return edge.extras?.pressed === true && spec.watermark?.action === "block";
}

/** Moves waiting events into freed room; returns how many became ready: they are the last ones of the queue. */
export function edgeAdmitWaiting(edge: EdgeState, spec: BufferSpec): number {
  let moved = 0;
  const held = edgeIsHeld(edge, spec);
  for (let next = ringPeek(edge.waiting); next !== undefined; next = ringPeek(edge.waiting)) {
    if (!isUnbound(edge, next) && (held || brokenBound(edge, spec, next) !== "")) break;
    ringShift(edge.waiting);
    push(edge, next, ringShift(edge.waitingSinceNs) ?? 0);
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
    if (isUnbound(edge, event)) {
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

/** How near the edge is to the bound that will be met first: 1 for met. Waiting events do not count. */
export function edgeLevel(edge: EdgeState, spec: BufferSpec): number {
  const { credits } = spec;
  const sent = credits === undefined ? 0 : (edge.queue.size + (edge.extras?.owed ?? 0)) / credits;
  const { maxItems, maxBytes, maxQueueMs } = spec;
  return Math.max(sent, edge.queue.size / maxItems, edge.bytes / maxBytes, edge.queuedUs / (maxQueueMs * US_PER_MS));
}

/** Takes every member of a sync group out, queued or waiting, and drops those still to come. Returns how many went. */
export function edgeDropGroup(edge: EdgeState, id: number): number {
  const sync = edge.extras?.sync;
  if (sync === undefined || sync === null) return 0;
  if (sync.dropped.size >= sync.dropped.capacity) ringShift(sync.dropped);
  ringPush(sync.dropped, id);
  let gone = 0;
  for (let i = edge.queue.size - 1; i >= 0; i--) {
    if (syncIdOf(ringAt(edge.queue, i) as KernelEvent) !== id) continue;
    evict(edge, i, "sync_group");
    gone += 1;
  }
  for (let i = edge.waiting.size - 1; i >= 0; i--) {
    const event = ringAt(edge.waiting, i) as KernelEvent;
    if (syncIdOf(event) !== id) continue;
    ringRemoveAt(edge.waiting, i);
    ringRemoveAt(edge.waitingSinceNs, i);
    drop(edge, event, "sync_group");
    gone += 1;
  }
  return gone;
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
  if (edge.extras !== undefined) extrasClear(edge.extras);
  return discarded;
}
