import type { Fault, FaultSite } from "./fault-site.ts";

/** Longer than a lease's term: whoever comes back must not believe that he still holds it. */
const suspendMs = { least: 61_500, most: 70_000 };

function standsStill({ world, runtime }: FaultSite): void {
  runtime.proc.pause();
  world.trace.add({ kind: "process", proc: runtime.proc.name, up: false });
}

function goesOn({ world, runtime }: FaultSite): void {
  world.trace.add({ kind: "process", proc: runtime.proc.name, up: true });
  runtime.proc.resume();
}

/** What the disk keeps of what was not synced: all of it, or a part, whose last record is then torn. */
function keepOf(site: FaultSite): (unsynced: number) => number {
  return (unsynced) => {
    const keep = site.rng.chance(50) ? unsynced : site.rng.int(0, unsynced);
    if (keep < unsynced) site.torn();
    return keep;
  };
}

function restartLater(site: FaultSite): void {
  const { world, runtime, rng } = site;
  site.after(rng.int(100, 500), () => world.failover(runtime));
  site.undo(rng.int(150, 1_500), () => {
    runtime.proc.restart();
    runtime.boot();
  });
}

/** Processes and their clocks. */
export const processFaults = {
  pause: (site) => {
    site.tell("pause");
    standsStill(site);
    site.runtime.unruly = site.rng.chance(70);
    site.undo(site.rng.int(20, 400), () => goesOn(site));
  },
  stale_holder: (site) => {
    site.tell("stale_holder");
    standsStill(site);
    site.runtime.unruly = site.rng.chance(70);
    // A holder that is away for so long is given up; it comes back not knowing.
    site.after(site.rng.int(250, 500), () => site.world.failover(site.runtime));
    site.undo(site.rng.int(700, 1_600), () => goesOn(site));
  },
  suspend: (site) => {
    site.tell("suspend");
    const ms = site.rng.int(suspendMs.least, suspendMs.most);
    standsStill(site);
    site.runtime.unruly = site.rng.chance(50);
    // Half of the time nobody noticed: its own clock alone tells it that the lease is gone.
    if (site.rng.chance(50)) site.after(site.rng.int(300, 5_000), () => site.world.failover(site.runtime));
    else site.after(ms + site.rng.int(200, 800), () => site.world.ensureHeld());
    site.hold(ms + 1_500);
    site.undo(ms, () => goesOn(site));
  },
  clock_jump: (site) => {
    site.tell("clock_jump");
    const { proc } = site.rng.chance(70) ? site.runtime : site.world.adapter;
    const ms = site.rng.int(-3_600_000, 3_600_000);
    proc.wallShiftMs += ms;
    site.undo(site.rng.int(200, 5_000), () => {
      proc.wallShiftMs -= ms;
    });
  },
  crash: (site) => {
    site.tell("crash");
    site.runtime.crash(keepOf(site));
    restartLater(site);
  },
  crash_at_effect: (site) => {
    const keep = keepOf(site);
    site.runtime.crashAfter(site.rng.int(1, 60), () => {
      site.tell("crash_at_effect");
      site.runtime.crash(keep);
      restartLater(site);
    });
    site.undo(4_000, () => site.runtime.crashAfter(0, () => {}));
  },
  /** Its loop stands still for good: the watchdog beside it ends the process. */
  runtime_loop: (site) => {
    const { world, runtime, rng } = site;
    site.tell("runtime_loop");
    standsStill(site);
    site.after(rng.int(250, 3_000), () => world.failover(runtime));
    const keep = keepOf(site);
    site.undo(rng.int(10_000, 10_300), () => {
      if (runtime.proc.dead()) return;
      runtime.crash(keep);
      world.trace.add({ kind: "process", proc: runtime.proc.name, up: true });
      runtime.proc.restart();
      runtime.boot();
    });
  },
  /** The call is over with it: the session ends by itself, and whoever comes back calls anew. */
  adapter_crash: (site) => {
    const { world, rng } = site;
    site.tell("adapter_crash");
    world.adapter.crash();
    site.undo(rng.int(50, 3_000), () => world.adapter.restart(rng.int(1, 200)));
  },
  gateway_crash: (site) => {
    site.tell("gateway_crash");
    site.world.gateway.crash();
    site.undo(site.rng.int(20, 600), () => site.world.gateway.restart());
  },
  replay_crash: (site) => {
    const { world, rng } = site;
    const crash = (): void => {
      site.tell("replay_crash");
      world.replay.crash();
      site.undo(rng.int(50, 1_500), () => world.replay.restart());
    };
    if (rng.chance(40)) return crash();
    // While its store is still at what was sent to it.
    world.replay.storeMs = 1_000;
    site.undo(900, () => {
      world.replay.storeMs = 2;
    });
    site.after(rng.int(50, 800), () => !world.replay.proc.dead() && crash());
  },
  migration: (site) => {
    const to = site.world.other(site.runtime);
    if (!to.proc.up() || to.session !== null) return;
    site.tell("migration");
    to.takeOver();
  },
} satisfies Record<string, Fault>;
