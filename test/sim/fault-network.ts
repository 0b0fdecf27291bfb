import type { Fault, FaultSite } from "./fault-site.ts";
import type { Harm, Path } from "./network.ts";

function pathsOf({ runtime }: FaultSite, way?: "toRuntime" | "toAdapter"): Path[] {
  const { toRuntime, toAdapter } = runtime.link.paths;
  if (way === "toRuntime") return [toRuntime.control, toRuntime.media];
  if (way === "toAdapter") return [toAdapter.control, toAdapter.media];
  return [toRuntime.control, toRuntime.media, toAdapter.control, toAdapter.media];
}

/** Undone by what was added, since faults overlap. */
function slower(site: FaultSite, paths: readonly Path[], delayMs: number, jitterMs: number, ms: number): void {
  for (const path of paths) {
    path.delayMs += delayMs;
    path.jitterMs += jitterMs;
  }
  site.undo(ms, () => {
    for (const path of paths) {
      path.delayMs -= delayMs;
      path.jitterMs -= jitterMs;
    }
  });
}

function held(site: FaultSite, paths: readonly Path[], ms: number): void {
  for (const path of paths) path.held += 1;
  site.undo(ms, () => {
    for (const path of paths) path.held -= 1;
    site.runtime.link.mended();
  });
}

/** Single media frames are lost, doubled or overtaken for a while. */
function harmed(site: FaultSite, percents: Pick<Harm, "lossPercent" | "doublePercent" | "reorderPercent">): void {
  const { toRuntime, toAdapter } = site.runtime.link.paths;
  const paths = [toRuntime.media, toAdapter.media].filter((path) => path.harm === null);
  const names = { loss: "frame_loss", duplication: "frame_duplication", reordering: "frame_reordering" } as const;
  const told = new Set<string>();
  const harm: Harm = {
    ...percents,
    happened: (what) => {
      if (!told.has(what)) site.tell(names[what]);
      told.add(what);
    },
  };
  for (const path of paths) path.harm = harm;
  site.undo(site.rng.int(200, 1_500), () => {
    for (const path of paths) path.harm = null;
  });
}

/** The link between adapter and runtime, and the control plane's calls. */
export const networkFaults = {
  pair_loss: (site) => {
    if (!site.runtime.link.up()) return;
    site.tell("pair_loss");
    site.runtime.link.lose();
  },
  delay: (site) => {
    site.tell("delay");
    slower(site, pathsOf(site), site.rng.int(20, 150), 0, site.rng.int(150, 2_000));
  },
  jitter: (site) => {
    site.tell("jitter");
    const { toRuntime, toAdapter } = site.runtime.link.paths;
    slower(site, [toRuntime.media, toAdapter.media], 0, site.rng.int(20, 120), site.rng.int(300, 3_000));
  },
  cross_reorder: (site) => {
    site.tell("cross_reorder");
    const { toRuntime, toAdapter } = site.runtime.link.paths;
    const media = site.rng.chance(60);
    const paths = media ? [toRuntime.media, toAdapter.media] : [toRuntime.control, toAdapter.control];
    slower(site, paths, site.rng.int(30, 120), site.rng.int(0, 60), site.rng.int(150, 2_000));
  },
  slow_link: (site) => {
    site.tell("slow_link");
    const { toRuntime, toAdapter } = site.runtime.link.paths;
    const bytesPerMs = site.rng.int(24, 60);
    toRuntime.media.bytesPerMs = bytesPerMs;
    toAdapter.media.bytesPerMs = bytesPerMs;
    site.undo(site.rng.int(150, 2_000), () => {
      toRuntime.media.bytesPerMs = 0;
      toAdapter.media.bytesPerMs = 0;
    });
  },
  partition: (site) => {
    site.tell("partition");
    held(site, pathsOf(site), site.rng.int(150, 900));
  },
  partition_one_way: (site) => {
    site.tell("partition_one_way");
    held(site, pathsOf(site, site.rng.pick(["toRuntime", "toAdapter"])), site.rng.int(150, 900));
  },
  transport_stall: (site) => {
    site.tell("transport_stall");
    const { toRuntime, toAdapter } = site.runtime.link.paths;
    held(site, [site.rng.chance(50) ? toRuntime.media : toAdapter.media], site.rng.int(100, 1_200));
  },
  frame_loss: (site) => harmed(site, { lossPercent: site.rng.int(1, 20), doublePercent: 0, reorderPercent: 0 }),
  frame_duplication: (site) => harmed(site, { lossPercent: 0, doublePercent: site.rng.int(5, 50), reorderPercent: 0 }),
  frame_reordering: (site) => harmed(site, { lossPercent: 0, doublePercent: 0, reorderPercent: site.rng.int(5, 30) }),
  rpc_loss: (site) => rpc(site, "lossPercent"),
  rpc_duplicate: (site) => rpc(site, "doublePercent"),
  lease_outage: (site) => {
    site.tell("lease_outage");
    site.world.holdControlPlane(true);
    site.undo(site.rng.int(200, 1_500), () => site.world.holdControlPlane(false));
  },
  /** The lease store is lost and comes back from a backup, some time old; its incarnation rises. */
  lease_restore: (site) => {
    const { world, rng } = site;
    world.lease.backUp();
    site.after(rng.int(0, 9_000), () => {
      site.tell("lease_restore");
      world.lease.restore();
    });
  },
} satisfies Record<string, Fault>;

/** Calls of the control plane are lost, or asked twice, for a while. */
function rpc(site: FaultSite, what: "lossPercent" | "doublePercent"): void {
  const { rpcHarm } = site.world;
  const kind = what === "lossPercent" ? "rpc_loss" : "rpc_duplicate";
  let told = false;
  rpcHarm[what] = site.rng.int(20, 80);
  rpcHarm.happened[what] = () => {
    if (!told) site.tell(kind);
    told = true;
  };
  site.undo(site.rng.int(500, 4_000), () => {
    rpcHarm[what] = 0;
  });
}
