import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { GraphDefinition } from "@rspp/kernel/graph";
import type { SessionPolicy } from "@rspp/kernel/session-config";
import type { ExportBatch, ExportServerOutput } from "@rspp/protocol/export-types";
import type { FloorAnswer, SignedGrant } from "@rspp/protocol/lease-types";
import { createVirtualClock, type VirtualClock } from "@rspp/runtime/clock/virtual-clock";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { AdapterProcess } from "./adapter-process.ts";
import { drawGraph } from "./graphs.ts";
import type { Rpc } from "./holder.ts";
import { LeaseProcess, Receiver } from "./lease-process.ts";
import type { Life } from "./life.ts";
import { LinkPair } from "./link-pair.ts";
import { Channel, newPath, type Path } from "./network.ts";
import { SimProcess } from "./process.ts";
import { type FaultDial, GatewayProcess } from "./providers.ts";
import { ReplayProcess } from "./replay-process.ts";
import { Rng } from "./rng.ts";
import { RuntimeProcess } from "./runtime-process.ts";
import { Trace } from "./trace.ts";
import { Voices } from "./voices.ts";

export const SESSION = "session-1";
/** Of every session here. */
export const TENANT = "tenant-a";

/** Faults that a repeated run leaves out, and how long its caller goes on. */
export interface RunOptions {
  /** Tells the story. Default false. */
  keepLines?: boolean;
  /** Only these faults strike, by name. Default all. */
  only?: ReadonlySet<string> | null;
  /** The caller does no more than so many things. Default as many as it likes. */
  actionsMax?: number;
  /** What sessions record; default drawn. */
  level?: "L1" | "L2";
  /** Sees the world once the run is over, e.g. for what was recorded. */
  onEnd?: (world: World) => void;
}

/** A fault that was drawn, whether it was allowed to strike or not. */
export interface Injected {
  name: string;
  kind: string;
  atNs: number;
}

const skewedPercent = 40;
const skewPpmMax = 3_000;
const registryMs = 1_000;

/** Everything of one run: five processes and a network, under one clock, from one seed. */
export class World {
  readonly seed: number;
  readonly rng: Rng;
  readonly clock: VirtualClock;
  readonly trace: Trace;
  readonly lease: LeaseProcess;
  readonly replay: ReplayProcess;
  readonly adapter: AdapterProcess;
  readonly runtimes: readonly [RuntimeProcess, RuntimeProcess];
  readonly gateway: GatewayProcess;
  readonly gatewayPath: Path;
  readonly dial: FaultDial;
  readonly lives: Life[] = [];
  readonly voices: Voices;
  /** How this seed's session is set. */
  readonly policy: Partial<SessionPolicy>;
  readonly level: "L0" | "L1" | "L2";
  readonly graph: GraphDefinition;
  /** What the graph was compiled from with; null for the assistant and for graphs made by hand. */
  readonly pipeline: CompiledPipeline | null;
  /** Every fault drawn so far, in order. */
  readonly injected: Injected[] = [];
  /** What becomes of the control plane's calls, percent of them. */
  readonly rpcHarm = {
    lossPercent: 0,
    doublePercent: 0,
    happened: { lossPercent: (): void => {}, doublePercent: (): void => {} },
  };
  readonly options: RunOptions;
  /** Whether every process has a clock of its own. */
  skewed = false;
  readonly #rpcRng: Rng;
  readonly #controlPath: Path;
  readonly #channels = new Map<string, Channel>();

  constructor(seed: number, options: RunOptions) {
    this.seed = seed;
    this.options = options;
    this.rng = new Rng(`sim/${seed}`, "world");
    this.clock = createVirtualClock({ wallOriginMs: 1_750_000_000_000 });
    this.trace = new Trace(() => this.clock.nowNs(), options.keepLines === true);
    this.voices = new Voices(this.trace);
    this.#rpcRng = this.rng.fork("rpc");
    this.policy = {
      secondProposal: this.rng.pick(["queue", "queue", "preempt", "drop"] as const),
      holdOnCandidate: this.rng.chance(70),
      speculation: this.rng.chance(30),
      finalWaitMs: 400,
    };
    const drawnLevel = this.rng.chance(10) ? "L1" : "L0";
    this.level = options.level ?? drawnLevel;
    const drawn = drawGraph(this.rng, this.rng.fork("graph"), this.policy.speculation ? 60 : 0, this.policy);
    this.graph = drawn.graph;
    this.pipeline = drawn.pipeline;
    this.#controlPath = newPath(this.rng.float(0.3, 3), this.rng.float(0, 3));
    this.gatewayPath = newPath(this.rng.float(0.2, 3), this.rng.float(0, 2));
    this.dial = { percent: 0, may: (name, kind) => this.may(name, kind), happened: (kind) => this.fault(kind) };
    const proc = this.#processes();
    this.gateway = new GatewayProcess(proc("gateway"), `sim/${seed}`, this.dial);
    this.lease = new LeaseProcess(proc("lease"), this.trace);
    this.replay = new ReplayProcess(proc("replay"), () => new Receiver("replay", this.lease, this.trace));
    this.adapter = new AdapterProcess(this, proc("adapter"), new Receiver("adapter", this.lease, this.trace));
    this.runtimes = [new RuntimeProcess(this, proc("rtA")), new RuntimeProcess(this, proc("rtB"))];
    for (const runtime of this.runtimes) {
      const { name } = runtime.proc;
      const link = new LinkPair(
        this.clock,
        this.rng.fork(`link/${name}`),
        this.adapter.proc,
        runtime.proc,
        (output) => this.adapter.onLink(name, output),
        (output) => runtime.onLink(output),
        (event) => this.trace.tell(event),
      );
      runtime.link = link;
      this.adapter.links.set(name, link);
      runtime.boot();
    }
  }

  #nodeFaults = 0;

  /** The next fault of a foreign node: its number, of the whole run. */
  nodeFault(): number {
    this.#nodeFaults += 1;
    return this.#nodeFaults;
  }

  fault(kind: string): void {
    this.trace.add({ kind: "fault", name: kind });
  }

  /** Every fault asks before it strikes; those that a repeated run leaves out are told no. */
  may(name: string, kind: string): boolean {
    this.injected.push({ name, kind, atNs: this.clock.nowNs() });
    const { only } = this.options;
    return only === undefined || only === null || only.has(name);
  }

  /** In some runs every process has a clock of its own, a little fast or slow, and begun at some time. */
  #processes(): (name: string) => SimProcess {
    const rng = this.rng.fork("clocks");
    const skewed = rng.chance(skewedPercent) && this.may("skew", "clock_skew");
    this.skewed = skewed;
    return (name) => {
      const proc = new SimProcess(name, this.clock);
      if (skewed) proc.skew(rng.int(-skewPpmMax, skewPpmMax), rng.int(0, 1_000_000) * 1_000_000);
      return proc;
    };
  }

  /** The runtime that the adapter believes in. */
  holder(): RuntimeProcess | null {
    return this.runtimes.find((runtime) => runtime.proc.name === this.adapter.holder) ?? null;
  }

  /** Whoever had the session when the adapter died, for as long as it keeps it. */
  abandoned(): RuntimeProcess | null {
    const runtime = this.runtimes.find(({ proc }) => proc.name === this.adapter.lostHolder) ?? null;
    return runtime?.session !== null && runtime?.life?.over === false && !runtime.proc.dead() ? runtime : null;
  }

  other(runtime: RuntimeProcess): RuntimeProcess {
    return this.runtimes[0] === runtime ? this.runtimes[1] : this.runtimes[0];
  }

  /** Has another runtime take the session up; whoever lives, as soon as one does. */
  failover(from: RuntimeProcess): void {
    const other = this.other(from);
    const target = other.proc.up() ? other : from.proc.up() ? from : null;
    if (target !== null) return target.takeOver();
    this.clock.timerAt(asMonoNs(this.clock.nowNs() + msToNs(100)), () => this.failover(from));
  }

  /** What a registry does: a session that nobody holds any more is given to somebody. */
  ensureHeld(): void {
    const held = this.holder();
    const lives = held?.proc.up() === true && held.session !== null && held.life?.over === false;
    if (!lives) this.failover(held ?? this.runtimes[0]);
  }

  /** Looks every second; a session that was without a holder at two looks is given away. One that stands still is not seen. */
  watchHeld(missedBefore = false): void {
    const held = this.holder() ?? this.abandoned();
    const still = held !== null && !held.proc.up() && !held.proc.dead();
    const lives = still || (held?.session !== null && held?.life?.over === false && !held.proc.dead());
    if (!lives && missedBefore) this.failover(held ?? this.runtimes[0]);
    this.clock.timerAt(asMonoNs(this.clock.nowNs() + msToNs(registryMs)), () =>
      this.watchHeld(!lives && !missedBefore),
    );
  }

  #harmed(what: "lossPercent" | "doublePercent"): boolean {
    const percent = this.rpcHarm[what];
    if (percent === 0 || !this.#rpcRng.chance(percent)) return false;
    this.rpcHarm.happened[what]();
    return true;
  }

  rpcFrom(from: SimProcess): Rpc {
    return (to, ask, answer) => {
      const life = from.life;
      if (this.#harmed("lossPercent")) return;
      this.#channel(from, to).send(100, () => {
        // Asked again by whoever got no answer: the first one's effect stands, the second one's answer is taken.
        if (this.#harmed("doublePercent")) ask();
        const value = ask();
        if (this.#harmed("lossPercent")) return;
        this.#channel(to, from).send(100, () => {
          if (from.life === life) answer(value);
        });
      });
    };
  }

  announce(
    runtime: RuntimeProcess,
    receiver: string,
    signed: SignedGrant,
    answer: (answer: FloorAnswer) => void,
  ): void {
    const to = receiver === "adapter" ? this.adapter.proc : this.replay.proc;
    const floor = (): FloorAnswer =>
      receiver === "adapter" ? this.adapter.floor(signed) : this.replay.receiver.floor(signed);
    this.rpcFrom(runtime.proc)(to, floor, answer);
  }

  /** A receiver tells a stale holder of its floor. */
  stale(from: SimProcess, runtimeName: string, receiver: string, floor: number): void {
    const runtime = this.runtimes.find((r) => r.proc.name === runtimeName);
    if (runtime === undefined) return;
    this.#channel(from, runtime.proc).send(60, () => runtime.stale(receiver, floor));
  }

  toReplay(
    from: SimProcess,
    epoch: number,
    signed: SignedGrant | null,
    batch: ExportBatch,
    answer: (output: ExportServerOutput) => void,
    stale: (floor: number) => void,
  ): void {
    const back = this.#channel(this.replay.proc, from);
    const reply = (run: () => void): void => {
      if (!this.#harmed("lossPercent")) back.send(60, run);
    };
    const deliver = (): void =>
      this.replay.receive(
        batch,
        epoch,
        signed,
        (output) => reply(() => answer(output)),
        (floor) => reply(() => stale(floor)),
      );
    if (this.#harmed("lossPercent")) return;
    this.#channel(from, this.replay.proc).send(200, deliver);
    if (this.#harmed("doublePercent")) this.#channel(from, this.replay.proc).send(200, deliver);
  }

  /** Holds or mends the control plane's network. */
  holdControlPlane(held: boolean): void {
    this.#controlPath.held += held ? 1 : -1;
    if (this.#controlPath.held === 0) for (const channel of this.#channels.values()) channel.mended();
  }

  #channel(from: SimProcess, to: SimProcess): Channel {
    const key = `${from.name}>${to.name}`;
    const known = this.#channels.get(key);
    if (known !== undefined) return known;
    const made = new Channel(this.clock, this.rng.fork(key), this.#controlPath, to);
    this.#channels.set(key, made);
    return made;
  }
}
