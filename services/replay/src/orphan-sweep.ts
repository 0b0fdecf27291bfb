/**
 * Objects that no segment names: put just before a crash or a failed commit, or all of whose sessions were removed since.
 * An object is given up in the index first, so that a writer that comes as late as may be is refused and writes anew; only
 * then is it removed. Any number of processes may sweep, and end in the middle of it.
 */
import type { Log } from "@rspp/rpc/log";
import { limits } from "./limits.ts";
import { objectWallMs, type SegmentStores } from "./segment-writer.ts";

export interface SweepOptions extends SegmentStores {
  readonly log: Log;
  readonly wallMs: () => number;
}

export class OrphanSweep {
  readonly #options: SweepOptions;
  /** The last key that was looked at; keys are in order of their time. */
  #after = "";
  /** When all are looked at once more: segments may be removed long after their object was written. */
  #againWallMs = 0;

  constructor(options: SweepOptions) {
    this.#options = options;
  }

  /** Looks at the next {@link limits.SWEEP_OBJECTS} that are old enough. Rejects with a StoreError. */
  async step(): Promise<void> {
    const { objects, index, log, wallMs } = this.#options;
    const now = wallMs();
    if (now >= this.#againWallMs) {
      this.#after = "";
      this.#againWallMs = now + limits.SWEEP_ROUND_MS;
    }
    const found = await objects.list("timelines/", { after: this.#after, limit: limits.SWEEP_OBJECTS });
    const old = found.filter(({ key }) => (objectWallMs(key) ?? 0) < now - limits.ORPHAN_AGE_MS);
    // What this build has not written is not this build's to remove.
    const own = old.map(({ key }) => key).filter((key) => objectWallMs(key) !== null);
    const orphans = own.length === 0 ? [] : await index.giveUpObjects(own);
    for (const key of orphans) await objects.delete(key);
    if (orphans.length > 0) log.info({ objects: orphans.length }, "objects of no timeline removed");
    // Where many were given up, some are left: then these are looked at once more.
    else this.#after = old.at(-1)?.key ?? this.#after;
  }
}
