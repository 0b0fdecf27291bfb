/**
 * What an edge keeps beyond its queue, only where its BufferSpec asks for it (`kernel.md` §5; F-143 to F-147): a plain edge
 * has none of this and pays one check for it.
 */
import { type Ring, ringAt, ringCreate } from "@rspp/base/ring";
import type { KernelEvent } from "./event.ts";
import type { BufferSpec } from "./graph.ts";
import { SYNC_DROPPED_MAX, SYNC_LOST_MAX } from "./limits.ts";

export interface EdgeExtras {
  /** When each event of the queue was offered, in step with it; null where nobody asks. */
  sinceNs: Ring<number> | null;
  /** Longest wait, and deliveries, of the window being measured. */
  waitNs: number;
  waits: number;
  /** Events that `sample` has seen. */
  seen: number;
  /** When the latest partial was delivered; -1 before the first. */
  partialNs: number;
  /** When the queued partial may be delivered; 0 for none that waits. */
  dueNs: number;
  /** Control events (errors) are never dropped (F-147). */
  control: boolean;
  /** Of them, those in the queue: they take no room of data. */
  controls: number;
  /** Above the high mark and not yet below the low one. */
  pressed: boolean;
  /** Whether the action of the high mark was begun; of a turn, once. */
  acted: boolean;
  /** Events taken for which no credit was granted yet, and whether the first grant was told. */
  owed: number;
  granted: boolean;
  /** Merges not yet told: into which event, from which ones. */
  lineage: { group: number; into: number; from: number[]; count: number } | null;
  groups: number;
  sync: SyncState | null;
  telemetry: EdgeTelemetry | null;
}

export interface SyncState {
  /** Losses of this step that were not yet dealt with. */
  lost: { id: number; seq: number }[];
  /** Groups of which members that are still to come are dropped. */
  dropped: Ring<number>;
  /** Discontinuities not yet borne: each by the first event from this sequence on. At most one for each event of the edge. */
  marks: number[];
}

export interface EdgeTelemetry {
  queue: Ring<{ name: string; value: number; node: number; seq: number }>;
  seen: number;
  dropped: number;
  /** Sequence range of what was dropped and not yet told; 0 for none. */
  from: number;
  to: number;
}

function usesExtras(spec: BufferSpec): boolean {
  return (
    spec.maxLatencyMs !== undefined ||
    spec.strategy === "sample" ||
    spec.coalesceMs !== undefined ||
    spec.watermark !== undefined ||
    (spec.flow !== undefined && spec.flow !== "signal") ||
    spec.lanes !== undefined ||
    spec.preset !== undefined ||
    (spec.sync !== undefined && spec.sync.policy !== "no_sync")
  );
}

/** Undefined for an edge that needs none. `slots`: capacity of its queue. */
export function extrasCreate(spec: BufferSpec, slots: number): EdgeExtras | undefined {
  if (!usesExtras(spec)) return undefined;
  const timed = spec.maxLatencyMs !== undefined || spec.preset !== undefined;
  const synced = spec.sync !== undefined && spec.sync.policy !== "no_sync";
  const rule = spec.lanes?.telemetry;
  return {
    sinceNs: timed ? ringCreate(slots) : null,
    waitNs: 0,
    waits: 0,
    seen: 0,
    partialNs: -1,
    dueNs: 0,
    control: spec.lanes?.control !== undefined,
    controls: 0,
    pressed: false,
    acted: false,
    owed: 0,
    granted: false,
    lineage: null,
    groups: 0,
    sync: synced ? { lost: [], dropped: ringCreate(SYNC_DROPPED_MAX), marks: [] } : null,
    telemetry: rule === undefined ? null : { queue: ringCreate(rule.maxItems), seen: 0, dropped: 0, from: 0, to: 0 },
  };
}

/**
 * Which group of its domain an event belongs to; -1 for none. Caller audio and voice activity go by media time, text and
 * synthesised audio by the clause they speak.
 */
export function syncIdOf({ body }: KernelEvent): number {
  if (body.type === "audio") return body.segment >= 0 ? body.segment : body.mediaUs;
  if (body.type === "activity") return body.mediaUs;
  return body.type === "text" ? body.segment : -1;
}

export function noteLost(sync: SyncState, event: KernelEvent): void {
  const id = syncIdOf(event);
  if (id === -1 || sync.lost.length >= SYNC_LOST_MAX || sync.lost.some((known) => known.id === id)) return;
  sync.lost.push({ id, seq: event.seq });
}

/** Whether the event's group has been dropped before it came. */
export function isDropped(sync: SyncState, event: KernelEvent): boolean {
  const id = syncIdOf(event);
  if (id === -1 || sync.dropped.size === 0) return false;
  for (let i = 0; i < sync.dropped.size; i++) if (ringAt(sync.dropped, i) === id) return true;
  return false;
}

/** Nothing is queued any more; what was granted, dropped and counted stands. */
export function extrasClear(x: EdgeExtras): void {
  if (x.sinceNs !== null) x.sinceNs = ringCreate(x.sinceNs.capacity);
  x.controls = 0;
  x.pressed = false;
  x.dueNs = 0;
  x.lineage = null;
  if (x.sync !== null) x.sync.lost = [];
}
