import type { SpoolStore, StoreFailure } from "./store.ts";

interface Segment {
  bytes: Uint8Array;
  size: number;
  synced: number;
}

export interface MemoryStore extends SpoolStore {
  /** The next append fails; `keep` of its bytes stay on the segment as a torn tail, 0 for none. */
  failNextAppend(code: StoreFailure["code"], keep: number): void;
  failNextSync(): void;
  setCapacity(bytes: number): void;
  /** What the medium holds after a crash: of the bytes not synced, each segment keeps what `keepOf` says. */
  crash(keepOf: (segment: string, unsyncedBytes: number) => number): void;
  flip(segment: string, offset: number, bit: number): void;
  size(segment: string): number;
  syncedBytes(segment: string): number;
}

/**
 * Segments in memory with faults on order.
 * @param options.defer when a sync completes; at once when absent.
 */
export function createMemoryStore(
  options: { capacityBytes?: number; defer?: (done: () => void) => void } = {},
): MemoryStore {
  return new SegmentsInMemory(options.capacityBytes ?? Number.POSITIVE_INFINITY, options.defer ?? ((done) => done()));
}

class SegmentsInMemory implements MemoryStore {
  private readonly segments = new Map<string, Segment>();
  private readonly defer: (done: () => void) => void;
  private capacity: number;
  private failure: { code: StoreFailure["code"]; keep: number } | null = null;
  private syncFails = false;

  constructor(capacity: number, defer: (done: () => void) => void) {
    this.capacity = capacity;
    this.defer = defer;
  }

  list(): string[] {
    return [...this.segments.keys()].sort();
  }

  read(name: string): Uint8Array {
    const segment = this.segmentOf(name);
    return segment.bytes.slice(0, segment.size);
  }

  readRange(name: string, offset: number, length: number): Uint8Array {
    const segment = this.segmentOf(name);
    return segment.bytes.slice(Math.min(offset, segment.size), Math.min(offset + length, segment.size));
  }

  append(name: string, bytes: Uint8Array): StoreFailure | null {
    if (this.failure !== null) {
      const { code, keep } = this.failure;
      this.failure = null;
      const kept = Math.min(keep, bytes.length);
      if (kept > 0) write(this.segmentOf(name), bytes.subarray(0, kept));
      return { code, detail: "failure on order", torn: kept > 0 };
    }
    if (bytes.length > this.freeBytes()) return { code: "no_space", detail: "the store is full", torn: false };
    write(this.segmentOf(name), bytes);
    return null;
  }

  sync(name: string, done: (failure: StoreFailure | null) => void): void {
    const segment = this.segmentOf(name);
    const upTo = segment.size;
    const fails = this.syncFails;
    this.syncFails = false;
    this.defer(() => {
      if (!fails) segment.synced = Math.max(segment.synced, Math.min(upTo, segment.size));
      done(fails ? { code: "io", detail: "failure on order", torn: false } : null);
    });
  }

  truncate(name: string, bytes: number): StoreFailure | null {
    const segment = this.segmentOf(name);
    segment.size = Math.min(segment.size, bytes);
    segment.synced = Math.min(segment.synced, bytes);
    return null;
  }

  remove(name: string): StoreFailure | null {
    this.segments.delete(name);
    return null;
  }

  freeBytes(): number {
    let used = 0;
    for (const segment of this.segments.values()) used += segment.size;
    return this.capacity - used;
  }

  close(): void {}

  failNextAppend(code: StoreFailure["code"], keep: number): void {
    this.failure = { code, keep };
  }

  failNextSync(): void {
    this.syncFails = true;
  }

  setCapacity(bytes: number): void {
    this.capacity = bytes;
  }

  crash(keepOf: (segment: string, unsyncedBytes: number) => number): void {
    for (const [name, segment] of this.segments) {
      const unsynced = segment.size - segment.synced;
      segment.size = segment.synced + Math.max(0, Math.min(unsynced, keepOf(name, unsynced)));
      segment.synced = segment.size;
    }
  }

  flip(name: string, offset: number, bit: number): void {
    const { bytes } = this.segmentOf(name);
    bytes[offset] = (bytes[offset] ?? 0) ^ (1 << bit);
  }

  size(name: string): number {
    return this.segments.get(name)?.size ?? 0;
  }

  syncedBytes(name: string): number {
    return this.segments.get(name)?.synced ?? 0;
  }

  private segmentOf(name: string): Segment {
    const found = this.segments.get(name) ?? { bytes: new Uint8Array(1_024), size: 0, synced: 0 };
    this.segments.set(name, found);
    return found;
  }
}

function write(segment: Segment, bytes: Uint8Array): void {
  const size = segment.size + bytes.length;
  if (size > segment.bytes.length) {
    const grown = new Uint8Array(Math.max(size, segment.bytes.length * 2));
    grown.set(segment.bytes.subarray(0, segment.size));
    segment.bytes = grown;
  }
  segment.bytes.set(bytes, segment.size);
  segment.size = size;
}
