/**
 * Media that the link machine has sent and the media connection has not taken yet. It waits here, not in the socket, so
 * that a fence still reaches it (kernel.md §6). What is dropped becomes a declared skip; the totals of what follows and the
 * sender's account are set back, as if it had never been sent, so that no credit is lost with it.
 */
import type { LinkEvent } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { DropReason, EventFrame, MediaLane, SkipFrame } from "@rspp/protocol/link-types";

export interface OutboxItem {
  readonly ref: number;
  readonly lane: MediaLane;
  readonly seq: number;
  toSeq: number;
  readonly turn: number | null;
  readonly generation: number;
  /** What it counted for credit; 0 for skips and telemetry. */
  readonly audioUs: number;
  readonly creditBytes: number;
  /** Estimate of its size on the wire. */
  readonly bytes: number;
  readonly kind: "event" | "skip";
  event: LinkEvent;
}

/** What dropping gave back to a session, and how many events it cost. */
export interface OutboxDrop {
  readonly ref: number;
  readonly lane: MediaLane;
  items: number;
  audioUs: number;
  bytes: number;
}

/** Encodes a skip; needs no binding. */
export type EncodeSkip = (skip: SkipFrame) => LinkEvent;

const overheadBytes = 48;

export function outboxItem<P>(frame: EventFrame<P> | SkipFrame, event: LinkEvent): OutboxItem {
  const { ref, lane, seq } = frame;
  if (frame.kind === "skip") {
    const { toSeq } = frame;
    const nothing = { turn: null, generation: 0, audioUs: 0, creditBytes: 0, bytes: overheadBytes };
    return { ref, lane, seq, toSeq, ...nothing, kind: "skip", event };
  }
  const data = lane === "data";
  return {
    ref,
    lane,
    seq,
    toSeq: seq,
    turn: frame.turn,
    generation: frame.generation,
    audioUs: data ? frame.audioUs : 0,
    creditBytes: data ? frame.bytes : 0,
    bytes: frame.bytes + overheadBytes,
    kind: "event",
    event,
  };
}

export class LinkOutbox {
  #items: OutboxItem[] = [];
  #head = 0;
  #bytes = 0;
  readonly #encodeSkip: EncodeSkip;

  constructor(encodeSkip: EncodeSkip) {
    this.#encodeSkip = encodeSkip;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  /** Estimate of the size on the wire of all that waits. */
  get bytes(): number {
    return this.#bytes;
  }

  push(item: OutboxItem): void {
    this.#items.push(item);
    this.#bytes += item.bytes;
  }

  /** The next batch: at least one item, unless nothing waits. */
  take(itemsMax: number, bytesMax: number): { events: LinkEvent[]; bytes: number } {
    const events: LinkEvent[] = [];
    let bytes = 0;
    while (this.#head < this.#items.length && events.length < itemsMax) {
      const item = this.#items[this.#head];
      if (item === undefined || (events.length > 0 && bytes + item.bytes > bytesMax)) break;
      this.#head++;
      bytes += item.bytes;
      events.push(item.event);
    }
    this.#bytes -= bytes;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return { events, bytes };
  }

  /** Forgets what waits of a session that is gone at the peer. */
  forget(ref: number): void {
    if (this.size > 0) this.#replace(this.#waiting().filter((item) => item.ref !== ref));
  }

  clear(): void {
    this.#replace([]);
  }

  /** Drops the oldest events until at most `bytesMax` wait. */
  dropOldest(bytesMax: number, reason: DropReason): OutboxDrop[] {
    let excess = this.#bytes - bytesMax;
    return this.drop(reason, (item) => {
      if (excess <= 0) return false;
      excess -= item.bytes - overheadBytes;
      return true;
    });
  }

  /** Turns the events that `matches` into skips, in order; neighbouring skips of a lane become one. */
  drop(reason: DropReason, matches: (item: OutboxItem) => boolean): OutboxDrop[] {
    if (this.size === 0) return [];
    const drops = new Map<string, OutboxDrop>();
    const lastSkips = new Map<string, OutboxItem>();
    const kept: OutboxItem[] = [];
    for (const item of this.#waiting()) {
      const key = `${item.ref} ${item.lane}`;
      if (item.kind === "event" && matches(item)) {
        const drop = drops.get(key) ?? { ref: item.ref, lane: item.lane, items: 0, audioUs: 0, bytes: 0 };
        drop.items++;
        drop.audioUs += item.audioUs;
        drop.bytes += item.creditBytes;
        drops.set(key, drop);
        this.#keepSkip(kept, lastSkips, key, item, reason);
        continue;
      }
      if (item.kind === "event") {
        lastSkips.delete(key);
        const before = drops.get(key);
        if (before !== undefined && item.lane === "data") {
          item.event.sentAudioUs -= before.audioUs;
          item.event.sentBytes -= before.bytes;
        }
      }
      kept.push(item);
    }
    if (drops.size > 0) this.#replace(kept);
    return [...drops.values()];
  }

  #keepSkip(
    kept: OutboxItem[],
    lastSkips: Map<string, OutboxItem>,
    key: string,
    item: OutboxItem,
    reason: DropReason,
  ): void {
    const { ref, lane, seq } = item;
    const last = lastSkips.get(key);
    if (last !== undefined && last.toSeq + 1 === seq) {
      last.toSeq = seq;
      last.event = this.#encodeSkip({ kind: "skip", ref, lane, seq: last.seq, toSeq: seq, reason });
      return;
    }
    const skip: SkipFrame = { kind: "skip", ref, lane, seq, toSeq: seq, reason };
    const made = outboxItem<never>(skip, this.#encodeSkip(skip));
    lastSkips.set(key, made);
    kept.push(made);
  }

  #waiting(): OutboxItem[] {
    return this.#head === 0 ? this.#items : this.#items.slice(this.#head);
  }

  #replace(items: OutboxItem[]): void {
    this.#items = items;
    this.#head = 0;
    this.#bytes = items.reduce((sum, item) => sum + item.bytes, 0);
  }
}
