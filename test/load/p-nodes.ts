/** P-nodes: what one event costs in a node of each kind (F-124: the overhead of WebAssembly beside the others). */
import { fileURLToPath } from "node:url";
import { createSystemClock } from "@rspp/host/system-clock";
import type { GraphDefinition } from "@rspp/kernel/graph";
import type { NodeBody, NodeHostPort, NodeInstance, NodeSink } from "@rspp/ports/node-host";
import { createRemoteNodes } from "@rspp/remote/node-host";
import { createWorkerHost } from "@rspp/runtime/nodes/worker-host";
import type { NodeServiceFigures } from "../integration/node-service.ts";
import { type Bench, type BenchResult, measure, quantile, type Row, row } from "./bench.ts";
import { Child } from "./children.ts";
import { BareShell, benchConfig, FRAME_US, filterChain } from "./graphs.ts";

const EVENTS = 2_000;
const ROUNDS = 7;
const WARM_ROUNDS = 2;
const KERNEL_FRAMES = 20_000;
const FRAME_BYTES = 640;

const packages = fileURLToPath(new URL("../../pipelines/nodes", import.meta.url));
const limits = { maxInFlight: 1, eventTimeoutMs: 5_000, hookTimeoutMs: 5_000, memoryMb: 64, cpuPercent: 100 };

/** One event at a time: asked, answered with one emission, done. */
class Asked {
  private readonly instance: NodeInstance;
  private command = 0;
  private emitted = 0;
  private closed = false;
  private done: () => void = () => undefined;
  private constructor(host: NodeHostPort, name: string, settings: Record<string, number>, ready: () => void) {
    const nothing = (): void => undefined;
    const failed = (reason: string): void => {
      if (!this.closed) throw new Error(`${name}: ${reason}`);
    };
    const sink: NodeSink = {
      ready,
      emitted: () => void this.emitted++,
      done: () => this.done(),
      failed: (_, reason) => failed(reason),
      cancelAcked: nothing,
      telemetry: nothing,
      hotState: nothing,
      stopped: failed,
    };
    const ids = { tenantId: "t", sessionId: "s", pipelineVersion: "p@1", epoch: 1, turn: 1, seed: "s", hotState: {} };
    this.instance = host.open(
      { instanceId: name, package: name, node: "own", settings, variables: {}, limits, ...ids },
      sink,
    );
  }

  static open(host: NodeHostPort, name: string, settings: Record<string, number> = {}): Promise<Asked> {
    return new Promise((resolve) => {
      const asked: Asked = new Asked(host, name, settings, () => setImmediate(() => resolve(asked)));
    });
  }

  event(): Promise<void> {
    const bytes = new Uint8Array(FRAME_BYTES).fill(1);
    const body: NodeBody = { type: "audio", bytes, codec: "pcm_s16le", rateHz: 16_000, channels: 1, ...TIMES };
    this.command += 1;
    return new Promise((resolve) => {
      this.done = resolve;
      this.instance.event(this.command, "audio", body, 0);
    });
  }

  /** @throws Error unless each event was answered with one emission. */
  close(): void {
    if (this.emitted !== this.command) throw new Error(`${this.emitted} emissions of ${this.command} events`);
    this.closed = true;
    this.instance.kill("done");
  }
}
const TIMES = { mediaUs: 0, durationUs: FRAME_US };

interface Cost {
  /** All threads of this process, and of the service where there is one. */
  readonly cpuUs: number;
  readonly wallUs: number;
}

async function costOf(asked: Asked, service: Child | null): Promise<Cost> {
  const before = service === null ? 0 : (await service.ask<NodeServiceFigures>()).cpuUs;
  const cpu = process.cpuUsage();
  const wall = performance.now();
  for (let i = 0; i < EVENTS; i++) await asked.event();
  const wallUs = ((performance.now() - wall) * 1_000) / EVENTS;
  const { user, system } = process.cpuUsage(cpu);
  const theirs = service === null ? 0 : (await service.ask<NodeServiceFigures>()).cpuUs - before;
  return { cpuUs: (user + system + theirs) / EVENTS, wallUs };
}

/** The graph of ingress and output alone. */
function bareChain(): GraphDefinition {
  const chain = filterChain();
  const [first] = chain.edges;
  const [from, to] = [chain.nodes[0], chain.nodes.at(-1)];
  if (first === undefined || from === undefined || to === undefined) throw new Error("the chain has edges and nodes");
  return { ...chain, nodes: [from, to], edges: [{ ...first, to: { node: to.id, port: "audio" } }] };
}

/** Of one built-in node that an audio frame goes through: a chain with five of them, less one without, by five. */
function builtIn(with5: BareShell, bare: BareShell): Cost {
  const frames = (shell: BareShell) =>
    measure(() => {
      for (let i = 0; i < KERNEL_FRAMES; i++) shell.frame();
    });
  const [more, less] = [frames(with5), frames(bare)];
  const each = (a: number, b: number): number => Math.max(0, a - b) / KERNEL_FRAMES / 5;
  return { cpuUs: each(more.processUs, less.processUs), wallUs: each(more.wallUs, less.wallUs) };
}

export const pNodes: Bench = {
  name: "P-nodes",
  title: "One event through a node of each kind",
  async run(): Promise<BenchResult> {
    const workers = await createWorkerHost({ dirs: [packages] });
    const service = new Child("../integration/node-service.ts", [], 1);
    const { port } = await service.next<{ port: number }>();
    const remote = await createRemoteNodes({ address: `127.0.0.1:${port}`, clock: createSystemClock() });
    const js = await Asked.open(workers, "gain@1.0.0", { factor: 2 });
    const wasm = await Asked.open(workers, "wasm-gain@1.0.0");
    const grpc = await Asked.open(remote, "echo@1.0.0");
    const shells = [filterChain(), bareChain()].map((graph) => new BareShell(benchConfig(graph), "step"));
    const [with5, bare] = shells;
    if (with5 === undefined || bare === undefined) throw new Error("two graphs");
    const subjects: [string, () => Promise<Cost> | Cost][] = [
      ["built-in", () => builtIn(with5, bare)],
      ["JavaScript worker", () => costOf(js, null)],
      ["WebAssembly", () => costOf(wasm, null)],
      ["external, gRPC", () => costOf(grpc, service)],
    ];
    const costs = new Map<string, Cost[]>(subjects.map(([name]) => [name, []]));
    for (let round = -WARM_ROUNDS; round < ROUNDS; round++) {
      for (const [name, run] of subjects) {
        const cost = await run();
        if (round >= 0) costs.get(name)?.push(cost);
      }
    }
    for (const asked of [js, wasm, grpc]) asked.close();
    await Promise.all([workers.close(), remote.close()]);
    await service.stop();
    return report(costs);
  },
};

function report(costs: ReadonlyMap<string, readonly Cost[]>): BenchResult {
  const of = (name: string, field: keyof Cost): number[] => (costs.get(name) ?? []).map((cost) => cost[field]);
  const js = quantile(of("JavaScript worker", "cpuUs"), 0.5);
  const rows = [...costs.keys()].flatMap((name): Row[] => [
    row(`${name}: asked until done`, "µs/event", of(name, "wallUs")),
    row(`${name}: CPU, all threads and processes`, "µs/event", of(name, "cpuUs")),
    row(
      `${name}: CPU, ratio to a JavaScript worker`,
      "×",
      of(name, "cpuUs").map((us) => us / js),
    ),
  ]);
  return {
    name: "P-nodes",
    title: pNodes.title,
    topology: "one process and, for gRPC, a service on the other core; one event of 20 ms of audio under way at a time",
    compared: "each other, interleaved round by round; the built-in one is a pass-through within a step of the kernel",
    rows,
    notes: [
      `${ROUNDS} rounds of ${EVENTS} events each (${KERNEL_FRAMES} frames of the built-in); worker and WebAssembly make the audio louder, gRPC says it again`,
      "what a custom node costs the kernel besides, command and answer of each event, is the same for all three kinds and not in here",
    ],
  };
}
