import { asMonoNs, msToNs } from "@rspp/base/brand";
import { networkFaults } from "./fault-network.ts";
import { processFaults } from "./fault-process.ts";
import { sessionFaults } from "./fault-session.ts";
import type { Fault, FaultSite } from "./fault-site.ts";
import { storeFaults } from "./fault-store.ts";
import type { Rng } from "./rng.ts";
import type { RuntimeProcess } from "./runtime-process.ts";
import type { World } from "./world.ts";

const faults = { ...networkFaults, ...processFaults, ...sessionFaults, ...storeFaults } satisfies Record<string, Fault>;
type Kind = keyof typeof faults;

/** How often each is drawn; provider faults are drawn per invocation instead (`providers.ts`). */
const weights: Record<Kind, number> = {
  pair_loss: 8,
  delay: 5,
  jitter: 5,
  cross_reorder: 6,
  slow_link: 6,
  partition: 5,
  partition_one_way: 5,
  transport_stall: 6,
  frame_loss: 6,
  frame_duplication: 5,
  frame_reordering: 5,
  rpc_loss: 7,
  rpc_duplicate: 7,
  lease_outage: 5,
  lease_restore: 5,
  adapter_crash: 3,
  runtime_loop: 3,
  pause: 6,
  stale_holder: 7,
  suspend: 3,
  clock_jump: 4,
  crash: 6,
  crash_at_effect: 7,
  gateway_crash: 5,
  replay_crash: 5,
  migration: 5,
  transport_disconnect: 8,
  control_duplicate: 8,
  audio_duplicate: 5,
  codec_garbage: 6,
  revoke: 11,
  rotation: 9,
  overload: 8,
  capacity_refused: 6,
  snapshot_stale: 6,
  snapshot_change: 5,
  node_throw: 5,
  node_hang: 5,
  torn_write: 7,
  append_failure: 7,
  sync_failure: 5,
  store_stall: 5,
  store_full: 6,
  store_full_at_open: 6,
  export_stall: 5,
};
const faultPercent = 52;

/** Does harm by plan and undoes it. Each fault has a name, `f1` on, and draws of its own: one left out shifts no other. */
export class Faults {
  /** Torn tails ordered so far: the spool may find as many and no more. */
  torn = 0;
  readonly #world: World;
  readonly #rng: Rng;
  #drawn = 0;
  #harm: (() => void)[] = [];
  #healed = false;
  #heldUntilNs = 0;

  constructor(world: World) {
    this.#world = world;
    this.#rng = world.rng.fork("faults");
  }

  /** Before an action: often nothing. */
  between(done: () => void): void {
    const waitNs = this.#heldUntilNs - this.#world.clock.nowNs();
    if (waitNs > 0) return this.#after(waitNs / 1e6, () => this.between(done));
    if (!this.#rng.chance(faultPercent)) return done();
    this.#drawn += 1;
    const kind = this.#rng.weighted(weights);
    const name = `f${this.#drawn}`;
    const rng = this.#world.rng.fork(`fault/${name}`);
    // Half of them strike while what follows is under way.
    if (this.#rng.chance(50)) {
      this.#after(rng.int(50, 900), () => !this.#healed && this.#do(name, kind, rng));
      return done();
    }
    this.#do(name, kind, rng);
    this.#after(rng.int(0, 60), done);
  }

  /** All is mended at once, and nothing fails from here on. */
  heal(): void {
    this.#healed = true;
    this.#world.dial.percent = 0;
    const harm = this.#harm;
    this.#harm = [];
    for (const undo of harm) undo();
    for (const runtime of this.#world.runtimes) runtime.unruly = false;
  }

  #after(ms: number, run: () => void): void {
    this.#world.clock.timerAt(asMonoNs(this.#world.clock.nowNs() + msToNs(ms)), run);
  }

  #undo(ms: number, undo: () => void): void {
    if (this.#healed) return undo();
    let done = false;
    const once = (): void => {
      if (done) return;
      done = true;
      this.#harm = this.#harm.filter((h) => h !== once);
      undo();
    };
    this.#harm.push(once);
    this.#after(ms, once);
  }

  #do(name: string, kind: Kind, rng: Rng): void {
    const world = this.#world;
    const runtime = world.holder();
    if (runtime === null || runtime.session === null || !runtime.proc.up()) return;
    if (world.may(name, kind)) faults[kind](this.#site(runtime, rng));
  }

  #site(runtime: RuntimeProcess, rng: Rng): FaultSite {
    const world = this.#world;
    return {
      world,
      runtime,
      rng,
      tell: (kind) => world.fault(kind),
      after: (ms, run) => this.#after(ms, run),
      undo: (ms, undo) => this.#undo(ms, undo),
      hold: (ms) => {
        this.#heldUntilNs = Math.max(this.#heldUntilNs, world.clock.nowNs() + msToNs(ms));
      },
      torn: () => {
        this.torn += 1;
      },
    };
  }
}
