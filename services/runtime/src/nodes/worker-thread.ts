/** One worker thread: imported module, bounded memory, and one way to be gone. */
import { Worker } from "node:worker_threads";
import { workerUrl } from "@rspp/host/worker-url";
import type { WorkerPackage } from "./worker-package.ts";
import { FLAG_SLOTS, type FromWorker, type ToWorker, type WorkerData } from "./worker-protocol.ts";

export interface ThreadUser {
  message(message: FromWorker): void;
  /** Once, where nobody ended it: `threw`, `out_of_memory` or `exited`. */
  dead(reason: string): void;
}

/** Of the limit that a package is given; the young generation comes on top. */
const YOUNG_MB = 8;
const STACK_MB = 4;
/** Of a module of WebAssembly, whose own memory is bounded by itself: for what is around it. */
const WASM_HEAP_MB = 64;

export class WorkerThread {
  private readonly worker: Worker;
  private readonly flags = new Int32Array(new SharedArrayBuffer(FLAG_SLOTS * 4));
  private user: ThreadUser | null = null;
  private death = "";
  private ended = false;
  private loaded = false;

  constructor({ module, wasm }: Pick<WorkerPackage, "module" | "wasm">, memoryMb: number, gone: () => void) {
    const data: WorkerData = {
      module,
      wasm: wasm === null ? null : { descriptor: wasm, memoryMb },
      flags: this.flags.buffer as SharedArrayBuffer,
    };
    this.worker = new Worker(workerUrl("worker-main", import.meta.url), {
      workerData: data,
      // Nothing of the runtime's environment, where its secrets are.
      env: {},
      resourceLimits: {
        maxOldGenerationSizeMb: Math.max(8, (wasm === null ? memoryMb : WASM_HEAP_MB) - YOUNG_MB),
        maxYoungGenerationSizeMb: YOUNG_MB,
        stackSizeMb: STACK_MB,
      },
    });
    this.worker.on("message", (message: FromWorker) => {
      this.loaded ||= message.type === "loaded";
      this.user?.message(message);
    });
    this.worker.on("error", (error: NodeJS.ErrnoException) =>
      this.die(error.code === "ERR_WORKER_OUT_OF_MEMORY" ? "out_of_memory" : "threw"),
    );
    this.worker.on("messageerror", () => this.die("bad_message"));
    this.worker.on("exit", () => {
      gone();
      this.die("exited");
    });
    // A thread that waits keeps no process alive.
    this.worker.unref();
  }

  use(user: ThreadUser): void {
    this.user = user;
    if (this.loaded) user.message({ type: "loaded" });
    if (this.death !== "") queueMicrotask(() => user.dead(this.death));
  }

  post(message: ToWorker, transfer: ArrayBuffer[]): void {
    if (!this.ended) this.worker.postMessage(message, transfer);
  }

  flag(slot: number, value: 0 | 1): void {
    Atomics.store(this.flags, slot, value);
  }

  async terminate(): Promise<void> {
    this.ended = true;
    await this.worker.terminate();
  }

  private die(reason: string): void {
    if (this.death !== "" || this.ended) return;
    this.death = reason;
    this.user?.dead(reason);
    void this.worker.terminate();
  }
}
