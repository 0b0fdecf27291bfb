import { asMonoNs, type MonoNs, msToNs } from "@rspp/base/brand";
import { unreachable } from "@rspp/base/invariant";
import type { Effect } from "@rspp/kernel/effect";
import type { TextSpan } from "@rspp/kernel/event";
import type { InputBody } from "@rspp/kernel/input";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { NodeHostPort } from "@rspp/ports/node-host";
import type { AudioFormat, Invocation, InvocationInput, ProviderPort } from "@rspp/ports/provider";
import type { TransportEgress, TransportEnd } from "@rspp/ports/transport";
import type { VadPort } from "@rspp/ports/vad";
import { describeFailure } from "@rspp/rpc/log";
import { conversationInput } from "./conversation-input.ts";
import type { EvidenceWriter } from "./evidence-writer.ts";
import type { Logger } from "./logger.ts";
import type { SessionMeasures } from "./metrics-session.ts";
import { isNodeEffect, NodeRunner } from "./nodes/node-runner.ts";
import { VadRunner } from "./nodes/vad-runner.ts";
import type { Observers } from "./observers.ts";
import { openLater } from "./open-later.ts";
import type { PayloadStore } from "./payload-store.ts";
import { ProviderSink, type SinkHost } from "./provider-sink.ts";
import type { InvocationNote } from "./session-trace.ts";

export interface EffectHost extends SinkHost {
  readonly config: SessionConfig;
  readonly sessionId: string;
  readonly clock: Clock;
  readonly payloads: PayloadStore;
  readonly observers: Observers;
  readonly measures: SessionMeasures;
  readonly evidence: EvidenceWriter;
  readonly transport: TransportEnd;
  readonly providers: ProviderPort;
  readonly vad: VadPort | null;
  readonly nodes: NodeHostPort | null;
  readonly logger: Logger;
  /** How long a provider may take over a cancel, milliseconds. */
  readonly cancelGraceMs: number;
  submit(body: InputBody): void;
  cancelIgnored(): void;
  status(phase: string, reconnecting: boolean, degraded: boolean, reason: string): void;
  levelChanged(level: string): void;
  signalLine(effect: Extract<Effect, { type: "signal" }>): void;
}

type EffectOf<T extends Effect["type"]> = Extract<Effect, { type: T }>;

const silence = new Uint8Array(0);
const defaultFormat: AudioFormat = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 };

/** Carries out what steps ask for, in order (`kernel.md` §1). Nothing in here decides anything about the session. */
export class EffectRunner {
  private readonly host: EffectHost;
  private readonly invocations = new Map<number, ProviderSink>();
  private readonly notes = new Map<number, InvocationNote>();
  private readonly timers = new Map<string, TimerHandle>();
  /** Cancelled invocations whose provider has not answered yet. */
  private readonly graces = new Map<number, TimerHandle>();
  private readonly vads: VadRunner;
  private readonly customs: NodeRunner;
  private format: AudioFormat = defaultFormat;
  private closed = false;
  private epochSent = 0;
  /** Signals and words of the step being carried out: they go behind what providers are asked, which a caller waits for. */
  private readonly held: TransportEgress[] = [];
  private holding = false;

  constructor(host: EffectHost) {
    this.host = host;
    this.customs = new NodeRunner(host);
    this.vads = new VadRunner(host);
  }

  run(effects: readonly Effect[]): void {
    this.holding = true;
    try {
      for (const effect of effects) this.one(effect);
    } finally {
      this.holding = false;
      this.releaseHeld();
    }
  }

  /** For tests: what must be empty when a session has ended. */
  open(): { invocations: number; timers: number } {
    return { invocations: this.invocations.size, timers: this.timers.size };
  }

  outcomeSeen(invocation: number, outcome: string): void {
    this.clearGrace(invocation);
    this.invocations.delete(invocation);
    this.host.measures.anchors.providerOutcome(invocation, this.host.clock.nowNs());
    this.ended(invocation, outcome);
  }

  firstOutput(invocation: number): void {
    const note = this.notes.get(invocation);
    if (note !== undefined) this.host.measures.firstOutput(note);
  }

  send(message: TransportEgress): void {
    this.epochSent = Math.max(this.epochSent, message.epoch);
    if (this.holding && (message.kind === "control" || message.kind === "text")) {
      this.held.push(message);
      return;
    }
    // Media, fences and the end keep their place among them.
    this.releaseHeld();
    this.transmit(message);
  }

  private releaseHeld(): void {
    if (this.held.length === 0) return;
    for (const message of this.held.splice(0)) this.transmit(message);
  }

  private transmit(message: TransportEgress): void {
    try {
      this.host.transport.send(message);
    } catch (error) {
      this.host.logger.error(describeFailure(error), "transport end threw");
      this.host.fail("transport_fault");
    }
  }

  close(reason: string): void {
    if (this.closed) return;
    this.closed = true;
    for (const timer of this.timers.values()) timer.clear();
    this.timers.clear();
    for (const grace of this.graces.values()) grace.clear();
    this.graces.clear();
    for (const sink of this.invocations.values()) {
      sink.abandon();
      // Side-effecting work is not cut off by the end of its session (kernel.md §4); its deadline is the provider's.
      if (!sink.outlives) this.guard(() => sink.handle?.cancel(reason));
    }
    this.invocations.clear();
    for (const invocation of [...this.notes.keys()]) this.ended(invocation, "cancelled");
    this.vads.close();
    this.customs.close(reason);
  }

  private one(effect: Effect): void {
    const { host } = this;
    if (isNodeEffect(effect)) return this.customs.run(effect);
    switch (effect.type) {
      case "egress_media":
        return this.media(effect);
      case "egress_fence":
        return this.fence(effect);
      case "egress_text":
        return this.text(effect);
      case "signal":
        return this.signal(effect);
      case "provider_open":
        return this.openProvider(effect);
      case "provider_push_audio":
        return this.pushAudio(effect);
      case "provider_push_text": {
        const { invocation, segment, spans } = effect;
        return this.push(invocation, { kind: "text", text: host.payloads.join(spans), segment });
      }
      case "provider_push_messages": {
        const { node = "" } = this.notes.get(effect.invocation) ?? {};
        const text = (spans: readonly TextSpan[]): string => host.payloads.join(spans);
        return this.push(effect.invocation, conversationInput(effect, text, host.config, node));
      }
      case "provider_finish":
        return this.guard(() => this.invocations.get(effect.invocation)?.handle?.finish());
      case "provider_cancel":
        return this.cancelProvider(effect);
      case "node_event":
        return this.vads.event(effect);
      case "node_reset":
        return this.resetNode(effect.node);
      case "timer_set":
        return this.setTimer(effect.id, effect.atNs);
      case "timer_clear":
        return this.clearTimer(effect.id);
      case "record":
        if (effect.record.kind === "recording_level") host.levelChanged(effect.record.to);
        return host.evidence.write(effect.record);
      case "telemetry":
        if (effect.name === "cancel_fence_ns") return host.measures.anchors.cancelFence(effect.turn, effect.value);
        if (effect.name === "turn_cost_micros") return host.measures.spent(effect.value, effect.turn);
        if (effect.name === "turn_throttled_ms") host.measures.limited("throttle");
        return host.measures.tell(effect.name, effect.value, effect.turn, effect.node, "");
      case "status":
        return host.status(effect.phase, effect.reconnecting, effect.degraded, effect.reason);
      case "state_write":
        return host.measures.tell("state_write_version", effect.version, 0, effect.key, "");
      case "release":
        for (const ref of effect.refs) host.payloads.free(ref);
        return;
      case "release_input":
        return host.payloads.releaseInput(effect.below);
      case "release_turn":
        if (effect.keep.length === 0) host.measures.turnReleased(effect.turn);
        return host.payloads.releaseTurn(effect.turn, effect.keep);
      case "error":
        return this.error(effect.code, effect.detail);
      default:
        return unreachable(effect);
    }
  }

  private media(effect: EffectOf<"egress_media">): void {
    const { payloads, observers, measures, clock } = this.host;
    const { epoch, turn, generation, sequence, offsetUs, durationUs, end, payload } = effect;
    if (effect.format !== null) this.format = effect.format as AudioFormat;
    const bytes = payload === null ? silence : (payloads.audio(payload.ref) ?? silence);
    const { format } = this;
    this.send({ kind: "media", epoch, turn, generation, sequence, offsetUs, durationUs, format, bytes, end });
    if (payload === null) return;
    const atNs = clock.nowNs();
    measures.anchors.media(turn, atNs);
    if (observers.wants("audio")) {
      observers.emit({
        kind: "audio",
        atNs,
        direction: "out",
        turn,
        generation,
        mediaUs: offsetUs,
        durationUs,
        format,
        bytes: new Uint8Array(bytes),
      });
    }
    payloads.freeSent(payload.ref);
  }

  private fence(effect: EffectOf<"egress_fence">): void {
    const { epoch, turn, generation, all, reason } = effect;
    this.send({ kind: "fence", epoch, turn, generation, all, reason });
  }

  private text(effect: EffectOf<"egress_text">): void {
    const { payloads, observers, clock } = this.host;
    const { epoch, turn, role, final, segment, revision } = effect;
    const text = payloads.join(effect.spans);
    this.send({ kind: "text", epoch, turn, role, text, final, segment, revision });
    if (!observers.wants("text")) return;
    observers.emit({ kind: "text", atNs: clock.nowNs(), turn, role, text, final, segment, revision });
  }

  private signal(effect: EffectOf<"signal">): void {
    // Commit and close are told once their evidence is appended (kernel.md §11).
    if (this.host.evidence.putOff(effect.event.turn, () => this.tell(effect))) return;
    this.tell(effect);
  }

  private tell(effect: EffectOf<"signal">): void {
    const { observers, measures, clock } = this.host;
    const { signal, emitter, turn, generation, epoch, reason, fields, seq, cause } = effect.event;
    // What was put off may have met a rotation meanwhile: the adapter believes the present epoch alone (kernel.md §7).
    const now = Math.max(epoch, this.epochSent);
    if (effect.egress) this.send({ kind: "control", epoch: now, signal, turn, reason, fields });
    const atNs = clock.nowNs();
    measures.signal(effect.event, atNs);
    this.host.signalLine(effect);
    if (observers.wants("control"))
      observers.emit({ kind: "control", atNs, signal, emitter, turn, generation, reason, fields, seq, cause });
  }

  private openProvider(effect: EffectOf<"provider_open">): void {
    const { invocation, invocationId, modality, provider, settings, attemptTimeoutMs, idempotencyKey } = effect;
    const { epoch, turn, generation } = effect;
    const { tenantId, sessionId } = this.host.config;
    const sink = new ProviderSink(this.host, invocation, modality, turn);
    this.invocations.set(invocation, sink);
    const { node, attempt } = effect;
    const openedNs = this.host.clock.nowNs();
    const rest = { attempt, openedNs, firstNs: 0, endNs: 0, outcome: "", span: null };
    const tool = effect.tool === undefined ? {} : { tool: effect.tool.name };
    const note = { number: invocation, invocationId, node, turn, modality, provider, ...rest, ...tool };
    sink.outlives = effect.tool?.sideEffect === "side_effecting";
    this.notes.set(invocation, note);
    const traceparent = this.host.measures.invocationOpened(note);
    const request = {
      invocationId,
      modality,
      provider,
      settings,
      attemptTimeoutMs,
      idempotencyKey,
      tenantId,
      sessionId,
      epoch,
      turn,
      generation,
      ...(effect.caps === undefined ? {} : { caps: effect.caps }),
      ...(traceparent === null ? {} : { headers: { traceparent } }),
    };
    try {
      const open = (): Invocation => this.host.providers.open(request, sink);
      const { afterMs } = effect;
      sink.handle =
        afterMs === undefined
          ? open()
          : openLater(this.host.clock, afterMs, open, sink, (error) => this.providerFault(sink, error));
    } catch (error) {
      this.providerFault(sink, error);
    }
  }

  private pushAudio(effect: EffectOf<"provider_push_audio">): void {
    const bytes = this.host.payloads.audio(effect.payload.ref);
    if (bytes === null) return;
    const { durationUs } = effect;
    // A copy: a provider may keep it for as long as it likes, the store fills its memory anew.
    const own = new Uint8Array(bytes);
    this.push(effect.invocation, { kind: "audio", bytes: own, format: effect.format as AudioFormat, durationUs });
  }

  private push(invocation: number, input: InvocationInput): void {
    const sink = this.invocations.get(invocation);
    if (sink === undefined) return;
    try {
      sink.handle?.push(input);
    } catch (error) {
      this.providerFault(sink, error);
    }
  }

  private cancelProvider(effect: EffectOf<"provider_cancel">): void {
    const sink = this.invocations.get(effect.invocation);
    if (sink === undefined) return;
    const { node, turn } = this.notes.get(effect.invocation) ?? { node: "", turn: 0 };
    this.host.measures.anchors.providerCancel(effect.invocation, node, turn, this.host.clock.nowNs());
    this.guard(() => sink.handle?.cancel(effect.reason));
    this.armGrace(effect.invocation);
  }

  /** Most providers have answered by now. One that has not within its grace is forgotten, as the kernel forgets it. */
  private armGrace(invocation: number): void {
    if (!this.invocations.has(invocation) || this.graces.has(invocation)) return;
    const { clock, cancelGraceMs } = this.host;
    const grace = clock.timerAt(asMonoNs(clock.nowNs() + msToNs(cancelGraceMs)), () => this.forgetProvider(invocation));
    this.graces.set(invocation, grace);
  }

  private forgetProvider(invocation: number): void {
    const sink = this.invocations.get(invocation);
    this.clearGrace(invocation);
    if (sink === undefined) return;
    sink.forget();
    this.invocations.delete(invocation);
    const { node = "", turn = 0, invocationId = "" } = this.notes.get(invocation) ?? {};
    this.host.measures.anchors.providerForgotten(invocation);
    this.host.logger.warn({ turn, node_id: node, invocation_id: invocationId }, "provider ignored its cancel");
    this.host.cancelIgnored();
    this.ended(invocation, "cancel_ignored");
  }

  private ended(invocation: number, outcome: string): void {
    const note = this.notes.get(invocation);
    if (note === undefined) return;
    this.notes.delete(invocation);
    this.host.measures.invocationEnded(note, outcome);
  }

  private clearGrace(invocation: number): void {
    this.graces.get(invocation)?.clear();
    this.graces.delete(invocation);
  }

  /**
   * What the node heard so far is forgotten, and of its invocations those that were cancelled and have not answered. A
   * detector that has not answered a frame is given up with it: the next frame gets another one.
   */
  private resetNode(node: string): void {
    this.vads.reset(node);
    for (const [invocation, of] of [...this.notes])
      if (of.node === node && this.graces.has(invocation)) this.forgetProvider(invocation);
  }

  /** The port promises not to throw; where it does all the same, the invocation ends and the session goes on. */
  private providerFault(sink: ProviderSink, error: unknown): void {
    this.host.logger.error(describeFailure(error), "provider threw");
    sink.outcome({ kind: "error", detail: "provider_threw" });
  }

  private setTimer(id: string, atNs: MonoNs): void {
    this.timers.get(id)?.clear();
    const handle = this.host.clock.timerAt(atNs, () => {
      if (this.timers.get(id) !== handle) return;
      this.timers.delete(id);
      this.host.submit({ type: "timer", id });
    });
    this.timers.set(id, handle);
  }

  private clearTimer(id: string): void {
    this.timers.get(id)?.clear();
    this.timers.delete(id);
  }

  private error(code: string, detail: string): void {
    const { observers, clock } = this.host;
    if (observers.wants("error")) observers.emit({ kind: "error", atNs: clock.nowNs(), code, detail });
  }

  private guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.host.logger.error(describeFailure(error), "port threw");
    }
  }
}
