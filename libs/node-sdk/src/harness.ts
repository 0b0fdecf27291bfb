/**
 * Test harness for authors of nodes (F-128): events in, emissions out, cancel, time limits and hooks, under virtual time. The node
 * runs between a source and a sink in a session of the real kernel, so that what is refused, timed out or ended here is so in
 * production, and a replay of the run must be equal to it.
 */
import type { Effect } from "@rspp/kernel/effect";
import type { AudioFormat, EventBody, TextSpan } from "@rspp/kernel/event";
import type { CustomLimits, GraphDefinition, NodeDefinition, NodePorts, PortDefinition } from "@rspp/kernel/graph";
import type { InputBody } from "@rspp/kernel/input";
import { replayJournal } from "@rspp/kernel/replay";
import { KernelHarness, testConfig } from "@rspp/kernel/testing/harness";
import type { NodeBody, NodeSink, NodeTelemetry } from "@rspp/ports/node-host";
import type { NodeModule, SettingValue } from "./node-api.ts";
import { NodeCore } from "./node-core.ts";

export interface HarnessOptions {
  settings?: Readonly<Record<string, SettingValue>>;
  variables?: Readonly<Record<string, string | number | boolean>>;
  /** Default the node's own, `turn` where it may be either. */
  scope?: "session" | "turn";
  limits?: Partial<CustomLimits>;
  seed?: string;
}

export interface Emission {
  port: string;
  body: NodeBody;
  /** Virtual milliseconds since the harness was opened. */
  atMs: number;
}

const LIMITS: CustomLimits = {
  maxInFlight: 1,
  queueMax: 0,
  whenFull: "queue",
  eventTimeoutMs: 1_600,
  hookTimeoutMs: 500,
  memoryMb: 64,
  cpuPercent: 100,
};
const FOREVER_MS = 1_000_000_000;
const NS = 1_000_000;
const NODE = "node";

/** Opens the node: `init` and `start` have run, or failed, when this resolves. */
export async function openHarness(module: NodeModule, options: HarnessOptions = {}): Promise<NodeHarness> {
  const harness = new NodeHarness(module, options);
  await harness.begin();
  return harness;
}

/** A text body with the usual values. */
export function textBody(text: string, over: Partial<Extract<NodeBody, { type: "text" }>> = {}): NodeBody {
  return { type: "text", text, segment: 0, revision: 1, final: true, confidence: 1, language: "en", ...over };
}

/** 16 kHz mono PCM from samples of -32768 to 32767. */
export function audioBody(samples: readonly number[], mediaUs = 0): NodeBody {
  const bytes = new Uint8Array(Int16Array.from(samples).buffer);
  const durationUs = Math.round((samples.length * 1_000_000) / 16_000);
  return { type: "audio", bytes, codec: "pcm_s16le", rateHz: 16_000, channels: 1, mediaUs, durationUs };
}

interface Instance {
  readonly core: NodeCore;
  /** Ended by force: what it still says is nobody's. */
  readonly life: { gone: boolean };
}

export class NodeHarness {
  readonly emitted: Emission[] = [];
  readonly telemetry: NodeTelemetry[] = [];
  private readonly module: NodeModule;
  private readonly scope: "session" | "turn";
  private readonly kernel: HarnessKernel;
  private readonly limits: CustomLimits;
  private readonly settings: Readonly<Record<string, SettingValue>>;
  private readonly hot = new Map<string, string>();
  private readonly instances = new Map<number, Instance>();
  private readonly sleepers: { atNs: number; act: () => void }[] = [];
  private readonly queue: InputBody[] = [];
  /** The source's command, under which its events are put into the graph. */
  private source = 0;
  private sent = 0;
  private readonly startNs: number;

  constructor(module: NodeModule, options: HarnessOptions) {
    this.module = module;
    this.scope = options.scope ?? (module.scope === "session" ? "session" : "turn");
    this.limits = { ...LIMITS, ...module.limits, ...options.limits };
    const defaults = (module.settings ?? []).flatMap(({ name, default: value }) =>
      value === undefined ? [] : [[name, value] as const],
    );
    this.settings = { ...Object.fromEntries(defaults), ...options.settings };
    const graph = graphOf(module, this.scope, this.limits, this.settings);
    const budgets = {
      turnFirstOutputMs: FOREVER_MS,
      nodeSoftMs: FOREVER_MS,
      providerAttemptMs: FOREVER_MS,
      cancelGraceMs: 75,
    };
    const { variables = {}, seed = "harness" } = options;
    this.kernel = new HarnessKernel(testConfig(graph, { variables, seed, budgets }));
    this.startNs = this.kernel.nowNs;
  }

  async begin(): Promise<void> {
    await this.feed(this.kernel.control("connected"));
    if (this.scope === "turn") await this.openTurn();
    else await this.feed(this.kernel.frame());
  }

  /** A new turn, as the caller's next words would open one. */
  async openTurn(): Promise<void> {
    this.source = 0;
    await this.feed({ type: "proposal", origin: "api", key: "", say: null, reason: "" });
  }

  /** One event on an input port; what the node does of it at this instant is done when this resolves. */
  async send(port: string, body: NodeBody): Promise<void> {
    if (this.source === 0) throw new Error("no turn is open: call openTurn first");
    const command = this.source;
    const index = this.sent;
    this.sent += 1;
    await this.feed({ type: "node_emitted", command, index, port, body: this.kernel.store(body) });
  }

  /** No more events in this turn: the node is given `end` on each port, and its outputs end after. */
  async end(): Promise<void> {
    const command = this.source;
    this.source = 0;
    await this.feed({ type: "node_done", command });
    // The source still has to be told that the caller's words are over.
    while (this.source !== 0) {
      const ended = this.source;
      this.source = 0;
      await this.feed({ type: "node_done", command: ended });
    }
  }

  /** Cuts the turn, as a barge-in or another cancel does: hooks, cancel token, grace, stop. */
  async cancel(reason = "user_cancel"): Promise<void> {
    await this.feed({ type: "operator", command: "cancel_turn", turn: this.kernel.state.lastTurn, reason });
  }

  bargeIn(): Promise<void> {
    return this.cancel("barge_in");
  }

  /** Ends the session: `stop` runs within its time. */
  async close(): Promise<void> {
    await this.feed({ type: "operator", command: "end", turn: 0, reason: "closed" });
    await this.advance(this.limits.hookTimeoutMs + 500);
  }

  /** Moves virtual time on: sleeps of the node and deadlines of the kernel fall due in order. */
  async advance(ms: number): Promise<void> {
    const untilNs = this.kernel.nowNs + ms * NS;
    await this.settle();
    for (;;) {
      const sleeper = this.sleepers.reduce((at, one) => Math.min(at, one.atNs), Number.POSITIVE_INFINITY);
      const timer = Math.min(Number.POSITIVE_INFINITY, ...this.kernel.timers.values());
      const next = Math.min(sleeper, timer);
      if (next > untilNs) break;
      this.kernel.nowNs = Math.max(this.kernel.nowNs, next);
      this.kernel.advance(0);
      for (const due of this.sleepers.filter(({ atNs }) => atNs <= this.kernel.nowNs)) {
        this.sleepers.splice(this.sleepers.indexOf(due), 1);
        due.act();
      }
      await this.settle();
    }
    this.kernel.nowNs = untilNs;
  }

  /** Control events so far, as `signal(reason)`, those of a turn as `signal#turn(reason)`. */
  signals(name?: string): string[] {
    const own = this.kernel.log.filter(({ effect }) => {
      const node = effect.type === "signal" ? effect.event.fields.node : undefined;
      return node === undefined || node === NODE;
    });
    return own.flatMap(({ effect }) => {
      if (effect.type !== "signal" || (name !== undefined && !effect.event.signal.startsWith(name))) return [];
      const { signal, turn, reason } = effect.event;
      return [`${signal}${turn === 0 ? "" : `#${turn}`}${reason === "" ? "" : `(${reason})`}`];
    });
  }

  texts(port?: string): string[] {
    return this.emitted.flatMap(({ port: on, body }) =>
      body.type === "text" && (port === undefined || on === port) ? [body.text] : [],
    );
  }

  /** Whether the run, fed to a fresh kernel without the node, is equal to itself (`kernel.md` §12). */
  replayIdentical(): boolean {
    return replayJournal(this.kernel.config, this.kernel.journal).identical;
  }

  private get atMs(): number {
    return (this.kernel.nowNs - this.startNs) / NS;
  }

  private async feed(...bodies: InputBody[]): Promise<void> {
    this.kernel.feed(...bodies);
    await this.settle();
  }

  /** Carries effects out and answers them, until nobody has anything more to say at this instant. */
  private async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; ) {
      const effects = this.kernel.taken.splice(0);
      for (const effect of effects) this.carryOut(effect);
      const answers = this.queue.splice(0);
      if (answers.length > 0) this.kernel.feed(...answers);
      quiet = effects.length + answers.length === 0 ? quiet + 1 : 0;
      // Promises of the node come to their end between two looks; a macrotask, since a chain of them may be long.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  private carryOut(effect: Effect): void {
    if (effect.type === "node_open") {
      if (effect.node === NODE) this.open(effect);
      else this.queue.push({ type: "node_ready", instance: effect.instance });
    } else if (effect.type === "node_input") this.input(effect);
    else if (effect.type === "node_cancel") {
      const core = this.instances.get(effect.instance)?.core;
      if (core === undefined) this.queue.push({ type: "cancel_acked", command: effect.command });
      else core.cancel(effect.command, effect.reason);
    } else if (effect.type === "node_hook") this.instances.get(effect.instance)?.core.hook(effect.hook);
    else if (effect.type === "node_stop") this.stop(effect);
  }

  private input({ node, instance, command, port, body }: Extract<Effect, { type: "node_input" }>): void {
    if (node === NODE) {
      this.instances.get(instance)?.core.event(command, port, this.kernel.load(body), this.kernel.nowNs);
      return;
    }
    if (node === "source") {
      this.source = command;
      this.sent = 0;
      return;
    }
    this.emitted.push({ port, body: this.kernel.load(body), atMs: this.atMs });
    this.queue.push({ type: "node_done", command });
  }

  private stop({ node, instance, reason, kill }: Extract<Effect, { type: "node_stop" }>): void {
    const known = this.instances.get(instance);
    if (known !== undefined && kill) known.life.gone = true;
    else if (known !== undefined) void known.core.stop(reason);
    else if (!kill) this.queue.push({ type: "node_stopped", node, reason: "stopped", instance });
  }

  private open({ instance, turn, epoch, seed }: Extract<Effect, { type: "node_open" }>): void {
    const { config } = this.kernel;
    const { tenantId, sessionId, variables, graph } = config;
    const request = {
      instanceId: `${sessionId}/${instance}`,
      package: `${this.module.name}@${this.module.version}`,
      node: NODE,
      settings: this.settings,
      variables,
      tenantId,
      sessionId,
      pipelineVersion: graph.pipelineVersion,
      epoch,
      turn,
      seed,
      limits: this.limits,
      hotState: Object.fromEntries(this.hot),
    };
    const life = { gone: false };
    const clock = {
      nowNs: () => this.kernel.nowNs,
      after: (ms: number, act: () => void) => {
        const sleeper = { atNs: this.kernel.nowNs + ms * NS, act };
        this.sleepers.push(sleeper);
        return () => void this.sleepers.splice(0, this.sleepers.length, ...this.sleepers.filter((s) => s !== sleeper));
      },
    };
    const core = new NodeCore({ module: this.module, open: request, sink: this.sinkOf(instance, life), clock });
    this.instances.set(instance, { core, life });
    void core.begin();
  }

  private sinkOf(instance: number, life: { gone: boolean }): NodeSink {
    const say = (body: InputBody): void => {
      if (!life.gone) this.queue.push(body);
    };
    return {
      ready: () => say({ type: "node_ready", instance }),
      emitted: (command, index, port, body) =>
        say({ type: "node_emitted", command, index, port, body: this.kernel.store(body) }),
      done: (command) => say({ type: "node_done", command }),
      failed: (command, reason) => say({ type: "node_failed", command, reason }),
      cancelAcked: (command) => say({ type: "cancel_acked", command }),
      telemetry: (told) => void this.telemetry.push(told),
      hotState: (key, json) => void (json === null ? this.hot.delete(key) : this.hot.set(key, json)),
      stopped: (reason) => {
        say({ type: "node_stopped", node: NODE, reason, instance });
        life.gone = true;
      },
    };
  }
}

/** Keeps payloads, and the effects that are still to be carried out. */
class HarnessKernel extends KernelHarness {
  readonly taken: Effect[] = [];
  private readonly bytes = new Map<number, Uint8Array>();

  override feedAt(stamped: readonly { body: InputBody; atNs: number }[]): Effect[] {
    const effects = super.feedAt(stamped);
    this.taken.push(...effects);
    return effects;
  }

  store(body: NodeBody): EventBody {
    switch (body.type) {
      case "audio": {
        const { bytes, codec, rateHz, channels, mediaUs, durationUs } = body;
        const ref = this.ref();
        this.bytes.set(ref, bytes.slice());
        const format: AudioFormat = { codec, rateHz, channels };
        const none = { segment: -1, segmentEnd: false, segmentChars: 0, words: null };
        const payload = { ref, hash: "", bytes: bytes.length };
        return { type: "audio", payload, format, durationUs, mediaUs, ...none };
      }
      case "text": {
        const { segment, revision, final, confidence, language, text } = body;
        const spans = [this.span(text)];
        return { type: "text", spans, chars: text.length, segment, revision, final, confidence, language };
      }
      case "messages":
        return {
          type: "messages",
          messages: body.messages.map(({ role, text }) => ({ role, spans: [this.span(text)] })),
        };
      case "metrics":
        return { type: "metrics", name: body.name, value: body.value };
      case "activity":
      case "end":
        return { ...body };
      default:
        return { type: "error", code: "malformed_body" };
    }
  }

  load(body: EventBody): NodeBody {
    switch (body.type) {
      case "audio": {
        const { codec, rateHz, channels } = body.format;
        const bytes = (this.bytes.get(body.payload.ref) ?? new Uint8Array(0)).slice();
        const { mediaUs, durationUs } = body;
        return { type: "audio", bytes, codec: codec, rateHz, channels, mediaUs, durationUs };
      }
      case "text": {
        const { segment, revision, final, confidence, language } = body;
        return { type: "text", text: this.text(body.spans), segment, revision, final, confidence, language };
      }
      case "messages": {
        const messages = body.messages.flatMap(({ role, spans }) =>
          role === "tool" ? [] : [{ role, text: this.text(spans) }],
        );
        return { type: "messages", messages };
      }
      case "activity":
        return { ...body };
      default:
        return { type: "end" };
    }
  }

  private span(text: string): TextSpan {
    const ref = this.ref();
    this.texts.set(ref, text);
    return { ref, from: 0, to: text.length };
  }
}

/** source -> node -> sink; the source is fed by what opens a turn, or by the caller's audio. */
function graphOf(
  module: NodeModule,
  scope: "session" | "turn",
  limits: CustomLimits,
  settings: Readonly<Record<string, SettingValue>>,
): GraphDefinition {
  const turn = scope === "turn";
  const begin: PortDefinition = turn ? { name: "begin", type: "text" } : { name: "begin", type: "audio" };
  const stay: CustomLimits = { ...LIMITS, eventTimeoutMs: FOREVER_MS };
  const bare = (ports: readonly PortDefinition[]): PortDefinition[] => ports.map(({ name, type }) => ({ name, type }));
  const custom = (id: string, ports: NodePorts, own: CustomLimits): NodeDefinition => {
    const of = { package: `${id}@0.0.0`, packageDigest: "", ports, limits: own };
    return { id, kind: "custom", scope, settings: id === NODE ? settings : {}, candidates: [], ...of };
  };
  const plain = (id: string, kind: "ingress" | "endpointing"): NodeDefinition => {
    return { id, kind, scope: "session", settings: {}, candidates: [] };
  };
  const nodes = [
    turn ? plain("caller", "endpointing") : plain("caller", "ingress"),
    custom("source", { inputs: [begin], outputs: bare(module.inputs) }, stay),
    custom(NODE, { inputs: bare(module.inputs), outputs: bare(module.outputs) }, limits),
    custom("sink", { inputs: bare(module.outputs), outputs: [] }, stay),
  ];
  const buffer = {
    maxItems: 1_024,
    maxBytes: 8 << 20,
    maxQueueMs: 600_000,
    strategy: "block" as const,
    maxBlockMs: 60_000,
    source: "harness",
  };
  const edge = (from: string, to: string, { name, type }: PortDefinition, out = name) => ({
    id: `${from}.${out}->${to}.${name}`,
    from: { node: from, port: out },
    to: { node: to, port: name },
    type,
    buffer,
  });
  const edges = [
    edge("caller", "source", begin, turn ? "utterance" : "audio"),
    ...module.inputs.map((port) => edge("source", NODE, port)),
    ...module.outputs.map((port) => edge(NODE, "sink", port)),
  ];
  return { pipelineVersion: "harness@1", nodes, edges };
}
