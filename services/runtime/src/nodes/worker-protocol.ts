/** Messages between a worker host and the worker of one instance. */
import type { NodeDescriptor } from "@rspp/node-sdk/node-api";
import type { NodeBody, NodeHook, NodeOpen, NodeTelemetry } from "@rspp/ports/node-host";

export interface WorkerData {
  /** Absolute path of the package's module. */
  readonly module: string;
  /** Where the module is WebAssembly: what its package declares, and the most memory it may have. */
  readonly wasm: { readonly descriptor: NodeDescriptor; readonly memoryMb: number } | null;
  /** One flag per event in flight: set before the cancel message, for a loop that never looks at its messages. */
  readonly flags: SharedArrayBuffer;
}

export type ToWorker =
  | { type: "open"; open: NodeOpen }
  | { type: "event"; command: number; slot: number; port: string; body: NodeBody; atNs: number }
  | { type: "cancel"; command: number; reason: string }
  | { type: "hook"; hook: NodeHook }
  | { type: "stop"; reason: string };

export type FromWorker =
  /** The module is imported; an instance may be opened. */
  | { type: "loaded" }
  | { type: "ready" }
  | { type: "emitted"; command: number; index: number; port: string; body: NodeBody }
  | { type: "done"; command: number; cpuUs: number }
  | { type: "failed"; command: number; reason: string; cpuUs: number }
  | { type: "cancel_acked"; command: number; cpuUs: number }
  | { type: "telemetry"; told: NodeTelemetry }
  | { type: "hot_state"; key: string; json: string | null }
  | { type: "stopped"; reason: string };

export const FLAG_SLOTS = 64;
