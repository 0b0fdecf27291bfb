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
  const segments = new Map<string, Segment>();
  const defer = options.defer ?? ((done: () => void) => done());
  let capacity = options.capacityBytes ?? Number.POSITIVE_INFINITY;
  let failure: { code: StoreFailure["code"]; keep: number } | null = null;
  let syncFails = false;

  const used = (): number => {
    let sum = 0;
    for (const segment of segments.values()) sum += segment.size;
    return sum;
  };
  const segmentOf = (name: string): Segment => {
    const found = segments.get(name) ?? { bytes: new Uint8Array(1_024), size: 0, synced: 0 };
    segments.set(name, found);
    return found;
  };
  const write = (segment: Segment, bytes: Uint8Array): void => {
    const size = segment.size + bytes.length;
    if (size > segment.bytes.length) {
      const grown = new Uint8Array(Math.max(size, segment.bytes.length * 2));
      grown.set(segment.bytes.subarray(0, segment.size));
      segment.bytes = grown;
    }
    segment.bytes.set(bytes, segment.size);
    segment.size = size;
  };

  return {
    list: () => [...segments.keys()].sort(),
    read(name) {
      const segment = segmentOf(name);
      return segment.bytes.slice(0, segment.size);
    },
    append(name, bytes) {
      if (failure !== null) {
        const { code, keep } = failure;
        failure = null;
        const kept = Math.min(keep, bytes.length);
        if (kept > 0) write(segmentOf(name), bytes.subarray(0, kept));
        return { code, detail: "failure on order", torn: kept > 0 };
      }
      if (used() + bytes.length > capacity) return { code: "no_space", detail: "the store is full", torn: false };
      write(segmentOf(name), bytes);
      return null;
    },
    sync(name, done) {
      const segment = segmentOf(name);
      const upTo = segment.size;
      const fails = syncFails;
      syncFails = false;
      defer(() => {
        if (!fails) segment.synced = Math.max(segment.synced, Math.min(upTo, segment.size));
        done(fails ? { code: "io", detail: "failure on order", torn: false } : null);
      });
    },
    truncate(name, bytes) {
      const segment = segmentOf(name);
      segment.size = Math.min(segment.size, bytes);
      segment.synced = Math.min(segment.synced, bytes);
      return null;
    },
    remove(name) {
      segments.delete(name);
      return null;
    },
    freeBytes: () => capacity - used(),
    close() {},
    failNextAppend(code, keep) {
      failure = { code, keep };
    },
    failNextSync() {
      syncFails = true;
    },
    setCapacity(bytes) {
      capacity = bytes;
    },
    crash(keepOf) {
      for (const [name, segment] of segments) {
        const unsynced = segment.size - segment.synced;
        segment.size = segment.synced + Math.max(0, Math.min(unsynced, keepOf(name, unsynced)));
        segment.synced = segment.size;
      }
    },
    flip(name, offset, bit) {
      const { bytes } = segmentOf(name);
      bytes[offset] = (bytes[offset] ?? 0) ^ (1 << bit);
    },
    size: (name) => segments.get(name)?.size ?? 0,
    syncedBytes: (name) => segments.get(name)?.synced ?? 0,
  };
}
