/**
 * Foreign JavaScript nodes in killable workers (F-011, F-107, F-134). One worker thread per instance, never shared and never
 * used twice: a loop, a leak or a throw ends that instance alone, and no module state crosses turns or sessions. A thread takes
 * some 40 ms to start, so a spare or two per package wait with the module imported; what is opened takes one of those.
 *
 * A worker is no sandbox: the code may read files and open connections as this process may. Untrusted code belongs into
 * WebAssembly (F-124) or into a process of its own (F-122).
 */

import { HOST_START_MS } from "@rspp/kernel/limits";
import type {
  NodeBody,
  NodeHook,
  NodeHostPort,
  NodeInstance,
  NodeLimits,
  NodeOpen,
  NodePackage,
  NodeSink,
} from "@rspp/ports/node-host";
import { packageName } from "./node-hosts.ts";
import { CpuBudget } from "./worker-cpu.ts";
import { readPackages, type WorkerPackage } from "./worker-package.ts";
import { FLAG_SLOTS, type FromWorker, type ToWorker } from "./worker-protocol.ts";
import { WorkerThread } from "./worker-thread.ts";

export interface WorkerHostOptions {
  /** Package folders, or folders of package folders. */
  readonly dirs: readonly string[];
  /** Threads waiting per package and memory limit, with the module imported. Default 1. */
  readonly spares?: number;
  /** Threads at once; an instance beyond them is refused. Default 128. */
  readonly threadsMax?: number;
}

const SPARES = 1;
const THREADS_MAX = 128;

/** @throws Error that names the folder and the remedy. */
export async function createWorkerHost(options: WorkerHostOptions): Promise<NodeHostPort & { threads(): number }> {
  return new WorkerHost(await readPackages(options.dirs), options);
}

class WorkerHost implements NodeHostPort {
  private readonly byName: ReadonlyMap<string, WorkerPackage>;
  private readonly options: WorkerHostOptions;
  private readonly spares = new Map<string, WorkerThread[]>();
  private readonly live = new Set<WorkerThread>();
  private closed = false;

  constructor(packages: readonly WorkerPackage[], options: WorkerHostOptions) {
    this.options = options;
    this.byName = new Map(packages.map((one) => [packageName(one), one]));
  }

  describe(name: string): NodePackage | null {
    return this.byName.get(name) ?? null;
  }

  packages(): readonly NodePackage[] {
    return [...this.byName.values()];
  }

  threads(): number {
    return this.live.size;
  }

  prepare(name: string, { memoryMb }: NodeLimits): void {
    const found = this.byName.get(name);
    if (found !== undefined) this.refill(this.waitingFor(found, memoryMb), found, memoryMb);
  }

  open(request: NodeOpen, sink: NodeSink): NodeInstance {
    const found = this.byName.get(request.package);
    const thread = found === undefined || this.closed ? null : this.take(found, request.limits.memoryMb);
    if (thread === null) {
      queueMicrotask(() => sink.stopped(found === undefined ? "unknown_package" : "host_full"));
      return GONE;
    }
    return new WorkerInstance(thread, request, sink);
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([...this.live].map((thread) => thread.terminate()));
  }

  /** A waiting thread, or a new one; another is started in its place. */
  private take(of: WorkerPackage, memoryMb: number): WorkerThread | null {
    const waiting = this.waitingFor(of, memoryMb);
    const thread = waiting.shift() ?? this.start(of, memoryMb);
    setImmediate(() => this.refill(waiting, of, memoryMb));
    return thread;
  }

  private waitingFor(of: WorkerPackage, memoryMb: number): WorkerThread[] {
    const key = `${packageName(of)} ${memoryMb}`;
    const waiting = this.spares.get(key) ?? [];
    this.spares.set(key, waiting);
    return waiting;
  }

  private refill(waiting: WorkerThread[], of: WorkerPackage, memoryMb: number): void {
    while (!this.closed && waiting.length < (this.options.spares ?? SPARES)) {
      const spare = this.start(of, memoryMb);
      if (spare === null) return;
      waiting.push(spare);
      // One that dies while it waits is found out when it is taken: it says so then.
    }
  }

  private start(of: WorkerPackage, memoryMb: number): WorkerThread | null {
    if (this.live.size >= (this.options.threadsMax ?? THREADS_MAX)) return null;
    const thread = new WorkerThread(of, memoryMb, () => this.live.delete(thread));
    this.live.add(thread);
    return thread;
  }
}

const nothing = (): void => undefined;
const GONE: NodeInstance = { event: nothing, cancel: nothing, hook: nothing, stop: nothing, kill: nothing };

interface Waiting {
  command: number;
  port: string;
  body: NodeBody;
  atNs: number;
}

class WorkerInstance implements NodeInstance {
  private readonly thread: WorkerThread;
  private readonly sink: NodeSink;
  private readonly cpu: CpuBudget;
  private readonly hookMs: number;
  private readonly memoryMb: number;
  private readonly slots = new Map<number, number>();
  /** Held back: beyond the CPU share. Never more than may be in flight. */
  private readonly waiting: Waiting[] = [];
  private timer: NodeJS.Timeout | null = null;
  private throttle: NodeJS.Timeout | null = null;
  private stopping = false;
  private gone = false;

  constructor(thread: WorkerThread, request: NodeOpen, sink: NodeSink) {
    this.thread = thread;
    this.sink = sink;
    this.hookMs = request.limits.hookTimeoutMs;
    this.memoryMb = request.limits.memoryMb;
    this.cpu = new CpuBudget(request.limits.cpuPercent, () => performance.now());
    this.within(HOST_START_MS, "start_timeout");
    thread.use({
      message: (message) => this.heard(message),
      dead: (reason) => this.dead(reason),
    });
    this.say({ type: "open", open: request });
  }

  event(command: number, port: string, body: NodeBody, atNs: number): void {
    if (this.gone) return;
    const wait = this.cpu.waitMs();
    if (wait <= 0 && this.waiting.length === 0) return this.give({ command, port, body, atNs });
    this.waiting.push({ command, port, body, atNs });
    if (this.throttle !== null) return;
    this.sink.telemetry({ kind: "limit", limit: "cpu", value: Math.ceil(wait) });
    this.throttle = setTimeout(() => this.goOn(), wait);
  }

  cancel(command: number, reason: string): void {
    const at = this.waiting.findIndex((one) => one.command === command);
    if (at !== -1) {
      this.waiting.splice(at, 1);
      return this.sink.cancelAcked(command);
    }
    const slot = this.slots.get(command);
    if (slot === undefined) return;
    this.thread.flag(slot, 1);
    this.say({ type: "cancel", command, reason });
  }

  hook(hook: NodeHook): void {
    this.say({ type: "hook", hook });
  }

  stop(reason: string): void {
    if (this.gone || this.stopping) return;
    this.stopping = true;
    this.within(this.hookMs, "stop_timeout");
    this.say({ type: "stop", reason });
  }

  kill(): void {
    this.finish();
    void this.thread.terminate();
  }

  private heard(message: FromWorker): void {
    if (this.gone) return;
    switch (message.type) {
      case "loaded":
        // `create`, `init` and `start` from here on.
        return this.within(2 * this.hookMs, "init_timeout");
      case "ready":
        this.clear();
        return this.sink.ready();
      case "emitted":
        return this.sink.emitted(message.command, message.index, message.port, message.body);
      case "done":
        this.answered(message.command, message.cpuUs);
        return this.sink.done(message.command);
      case "failed":
        this.answered(message.command, message.cpuUs);
        return this.sink.failed(message.command, message.reason);
      case "cancel_acked":
        this.answered(message.command, message.cpuUs);
        return this.sink.cancelAcked(message.command);
      case "telemetry":
        return this.sink.telemetry(message.told);
      case "hot_state":
        return this.sink.hotState(message.key, message.json);
      case "stopped":
        this.finish();
        this.sink.stopped(message.reason);
        return void this.thread.terminate();
    }
  }

  private dead(reason: string): void {
    if (this.gone) return;
    this.finish();
    if (reason === "out_of_memory") this.sink.telemetry({ kind: "limit", limit: "memory", value: this.memoryMb });
    this.sink.stopped(reason);
  }

  private give({ command, port, body, atNs }: Waiting): void {
    let slot = 0;
    for (const used = new Set(this.slots.values()); used.has(slot); ) slot += 1;
    this.slots.set(command, slot % FLAG_SLOTS);
    this.thread.flag(slot % FLAG_SLOTS, 0);
    const transfer = body.type === "audio" ? [body.bytes.buffer as ArrayBuffer] : [];
    this.say({ type: "event", command, slot: slot % FLAG_SLOTS, port, body, atNs }, transfer);
  }

  private answered(command: number, cpuUs: number): void {
    this.slots.delete(command);
    this.cpu.spend(cpuUs);
  }

  private goOn(): void {
    this.throttle = null;
    const next = this.waiting.shift();
    if (this.gone || next === undefined) return;
    this.give(next);
    if (this.waiting.length > 0) this.throttle = setTimeout(() => this.goOn(), Math.max(1, this.cpu.waitMs()));
  }

  /** F-012: a hook that takes longer ends the instance, by name. */
  private within(ms: number, reason: string): void {
    this.clear();
    this.timer = setTimeout(() => {
      if (this.gone) return;
      this.finish();
      this.sink.stopped(reason);
      void this.thread.terminate();
    }, ms);
  }

  private clear(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private finish(): void {
    this.gone = true;
    this.clear();
    if (this.throttle !== null) clearTimeout(this.throttle);
    this.waiting.length = 0;
  }

  private say(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    if (!this.gone) this.thread.post(message, transfer);
  }
}
