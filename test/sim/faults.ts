import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { Path } from "./network.ts";
import type { Rng } from "./rng.ts";
import type { RuntimeProcess } from "./runtime-process.ts";
import type { World } from "./world.ts";

/** Weights of what the controller does; provider faults are drawn per invocation instead (`providers.ts`). */
const weights = {
  pair_loss: 10,
  delay: 8,
  cross_reorder: 8,
  slow_link: 8,
  partition: 6,
  pause: 8,
  stale_holder: 7,
  crash: 7,
  rotation: 10,
  transport_disconnect: 8,
  overload: 8,
  revoke: 11,
  capacity: 8,
  snapshot: 8,
  torn_write: 8,
  append_failure: 8,
  store_full: 6,
  lease_outage: 5,
} as const;
type Kind = keyof typeof weights;

/** Every kind that is counted, with those that happen inside providers and batches. */
export const FAULT_KINDS = [
  "pair_loss",
  "delay",
  "cross_reorder",
  "slow_link",
  "partition",
  "pause",
  "stale_holder",
  "crash",
  "lease_rotation",
  "stale_holder_sending",
  "provider_timeout",
  "provider_error",
  "provider_disconnect",
  "late_provider_data",
  "transport_disconnect",
  "overload_batch",
  "overload_sessions",
  "revoke",
  "capacity_refused",
  "snapshot_stale",
  "torn_write",
  "append_failure",
  "store_full",
  "lease_outage",
] as const;

/** Does harm by plan, one at a time, and undoes it. */
export class Faults {
  /** Torn tails ordered so far: the spool may find as many and no more. */
  torn = 0;
  readonly #world: World;
  readonly #rng: Rng;
  #harm: (() => void)[] = [];
  #healed = false;

  constructor(world: World) {
    this.#world = world;
    this.#rng = world.rng.fork("faults");
  }

  /** Before an action: often nothing. */
  between(done: () => void): void {
    if (!this.#rng.chance(42)) return done();
    const kind = this.#rng.weighted(weights);
    // Half of them strike while what follows is under way.
    if (this.#rng.chance(50)) {
      this.#after(this.#rng.int(50, 900), () => !this.#healed && this.#do(kind));
      return done();
    }
    this.#do(kind);
    this.#after(this.#rng.int(0, 60), done);
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

  /** Undone after `ms`, or by `heal`, once. */
  #undo(ms: number, undo: () => void): void {
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

  #do(kind: Kind): void {
    const world = this.#world;
    const runtime = world.holder();
    if (runtime === null || runtime.session === null || !runtime.proc.up()) return;
    switch (kind) {
      case "pair_loss":
        if (!runtime.link.up()) return;
        world.fault(kind);
        return runtime.link.lose();
      case "delay":
      case "cross_reorder":
      case "slow_link":
      case "partition":
        return this.#network(kind, runtime);
      case "pause":
      case "stale_holder":
        return this.#pause(kind, runtime);
      case "crash":
        return this.#crash(runtime);
      case "rotation":
        return runtime.holder?.rotate(0);
      case "transport_disconnect":
        if (!world.adapter.leave(this.#rng.chance(50) ? "lose" : "disconnect")) return;
        world.fault(kind);
        return this.#undo(this.#rng.int(50, 1_500), () => world.adapter.comeBack());
      case "revoke":
        return this.#revoke(runtime);
      case "lease_outage":
        world.fault(kind);
        world.holdControlPlane(true);
        return this.#undo(this.#rng.int(200, 1_500), () => world.holdControlPlane(false));
      default:
        return this.#inputs(kind, runtime);
    }
  }

  #network(kind: "delay" | "cross_reorder" | "slow_link" | "partition", runtime: RuntimeProcess): void {
    const rng = this.#rng;
    const { control, media } = runtime.link.paths;
    this.#world.fault(kind);
    // Undone by what was added, since faults overlap.
    const add = (path: Path, delayMs: number, jitterMs: number): (() => void) => {
      path.delayMs += delayMs;
      path.jitterMs += jitterMs;
      return () => {
        path.delayMs -= delayMs;
        path.jitterMs -= jitterMs;
      };
    };
    const undos: (() => void)[] = [];
    if (kind === "delay") undos.push(add(control, rng.int(20, 150), 0), add(media, rng.int(20, 150), 0));
    else if (kind === "cross_reorder")
      undos.push(add(rng.chance(60) ? media : control, rng.int(30, 120), rng.int(0, 60)));
    else if (kind === "slow_link") {
      media.bytesPerMs = rng.int(24, 60);
      undos.push(() => {
        media.bytesPerMs = 0;
      });
    } else {
      control.held += 1;
      media.held += 1;
      undos.push(() => {
        control.held -= 1;
        media.held -= 1;
      });
    }
    this.#undo(rng.int(150, kind === "partition" ? 900 : 2_000), () => {
      for (const undo of undos) undo();
      if (media.held === 0) runtime.link.mended();
    });
  }

  #pause(kind: "pause" | "stale_holder", runtime: RuntimeProcess): void {
    const world = this.#world;
    world.fault(kind);
    runtime.proc.pause();
    world.trace.add({ kind: "process", proc: runtime.proc.name, up: false });
    runtime.unruly = this.#rng.chance(70);
    const ms = kind === "pause" ? this.#rng.int(20, 400) : this.#rng.int(700, 1_600);
    // A holder that is away for so long is given up; it comes back not knowing.
    if (kind === "stale_holder") this.#after(this.#rng.int(250, 500), () => world.failover(runtime));
    this.#undo(ms, () => {
      world.trace.add({ kind: "process", proc: runtime.proc.name, up: true });
      runtime.proc.resume();
    });
  }

  #crash(runtime: RuntimeProcess): void {
    const world = this.#world;
    world.fault("crash");
    runtime.crash((unsynced) => {
      const keep = this.#rng.chance(50) ? unsynced : this.#rng.int(0, unsynced);
      if (keep < unsynced) this.torn += 1;
      return keep;
    });
    this.#after(this.#rng.int(100, 500), () => world.failover(runtime));
    this.#undo(this.#rng.int(150, 1_500), () => {
      runtime.proc.restart();
      runtime.boot();
    });
  }

  #revoke(runtime: RuntimeProcess): void {
    const world = this.#world;
    const epoch = runtime.holder?.state.epoch ?? 0;
    const revoked = world.lease.revoke("session-1");
    if (!revoked.ok) return;
    world.fault("revoke");
    // Told to the holder and to the receivers, each in its own time.
    this.#after(this.#rng.int(1, 20), () => runtime.proc.post(() => runtime.holder?.step({ kind: "revoked", epoch })));
    this.#after(this.#rng.int(1, 30), () => world.adapter.floor(revoked.value.signed));
    this.#after(this.#rng.int(1, 30), () => world.replay.receiver.floor(revoked.value.signed));
    this.#after(this.#rng.int(150, 400), () => world.failover(runtime));
  }

  #inputs(
    kind: "overload" | "capacity" | "snapshot" | "torn_write" | "append_failure" | "store_full",
    runtime: RuntimeProcess,
  ): void {
    const world = this.#world;
    const { session } = runtime;
    if (session === null) return;
    const rng = this.#rng;
    switch (kind) {
      case "overload":
        if (rng.chance(50)) {
          world.fault("overload_sessions");
          return runtime.openExtras(rng.int(3, 6));
        }
        for (let n = rng.int(30, 200); n > 0; n--) session.operator("cancel_turn", { turn: 1_000_000 + n });
        return;
      case "capacity": {
        const outcome = rng.chance(50) ? "defer" : "reject";
        const quota = session.config.recording.evidenceQuotaBytes;
        world.fault("capacity_refused");
        session.update({ type: "capacity", admit: false, outcome, reason: "no_capacity", evidenceQuotaBytes: quota });
        session.say("is there room");
        return this.#undo(rng.int(100, 900), () =>
          session.update({ type: "capacity", admit: true, outcome: "defer", reason: "", evidenceQuotaBytes: quota }),
        );
      }
      case "snapshot": {
        const refs = session.config.snapshots;
        world.fault("snapshot_stale");
        session.update({ type: "snapshot", refs, usable: false, reason: "too_stale" });
        session.say("what do we know");
        return this.#undo(rng.int(100, 900), () =>
          session.update({ type: "snapshot", refs, usable: true, reason: "" }),
        );
      }
      case "torn_write":
        world.fault(kind);
        this.torn += 1;
        return runtime.store.failNextAppend("io", rng.int(1, 60));
      case "store_full":
        // Shorter than the shell goes on trying.
        world.fault(kind);
        runtime.store.setCapacity(0);
        runtime.storeFull = true;
        return this.#undo(rng.int(60, 800), () => {
          runtime.store.setCapacity(Number.POSITIVE_INFINITY);
          runtime.storeFull = false;
        });
      case "append_failure":
        world.fault(kind);
        return runtime.store.failNextAppend(rng.chance(50) ? "io" : "no_space", 0);
    }
  }
}
