/** What runs in the worker of one instance: the package's module behind the SDK's core. Nothing else shares its thread. */
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { defineNode, type NodeModule } from "@rspp/node-sdk/node-api";
import { NodeCore } from "@rspp/node-sdk/node-core";
import type { NodeOpen, NodeSink } from "@rspp/ports/node-host";
import type { FromWorker, ToWorker, WorkerData } from "./worker-protocol.ts";

const port = parentPort as MessagePort;
const { module: path, wasm, flags } = workerData as WorkerData;
const cancelled = new Int32Array(flags);
const slots = new Map<number, number>();
let core: NodeCore | null = null;

function say(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

/** CPU of this thread since the last answer: what one event took, as far as events do not overlap. */
let cpuBefore = process.threadCpuUsage();
function cpuUs(): number {
  const now = process.threadCpuUsage();
  const spent = now.user + now.system - cpuBefore.user - cpuBefore.system;
  cpuBefore = now;
  return spent;
}

const sink: NodeSink = {
  ready: () => say({ type: "ready" }),
  emitted(command, index, to, body) {
    if (body.type !== "audio" || !(body.bytes instanceof Uint8Array))
      return say({ type: "emitted", command, index, port: to, body });
    // Transferred, not copied; a copy where the node goes on to own a larger buffer.
    const { bytes } = body;
    const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
    const own = whole && bytes.buffer instanceof ArrayBuffer ? bytes : bytes.slice();
    say({ type: "emitted", command, index, port: to, body: { ...body, bytes: own } }, [own.buffer as ArrayBuffer]);
  },
  done: (command) => answered(command, { type: "done", command, cpuUs: cpuUs() }),
  failed: (command, reason) => answered(command, { type: "failed", command, reason, cpuUs: cpuUs() }),
  cancelAcked: (command) => answered(command, { type: "cancel_acked", command, cpuUs: cpuUs() }),
  telemetry: (told) => say({ type: "telemetry", told }),
  hotState: (key, json) => say({ type: "hot_state", key, json }),
  stopped(reason) {
    say({ type: "stopped", reason });
    port.close();
  },
};

function answered(command: number, message: FromWorker): void {
  slots.delete(command);
  say(message);
}

function open(module: NodeModule, request: NodeOpen): void {
  const clock = {
    nowNs: () => Math.round(performance.now() * 1e6),
    after(ms: number, act: () => void) {
      const timer = setTimeout(act, ms);
      return () => clearTimeout(timer);
    },
  };
  const peek = (command: number): boolean => {
    const slot = slots.get(command);
    return slot !== undefined && Atomics.load(cancelled, slot) === 1;
  };
  core = new NodeCore({ module, open: request, sink, clock, peek });
  void core.begin();
}

async function load(): Promise<NodeModule> {
  if (wasm === null) {
    const loaded: { node?: unknown } = await import(pathToFileURL(path).href);
    return defineNode(loaded.node as NodeModule);
  }
  const [{ wasmNode }, { readMemory }] = await Promise.all([import("./wasm-node.ts"), import("./wasm-binary.ts")]);
  const bytes = await readFile(path);
  const { initial: initialPages = 0, maximum: maximumPages = null } = readMemory(bytes).imported ?? {};
  const code = { module: await WebAssembly.compile(bytes), initialPages, maximumPages };
  return defineNode(wasmNode(wasm.descriptor, code, wasm.memoryMb));
}

const node = await load();
say({ type: "loaded" });

port.on("message", (message: ToWorker) => {
  switch (message.type) {
    case "open":
      return open(node, message.open);
    case "event":
      slots.set(message.command, message.slot);
      return core?.event(message.command, message.port, message.body, message.atNs);
    case "cancel":
      return core?.cancel(message.command, message.reason);
    case "hook":
      return core?.hook(message.hook);
    case "stop":
      return void core?.stop(message.reason);
  }
});
