import type { Fault } from "./fault-site.ts";

/** The runtime's spool store, and the store behind the replay service. */
export const storeFaults = {
  torn_write: (site) => {
    site.tell("torn_write");
    site.torn();
    site.runtime.store.failNextAppend("io", site.rng.int(1, 60));
  },
  append_failure: (site) => {
    site.tell("append_failure");
    site.runtime.store.failNextAppend(site.rng.chance(50) ? "io" : "no_space", 0);
  },
  sync_failure: (site) => {
    site.tell("sync_failure");
    site.runtime.store.failNextSync();
  },
  store_stall: (site) => {
    site.tell("store_stall");
    site.runtime.syncMs = site.rng.int(50, 900);
    site.undo(site.rng.int(300, 2_000), () => {
      site.runtime.syncMs = 1;
    });
  },
  store_full: (site) => {
    // Shorter than the shell goes on trying.
    site.tell("store_full");
    const { runtime } = site;
    runtime.store.setCapacity(0);
    runtime.storeFull = true;
    site.undo(site.rng.int(60, 800), () => {
      runtime.store.setCapacity(Number.POSITIVE_INFINITY);
      runtime.storeFull = false;
    });
  },
  /** The last bytes go in the instant in which a turn's plan is to be kept: its evidence cannot be accounted for (T9). */
  store_full_at_open: (site) => {
    const { runtime } = site;
    const never = (): boolean => false;
    runtime.fullAtPlan = () => {
      runtime.fullAtPlan = never;
      site.tell("store_full_at_open");
      return true;
    };
    site.undo(6_000, () => {
      runtime.fullAtPlan = never;
    });
  },
  export_stall: (site) => {
    site.tell("export_stall");
    site.world.replay.storeMs = site.rng.int(100, 2_000);
    site.undo(site.rng.int(300, 3_000), () => {
      site.world.replay.storeMs = 2;
    });
  },
} satisfies Record<string, Fault>;
