/**
 * The kernel's effects on custom nodes, carried out through their host (`kernel.md` §1): payloads by value out, emissions as
 * inputs back. What comes from an instance that the kernel has given up is refused here and counted there.
 */
import type { Effect } from "@rspp/kernel/effect";
import type { CustomLimits, NodeDefinition } from "@rspp/kernel/graph";
import type { InputBody } from "@rspp/kernel/input";
import { HOST_START_MS } from "@rspp/kernel/limits";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { Clock } from "@rspp/ports/clock";
import type { NodeBody, NodeHostPort, NodeInstance, NodeSink, NodeTelemetry } from "@rspp/ports/node-host";
import { describeFailure } from "@rspp/rpc/log";
import { limits } from "../limits.ts";
import type { Logger } from "../logger.ts";
import type { PayloadStore } from "../payload-store.ts";
import { fromNode, toNode } from "./node-bodies.ts";

export interface NodeRunnerHost {
  readonly config: SessionConfig;
  readonly clock: Clock;
  readonly payloads: PayloadStore;
  readonly nodes: NodeHostPort | null;
  readonly logger: Logger;
  submit(body: InputBody): void;
  fail(reason: string): void;
  readonly measures: NodeMeasures;
}

export interface NodeMeasures {
  /** For who watches the session (F-026) and for the registry of metrics. */
  nodeTold(node: string, turn: number, told: NodeTelemetry): void;
  hostAnswered(node: string, ns: number): void;
  /** `traceparent` of the turn, or of the session; null where nobody follows. */
  traceparent(turn: number): string | null;
}

type EffectOf<T extends Effect["type"]> = Extract<Effect, { type: T }>;
export type NodeEffect = EffectOf<"node_open" | "node_input" | "node_cancel" | "node_hook" | "node_stop">;

const NODE_EFFECTS: ReadonlySet<string> = new Set(["node_open", "node_input", "node_cancel", "node_hook", "node_stop"]);

export function isNodeEffect(effect: Effect): effect is NodeEffect {
  return NODE_EFFECTS.has(effect.type);
}

interface Asked {
  readonly instance: number;
  readonly askedNs: number;
  /** Of the audio it was asked about; -1 for none. */
  readonly mediaUs: number;
  readonly stampNs: number;
  readonly release: () => void;
}

interface Running {
  readonly id: number;
  readonly node: string;
  readonly turn: number;
  handle: NodeInstance | null;
  release: () => void;
  gone: boolean;
}

const MEDIA_DRIFT_US_MAX = 2_000_000;
const NODE_REASON = /^[a-z][a-z0-9_]{0,63}$/;

export class NodeRunner {
  private readonly host: NodeRunnerHost;
  private readonly running = new Map<number, Running>();
  private readonly asked = new Map<number, Asked>();
  /** Session-hot state by node. */
  private readonly hot = new Map<string, Map<string, string>>();
  private closed = false;

  constructor(host: NodeRunnerHost) {
    this.host = host;
    for (const definition of host.config.graph.nodes)
      if (definition.kind === "custom") host.nodes?.prepare?.(definition.package ?? "", limitsOf(definition));
  }

  run(effect: NodeEffect): void {
    try {
      this.one(effect);
    } catch (error) {
      // The port promises not to throw; where it does all the same, the instance is gone and the session goes on.
      this.host.logger.error(describeFailure(error), "node host threw");
      this.lost(effect.instance, "host_threw");
    }
  }

  /** What is still there is ended at once: the kernel has stopped in order what it could. */
  close(reason: string): void {
    this.closed = true;
    for (const running of this.running.values()) {
      running.gone = true;
      running.release();
      try {
        running.handle?.kill(reason);
      } catch (error) {
        this.host.logger.error(describeFailure(error), "node host threw");
      }
    }
    for (const asked of this.asked.values()) asked.release();
    this.running.clear();
    this.asked.clear();
    this.hot.clear();
  }

  private one(effect: NodeEffect): void {
    switch (effect.type) {
      case "node_open":
        return this.open(effect);
      case "node_input":
        return this.input(effect);
      case "node_cancel":
        return this.running.get(effect.instance)?.handle?.cancel(effect.command, effect.reason);
      case "node_hook":
        return this.running.get(effect.instance)?.handle?.hook(effect.hook);
      case "node_stop":
        return this.stop(effect);
    }
  }

  private open(effect: EffectOf<"node_open">): void {
    const { config, nodes } = this.host;
    const { instance, node, turn, epoch, seed } = effect;
    const running: Running = { id: instance, node, turn, handle: null, release: nothing, gone: false };
    this.running.set(instance, running);
    if (nodes === null) return this.lost(instance, "no_node_host");
    const definition = config.graph.nodes.find(({ id }) => id === node);
    const found = nodes.describe(effect.package);
    // The plan names the digest it was compiled with: other code under that name is not what was planned (F-121).
    if (found === null || definition === undefined) return this.lost(instance, "unknown_package");
    if (found.digest !== definition.packageDigest) return this.lost(instance, "package_changed");
    const bounds = limitsOf(definition);
    running.release = this.hold(HOST_START_MS + 2 * bounds.hookTimeoutMs);
    const traceparent = this.host.measures.traceparent(turn);
    running.handle = nodes.open(
      {
        instanceId: `${config.tenantId}/${config.sessionId}/${epoch}/${instance}`,
        package: effect.package,
        node,
        settings: definition.settings,
        variables: config.variables,
        tenantId: config.tenantId,
        sessionId: config.sessionId,
        pipelineVersion: config.graph.pipelineVersion,
        epoch,
        turn,
        seed,
        limits: bounds,
        hotState: Object.fromEntries(this.hot.get(node) ?? []),
        ...(traceparent === null ? {} : { headers: { traceparent } }),
      },
      this.sinkOf(running),
    );
    // It may have been lost while it was being opened.
    if (running.gone) running.handle.kill("lost");
  }

  private input(effect: EffectOf<"node_input">): void {
    const { payloads, clock, config } = this.host;
    const { instance, command, port, body } = effect;
    const running = this.running.get(instance);
    if (running === undefined || running.handle === null) return;
    const given = toNode(body, payloads);
    if (given === null) return this.host.submit({ type: "node_failed", command, reason: "payload_missing" });
    const audio = body.type === "audio" ? body : null;
    const definition = config.graph.nodes.find(({ id }) => id === running.node);
    this.asked.set(command, {
      instance,
      askedNs: clock.nowNs(),
      mediaUs: audio?.mediaUs ?? -1,
      stampNs: audio === null ? 0 : payloads.stampOf(audio.payload.ref),
      release: this.hold(limitsOf(definition).eventTimeoutMs),
    });
    running.handle.event(command, port, given, clock.nowNs());
  }

  private stop({ instance, reason, kill }: EffectOf<"node_stop">): void {
    const running = this.running.get(instance);
    if (running === undefined) return;
    if (!kill) {
      const definition = this.host.config.graph.nodes.find(({ id }) => id === running.node);
      running.release();
      running.release = this.hold(limitsOf(definition).hookTimeoutMs);
      running.handle?.stop(reason);
      return;
    }
    this.drop(running);
    running.handle?.kill(reason);
  }

  private sinkOf(running: Running): NodeSink {
    const { host } = this;
    const live = (): boolean => !running.gone && !this.closed;
    return {
      ready: () => {
        if (!live()) return;
        running.release();
        host.submit({ type: "node_ready", instance: running.id });
      },
      emitted: (command, index, port, body) => {
        if (live()) this.emitted(running, command, index, port, body);
      },
      done: (command) => {
        if (live() && this.answered(running, command)) host.submit({ type: "node_done", command });
      },
      failed: (command, reason) => {
        if (live() && this.answered(running, command))
          host.submit({ type: "node_failed", command, reason: safe(reason) });
      },
      cancelAcked: (command) => {
        if (live() && this.answered(running, command)) host.submit({ type: "cancel_acked", command });
      },
      telemetry: (told) => {
        if (!this.closed) host.measures.nodeTold(running.node, running.turn, told);
      },
      hotState: (key, json) => {
        if (!this.closed) this.keep(running.node, key, json);
      },
      stopped: (reason) => {
        if (live()) this.lost(running.id, safe(reason));
      },
    };
  }

  private emitted(running: Running, command: number, index: number, port: string, body: NodeBody): void {
    const { host } = this;
    const asked = this.asked.get(command);
    if (asked === undefined || asked.instance !== running.id || typeof port !== "string") return;
    const drifts =
      body?.type === "audio" &&
      running.turn === 0 &&
      asked.mediaUs >= 0 &&
      drift(body.mediaUs, asked) > MEDIA_DRIFT_US_MAX;
    const taken = drifts
      ? ({ type: "error", code: "malformed_body" } as const)
      : fromNode(body, running.turn, host.payloads, asked.stampNs);
    if (taken === null) return host.fail("payload_bytes_limit");
    host.submit({ type: "node_emitted", command, index, port: port.slice(0, 64), body: taken });
  }

  /** True for a command of this instance that was not answered before. */
  private answered(running: Running, command: number): boolean {
    const asked = this.asked.get(command);
    if (asked === undefined || asked.instance !== running.id) return false;
    this.asked.delete(command);
    asked.release();
    this.host.measures.hostAnswered(running.node, this.host.clock.nowNs() - asked.askedNs);
    return true;
  }

  private lost(id: number, reason: string): void {
    const running = this.running.get(id);
    if (running === undefined) return;
    this.drop(running);
    this.host.submit({ type: "node_stopped", node: running.node, reason, instance: id });
  }

  private drop(running: Running): void {
    running.gone = true;
    running.release();
    this.running.delete(running.id);
    for (const [command, asked] of this.asked) {
      if (asked.instance !== running.id) continue;
      this.asked.delete(command);
      asked.release();
    }
  }

  /** Bounded; what does not fit is not kept: nothing correct may depend on session-hot state (`kernel.md` §8). */
  private keep(node: string, key: string, json: string | null): void {
    const kept = this.hot.get(node) ?? new Map<string, string>();
    this.hot.set(node, kept);
    if (json === null) kept.delete(key);
    else if (key.length <= 64 && json.length <= limits.NODE_STATE_CHARS_MAX) {
      if (kept.has(key) || kept.size < limits.NODE_STATE_KEYS_MAX) kept.set(key, json);
    }
  }

  /** A node answers in real time: virtual time must not pass meanwhile, but for no longer than the node may take. */
  private hold(ms: number): () => void {
    const letGo = this.host.clock.hold();
    let held = true;
    const release = (): void => {
      if (!held) return;
      held = false;
      clearTimeout(timer);
      letGo();
    };
    const timer = setTimeout(release, ms);
    return release;
  }
}

const nothing = (): void => undefined;

function drift(mediaUs: number, { mediaUs: asked }: Asked): number {
  return Math.abs(mediaUs - asked);
}

/** Reasons of foreign code end up in signals and logs: a short static name or none. */
function safe(reason: string): string {
  return typeof reason === "string" && NODE_REASON.test(reason) ? reason : "unspecified";
}

function limitsOf(definition: NodeDefinition | undefined): CustomLimits {
  const none = { maxInFlight: 1, queueMax: 0, whenFull: "queue", eventTimeoutMs: 1_600, hookTimeoutMs: 500 } as const;
  return definition?.limits ?? { ...none, memoryMb: 64, cpuPercent: 100 };
}
