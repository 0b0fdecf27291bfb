import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { GraphDefinition } from "@rspp/kernel/graph";
import type { SessionPolicy } from "@rspp/kernel/session-config";
import type { ExportBatch, ExportServerOutput } from "@rspp/protocol/export-types";
import type { FloorAnswer, SignedGrant } from "@rspp/protocol/lease-types";
import type { ProviderGateway } from "@rspp/provider-gateway/gateway";
import { createVirtualClock, type VirtualClock } from "@rspp/runtime/clock/virtual-clock";
import { AdapterProcess } from "./adapter-process.ts";
import { drawGraph } from "./graphs.ts";
import type { Rpc } from "./holder.ts";
import { LeaseProcess, Receiver } from "./lease-process.ts";
import type { Life } from "./life.ts";
import { LinkPair } from "./link-pair.ts";
import { Channel, newPath, type Path } from "./network.ts";
import { SimProcess } from "./process.ts";
import { createGateway, type FaultDial } from "./providers.ts";
import { ReplayProcess } from "./replay-process.ts";
import { Rng } from "./rng.ts";
import { RuntimeProcess } from "./runtime-process.ts";
import { Trace } from "./trace.ts";

export const SESSION = "session-1";
/** Of every session here. */
export const TENANT = "tenant-a";

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
  readonly gateway: { proc: SimProcess; service: ProviderGateway };
  readonly gatewayPath: Path;
  readonly dial: FaultDial;
  readonly lives: Life[] = [];
  /** How this seed's session is set. */
  readonly policy: Partial<SessionPolicy>;
  readonly level: "L0" | "L1";
  /** The assistant, or in one seed of four a random graph of text nodes. */
  readonly graph: GraphDefinition;
  readonly #controlPath: Path;
  readonly #channels = new Map<string, Channel>();

  constructor(seed: number, keepLines: boolean) {
    this.seed = seed;
    this.rng = new Rng(`sim/${seed}`, "world");
    this.clock = createVirtualClock({ wallOriginMs: 1_750_000_000_000 });
    this.trace = new Trace(() => this.clock.nowNs(), keepLines);
    this.policy = {
      secondProposal: this.rng.pick(["queue", "queue", "preempt", "drop"] as const),
      holdOnCandidate: this.rng.chance(70),
      speculation: this.rng.chance(30),
      finalWaitMs: 400,
    };
    this.level = this.rng.chance(10) ? "L1" : "L0";
    this.graph = drawGraph(this.rng, this.rng.fork("graph"), this.policy.speculation ? 60 : 0);
    this.#controlPath = newPath(this.rng.float(0.3, 3), this.rng.float(0, 3));
    this.gatewayPath = newPath(this.rng.float(0.2, 3), this.rng.float(0, 2));
    this.dial = { percent: 0, happened: (name) => this.fault(name) };
    const proc = (name: string): SimProcess => new SimProcess(name, this.clock);
    const gatewayProc = proc("gateway");
    this.gateway = { proc: gatewayProc, service: createGateway(gatewayProc.clock, `sim/${seed}`, this.dial) };
    this.lease = new LeaseProcess(proc("lease"));
    this.replay = new ReplayProcess(proc("replay"), new Receiver("replay", this.lease, this.trace));
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
      );
      runtime.link = link;
      this.adapter.links.set(name, link);
      runtime.boot();
    }
  }

  fault(name: string): void {
    this.trace.add({ kind: "fault", name });
  }

  /** The runtime that the adapter believes in. */
  holder(): RuntimeProcess | null {
    return this.runtimes.find((runtime) => runtime.proc.name === this.adapter.holder) ?? null;
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

  rpcFrom(from: SimProcess): Rpc {
    return (to, ask, answer) => {
      const life = from.life;
      this.#channel(from, to).send(100, () => {
        const value = ask();
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
    this.#channel(from, this.replay.proc).send(200, () =>
      this.replay.receive(
        batch,
        epoch,
        signed,
        (output) => back.send(60, () => answer(output)),
        (floor) => back.send(60, () => stale(floor)),
      ),
    );
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
