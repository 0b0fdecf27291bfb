import type { TimerHandle } from "@rspp/ports/clock";
import type { NodeBody, NodeHostPort, NodeInstance, NodeOpen, NodeSink } from "@rspp/ports/node-host";
import type { FaultKind } from "./fault-kinds.ts";
import { nodeCatalogue, nodePackages } from "./node-packages.ts";
import type { SimProcess } from "./process.ts";
import type { FaultDial } from "./providers.ts";
import { Rng } from "./rng.ts";
import type { LifeId, NodeStep, Trace } from "./trace.ts";

type Fault = "throw" | "hang" | "loop" | "late" | "exit";
const kinds: Record<Fault, FaultKind> = {
  throw: "custom_throw",
  hang: "custom_hang",
  loop: "custom_loop",
  late: "custom_late",
  exit: "custom_exit",
};

/** Of one instance; the dial of the providers decides whether there are faults at all. */
const faultShare = 1.5;
/** Of a node of the session, in one life: one that keeps dying is given up, and its caller is not heard any more. */
const sessionFaultsMax = 3;

export interface NodeHostOptions {
  proc: SimProcess;
  seed: string;
  dial: FaultDial;
  trace: Trace;
  /** Null for sessions that are of no interest. */
  lifeOf(sessionId: string): LifeId | null;
  /** An effect is about to leave the process. @returns false where it has died before it. */
  effect(): boolean;
  /** Faults so far, of the whole run: each has a name. */
  count(): number;
}

/** Foreign nodes of one life of a runtime process, as its shell sees them: slow, throwing, hanging, looping, gone. */
export class SimNodeHost implements NodeHostPort {
  readonly #options: NodeHostOptions;
  #sessionFaults = 0;

  constructor(options: NodeHostOptions) {
    this.#options = options;
  }

  describe = nodeCatalogue;
  packages = nodePackages;
  close = (): Promise<void> => Promise.resolve();

  open(request: NodeOpen, sink: NodeSink): NodeInstance {
    const { seed } = this.#options;
    const rng = new Rng(seed, `node/${request.instanceId}`);
    return new SimNode(this.#options, request, sink, rng, this.#drawn(request, rng));
  }

  #drawn({ turn }: NodeOpen, rng: Rng): Fault | null {
    const { dial, count } = this.#options;
    const faulty = rng.chance(dial.percent * faultShare);
    const fault = rng.pick(["throw", "hang", "loop", "late", "exit"] as const);
    if (!faulty || (turn === 0 && this.#sessionFaults >= sessionFaultsMax)) return null;
    if (turn === 0) this.#sessionFaults += 1;
    return dial.may(`n${count()}`, kinds[fault]) ? fault : null;
  }
}

/** Passes on what it is given, after a while, in order. */
class SimNode implements NodeInstance {
  readonly #options: NodeHostOptions;
  readonly #request: NodeOpen;
  readonly #sink: NodeSink;
  readonly #rng: Rng;
  readonly #life: LifeId | null;
  #fault: Fault | null;
  /** Events that go well before the fault. */
  #well: number;
  #stuck = false;
  #gone = false;
  #lastNs = 0;
  readonly #pending = new Map<number, TimerHandle | null>();

  constructor(options: NodeHostOptions, request: NodeOpen, sink: NodeSink, rng: Rng, fault: Fault | null) {
    this.#options = options;
    this.#request = request;
    this.#sink = sink;
    this.#rng = rng;
    this.#fault = fault;
    this.#well = rng.int(0, 2);
    this.#life = options.lifeOf(request.sessionId);
    this.#tell("opened", 0);
    const starts = rng.float(0.2, 6);
    options.proc.after(starts, () => {
      if (this.#gone) return;
      this.#tell("ready", 0);
      sink.ready();
    });
  }

  event(command: number, port: string, body: NodeBody): void {
    if (this.#gone || !this.#options.effect()) return;
    this.#tell("event", command);
    this.#pending.set(command, null);
    if (this.#stuck) return;
    this.#well -= 1;
    if (this.#fault !== null && this.#well < 0) return this.#fail(this.#fault, command, port, body);
    this.#answer(command, port, body, this.#rng.float(0.05, 1.5));
  }

  cancel(command: number): void {
    this.#tell("cancel", command);
    if (this.#gone || this.#fault === "loop" || !this.#pending.has(command)) return;
    this.#pending.get(command)?.clear();
    this.#stuck = false;
    this.#options.proc.after(0.3, () => {
      if (this.#gone || !this.#pending.delete(command)) return;
      this.#tell("acked", command);
      this.#sink.cancelAcked(command);
    });
  }

  hook(): void {}

  stop(): void {
    this.#tell("stop", 0);
    if (this.#gone || (this.#stuck && this.#fault === "loop")) return;
    this.#options.proc.after(0.5, () => this.#over("stopped"));
  }

  kill(): void {
    this.#tell("kill", 0);
    this.#over("killed");
  }

  #fail(fault: Fault, command: number, port: string, body: NodeBody): void {
    this.#options.dial.happened(kinds[fault]);
    switch (fault) {
      case "throw":
        this.#fault = null;
        return this.#after(command, 0.4, () => this.#sink.failed(command, "threw"));
      case "exit":
        this.#options.proc.after(0.2, () => this.#over("worker_exited"));
        return;
      case "late": {
        this.#fault = null;
        return this.#answer(command, port, body, this.#rng.int(20, this.#request.limits.eventTimeoutMs * 1.3));
      }
      case "hang":
        this.#fault = null;
        this.#stuck = true;
        return;
      case "loop":
        this.#stuck = true;
    }
  }

  #answer(command: number, port: string, body: NodeBody, ms: number): void {
    this.#after(command, ms, () => {
      if (body.type !== "end") this.#sink.emitted(command, 0, port, body);
      if (!this.#gone) this.#sink.done(command);
    });
  }

  /** One after the other, however long each of them takes. */
  #after(command: number, ms: number, run: () => void): void {
    const { proc } = this.#options;
    const now = proc.clock.nowNs();
    this.#lastNs = Math.max(this.#lastNs, now) + Math.round(ms * 1e6);
    const timer = proc.after((this.#lastNs - now) / 1e6, () => {
      if (this.#gone || !this.#pending.delete(command)) return;
      this.#tell("answered", command);
      run();
    });
    this.#pending.set(command, timer);
  }

  #over(reason: string): void {
    if (this.#gone) return;
    this.#gone = true;
    for (const timer of this.#pending.values()) timer?.clear();
    this.#pending.clear();
    this.#tell("gone", 0);
    this.#sink.stopped(reason);
  }

  #tell(what: NodeStep, command: number): void {
    if (this.#life === null) return;
    const { instanceId: instance, node, turn, limits } = this.#request;
    this.#options.trace.tell({ kind: "node", life: this.#life, instance, node, turn, what, command, limits });
  }
}
