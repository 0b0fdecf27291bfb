/**
 * The stable API of nodes (F-011): what an author writes against. A node is declared by `defineNode` and lives in a package
 * of its own, whose `package.json` names it and its version. Nothing in here reads a clock: instants are given.
 */
import type { PortDefinition } from "@rspp/kernel/graph";
import type { NodeBody, NodeLimits, NodePackage, NodeSettingDefinition } from "@rspp/ports/node-host";

export type { NodeBody, NodeLimits, NodeSettingDefinition } from "@rspp/ports/node-host";

export type SettingValue = string | number | boolean | readonly string[];

export interface NodeDescriptor {
  /** Lower-case letters, digits and `-`; with the version it is what a spec names. */
  name: string;
  /** `major.minor.patch`. Another behaviour is another version (F-121). */
  version: string;
  /** `session`: one instance for the call, live audio and voice activity alone; `turn`: one per turn. */
  scope: "session" | "turn" | "either";
  inputs: readonly PortDefinition[];
  outputs: readonly PortDefinition[];
  description?: string;
  /** Absent: any settings. */
  settings?: readonly NodeSettingDefinition[];
  /** Defaults of limits that a spec may set. `maxInFlight` above 1: `onEvent` may be called before the last one is done. */
  limits?: Partial<NodeLimits>;
  /** `pure`: the same events and seed give the same emissions. Default `effectful`. */
  purity?: "pure" | "effectful";
  /** `cooperative`: it looks at its cancel token. Default `none`: it is ended when the grace is over. */
  cancel?: "cooperative" | "none";
  /** What it keeps between events (`kernel.md` §8). Default `none`. */
  state?: "none" | "turn" | "session_hot";
}

/** The ids that events, logs and spans of one turn carry (F-013). */
export interface NodeIds {
  tenantId: string;
  sessionId: string;
  /** 0 for session scope. */
  turn: number;
  node: string;
  pipelineVersion: string;
  epoch: number;
  instanceId: string;
}

/** Set from outside, at any time; a loop that never yields sees it too. */
export interface CancelToken {
  readonly cancelled: boolean;
  /** "" before the cancel. */
  readonly reason: string;
  /** @throws NodeCancelled once cancelled. */
  check(): void;
  /** Called once, at the cancel; at once where it has been. */
  onCancel(listener: (reason: string) => void): void;
}

/** Values are JSON; keys at most 64 characters. */
export interface StateStore {
  get(key: string): unknown;
  /** @throws TypeError for what JSON does not hold. */
  set(key: string, value: unknown): void;
  delete(key: string): void;
}

export interface StateHandle {
  /** Lives with the turn. @throws NodeStateRefused in a session-scoped node, or where `state` is not declared. */
  readonly turn: StateStore;
  /** Lives with the session, best effort: nothing correct may depend on it. @throws NodeStateRefused unless `session_hot`. */
  readonly session: StateStore;
}

export interface NodeContext {
  readonly ids: NodeIds;
  readonly settings: Readonly<Record<string, SettingValue>>;
  readonly variables: Readonly<Record<string, string | number | boolean>>;
  readonly limits: NodeLimits;
  readonly state: StateHandle;
  /** From 0 up to 1, from the instance's own seed: the same in every run with that seed. */
  random(): number;
  metric(name: string, value: number, unit?: string): void;
  /** Shown to who watches the session; service logs name level and ids only, since a text may hold what a caller said. */
  log(level: "debug" | "info" | "warn" | "error", text: string, fields?: Readonly<Record<string, string>>): void;
}

export interface NodeEvent {
  readonly port: string;
  readonly body: NodeBody;
  /** Monotonic instant of the event, nanoseconds, on the runtime's axis. */
  readonly atNs: number;
  readonly cancel: CancelToken;
  /** Milliseconds left of the event's budget. */
  budgetLeftMs(): number;
  /** False where it means nothing any more: after the event was done. */
  emit(port: string, body: NodeBody): boolean;
  /** Waits in the host's time (virtual in the test harness), or until the cancel. */
  sleep(ms: number): Promise<void>;
}

/** One instance. Each call has its time limit; what throws, or takes too long, ends in a named error (F-012). */
export interface NodeLogic {
  init?(): void | Promise<void>;
  start?(): void | Promise<void>;
  /** Its event is done when it returns, or its promise is settled. `end`: no more comes on that port in this turn. */
  onEvent(event: NodeEvent): void | Promise<void>;
  /** Besides the token, which is set first. */
  onCancel?(reason: string): void | Promise<void>;
  onBargeIn?(): void | Promise<void>;
  /** An event has used its budget up: what is emitted within the grace still counts. */
  onBudgetExhausted?(): void | Promise<void>;
  stop?(reason: string): void | Promise<void>;
}

export interface NodeModule extends NodeDescriptor {
  create(context: NodeContext): NodeLogic;
}

/** What a host tells of a package: the descriptor with where it runs and the digest of its code. */
export type DescribedPackage = NodePackage;

/** Thrown by `CancelToken.check`; an event that ends with it has acknowledged its cancel. */
export class NodeCancelled extends Error {
  constructor(reason: string) {
    super(`cancelled: ${reason}`);
    this.name = "NodeCancelled";
  }
}

export class NodeStateRefused extends Error {
  constructor(what: string) {
    super(what);
    this.name = "NodeStateRefused";
  }
}

const NAME = /^[a-z][a-z0-9-]{0,63}$/;
const VERSION = /^[0-9]+\.[0-9]+\.[0-9]+(-[a-z0-9.-]+)?$/;
const PORT = /^[a-z][a-z0-9_]{0,63}$/;

/** @throws TypeError that names the field and what it must be. */
export function defineNode(module: NodeModule): NodeModule {
  const bad = (field: string, what: string): never => {
    throw new TypeError(`defineNode: ${field} ${what}`);
  };
  if (!NAME.test(module.name)) bad("name", "must be lower-case letters, digits and -, starting with a letter");
  if (!VERSION.test(module.version)) bad("version", "must be major.minor.patch, e.g. 1.2.0");
  if (!["session", "turn", "either"].includes(module.scope)) bad("scope", "must be session, turn or either");
  if (typeof module.create !== "function") bad("create", "must be a function that makes an instance");
  for (const [side, ports] of [
    ["inputs", module.inputs],
    ["outputs", module.outputs],
  ] as const) {
    if (!Array.isArray(ports)) bad(side, "must be a list of {name, type}");
    const names = ports.map(({ name }) => name);
    for (const name of names)
      if (!PORT.test(name)) bad(`${side}.${name}`, "must be named by lower-case letters, digits and _");
    if (new Set(names).size !== names.length) bad(side, "must have unlike names");
  }
  if (module.inputs.length === 0) bad("inputs", "must have a port: a node is asked by its events");
  return module;
}
