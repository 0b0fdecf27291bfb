import type { MemoryStore } from "@rspp/runtime/spool/memory-store";
import type { SpoolStore, StoreFailure } from "@rspp/runtime/spool/store";
import type { SimProcess } from "./process.ts";

/** The store as one life of its process sees it: nothing that a dead one still had in hand reaches the disk. */
export function ofOneLife(store: MemoryStore, proc: SimProcess, full: () => boolean): SpoolStore {
  const { life } = proc;
  const gone: StoreFailure = { code: "io", detail: "the process is dead", torn: false };
  const noSpace: StoreFailure = { code: "no_space", detail: "the store is full", torn: false };
  const alive = (): boolean => proc.life === life;
  return {
    list: () => store.list(),
    read: (segment) => store.read(segment),
    readRange: (segment, offset, length) => store.readRange(segment, offset, length),
    append: (segment, bytes) => (!alive() ? gone : full() ? noSpace : store.append(segment, bytes)),
    sync: (segment, done) => (alive() ? store.sync(segment, done) : done(gone)),
    truncate: (segment, bytes) => (alive() ? store.truncate(segment, bytes) : gone),
    remove: (segment) => (alive() ? store.remove(segment) : gone),
    freeBytes: () => store.freeBytes(),
    close: () => store.close(),
  };
}
