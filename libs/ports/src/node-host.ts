/**
 * Where nodes that do not ship with RSPP run: a worker, another process or a WebAssembly instance, always killable, never
 * on the runtime's thread (`kernel.md` §1; F-011, F-122, F-124). The runtime knows them by this port only.
 */
import type { PortDefinition } from "@rspp/kernel/graph";

/** What a node package declares of itself; pinned by `name@version` apart from the spec that uses it (F-121). */
export interface NodePackage {
  name: string;
  version: string;
  host: "worker" | "grpc" | "wasm";
  scope: "session" | "turn" | "either";
  inputs: readonly PortDefinition[];
  outputs: readonly PortDefinition[];
  /** SHA-256 of the code, or of the descriptor an external node answered with; part of the plan. */
  digest: string;
  description?: string;
  /** Settings its nodes take; checked when a spec is compiled. Absent: any. */
  settings?: readonly NodeSettingDefinition[];
  /** Its own defaults of the limits a spec may set. */
  limits?: Partial<NodeLimits>;
  /** `pure`: the same events and seed give the same emissions; `effectful`: it reaches outside. */
  purity?: "pure" | "effectful";
  /** `cooperative`: it looks at its cancel token; `none`: it is ended after the grace. */
  cancel?: "cooperative" | "none";
  /** What its instances keep (`kernel.md` §8). Session-hot state is best effort and never durable. */
  state?: "none" | "turn" | "session_hot";
}

export interface NodeSettingDefinition {
  name: string;
  type: "text" | "number" | "flag" | "texts";
  required?: true;
  default?: string | number | boolean | readonly string[];
  /** Of a number: its bounds; of a text: those of its length in UTF-16 code units. */
  min?: number;
  max?: number;
  /** Of a text: the values it may have. */
  oneOf?: readonly string[];
  description?: string;
}

export interface NodeLimits {
  /** Events in flight per instance. Default 1. */
  maxInFlight: number;
  /** Milliseconds one event may take. */
  eventTimeoutMs: number;
  /** Milliseconds `init`, `start`, `stop` and the other hooks may take, each. */
  hookTimeoutMs: number;
  /** Megabytes the host may take for it. */
  memoryMb: number;
  /** Share of one core, percent: beyond it the host holds events back (throttles) and says so. Default 100. */
  cpuPercent: number;
}

export interface NodeOpen {
  /** Unique in the runtime process. */
  instanceId: string;
  /** `name@version`. */
  package: string;
  node: string;
  settings: Readonly<Record<string, string | number | boolean | readonly string[]>>;
  variables: Readonly<Record<string, string | number | boolean>>;
  tenantId: string;
  sessionId: string;
  pipelineVersion: string;
  epoch: number;
  /** 0 for session scope. */
  turn: number;
  /** Seed of the node's own random stream: from session seed, epoch and node. */
  seed: string;
  limits: NodeLimits;
  /** Session-hot state that earlier instances of this node left in this session: JSON texts by key. */
  hotState: Readonly<Record<string, string>>;
  /** Text headers of the call, e.g. `traceparent`. */
  headers?: Readonly<Record<string, string>>;
}

/** Payloads by value: a foreign node never sees a handle. */
export type NodeBody =
  | {
      type: "audio";
      bytes: Uint8Array;
      codec: string;
      rateHz: number;
      channels: number;
      mediaUs: number;
      durationUs: number;
    }
  | {
      type: "text";
      text: string;
      segment: number;
      revision: number;
      final: boolean;
      confidence: number;
      language: string;
    }
  | { type: "activity"; speech: boolean; probability: number; mediaUs: number; durationUs: number }
  | { type: "messages"; messages: readonly { role: "system" | "user" | "assistant"; text: string }[] }
  | { type: "metrics"; name: string; value: number; unit: string }
  /** No more events on this port in this turn. */
  | { type: "end" };

export type NodeHook = "barge_in" | "budget_exhausted";

/** What a node or its host says besides its emissions: never journaled, no part of what a replay sees. */
export type NodeTelemetry =
  | { kind: "metric"; name: string; value: number; unit: string }
  | { kind: "log"; level: "debug" | "info" | "warn" | "error"; text: string; fields: Readonly<Record<string, string>> }
  /** The host held it to a limit (F-107): `cpu` throttled for so many milliseconds, `memory` at so many megabytes. */
  | { kind: "limit"; limit: "cpu" | "memory"; value: number };

/** One instance; nothing here blocks or throws. What was asked after `stop` is ignored. */
export interface NodeInstance {
  event(command: number, port: string, body: NodeBody, monoNs: number): void;
  /** Asks the work of one command to stop: the node's cancel token is set; `cancelAcked` or `done` follows. */
  cancel(command: number, reason: string): void;
  hook(hook: NodeHook): void;
  /** Orderly: the stop hook runs within its time limit. `stopped` follows. */
  stop(reason: string): void;
  /** Without asking: worker or call is ended at once. `stopped` follows. */
  kill(reason: string): void;
}

/** Reasons are short static names, e.g. `init_timeout`, `threw`, `out_of_memory`; never payload text. */
export interface NodeSink {
  /** init and start went through. */
  ready(): void;
  /** `index` counts the emissions of a command from 0. */
  emitted(command: number, index: number, port: string, body: NodeBody): void;
  done(command: number): void;
  failed(command: number, reason: string): void;
  cancelAcked(command: number): void;
  telemetry(told: NodeTelemetry): void;
  /** Session-hot state, kept by the session for the node's next instance; null removes the key. */
  hotState(key: string, json: string | null): void;
  /** The last call for this instance; `stopped` where it was asked to stop and did so in order, else why it is gone. */
  stopped(reason: string): void;
}

export interface NodeHostPort {
  /** The package as installed here; null for one this process does not have. `name@version`. */
  describe(packageName: string): NodePackage | null;
  packages(): readonly NodePackage[];
  /** Told when a session opens whose graph has the package, so that its first instance need not wait for a cold start. */
  prepare?(packageName: string, limits: NodeLimits): void;
  open(request: NodeOpen, sink: NodeSink): NodeInstance;
  close(): Promise<void>;
}
