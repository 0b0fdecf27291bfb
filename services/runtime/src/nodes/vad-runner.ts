/** Frames to a voice activity detector, and its verdicts back as inputs (`kernel.md` §1). */
import type { Effect } from "@rspp/kernel/effect";
import type { InputBody } from "@rspp/kernel/input";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { Clock } from "@rspp/ports/clock";
import { VAD_FRAME_BYTES, VAD_RATE_HZ, type VadPort, type VadResult, type VadSession } from "@rspp/ports/vad";
import { describeFailure } from "@rspp/rpc/log";
import type { Logger } from "../logger.ts";
import type { SessionMeasures } from "../metrics-session.ts";
import type { PayloadStore } from "../payload-store.ts";

export interface VadRunnerHost {
  readonly config: SessionConfig;
  readonly clock: Clock;
  readonly payloads: PayloadStore;
  readonly measures: SessionMeasures;
  readonly vad: VadPort | null;
  readonly logger: Logger;
  submit(body: InputBody): void;
}

/** A detector of one node and the one event it judges: made once, so that a frame costs no closure. */
interface VadNode {
  readonly node: string;
  readonly session: VadSession;
  /** 0: nothing in flight. */
  command: number;
  mediaUs: number;
  durationUs: number;
  stampNs: number;
  /** 0 where this frame is not timed. */
  askedNs: number;
  readonly onResult: (result: VadResult) => void;
}

type EffectOf<T extends Effect["type"]> = Extract<Effect, { type: T }>;

/** One detector command in so many is timed. */
const TIMED_COMMANDS = 16;

export class VadRunner {
  private readonly host: VadRunnerHost;
  private readonly vads = new Map<string, VadNode>();
  private pending = 0;
  private hold: (() => void) | null = null;
  private closed = false;

  constructor(host: VadRunnerHost) {
    this.host = host;
  }

  close(): void {
    this.closed = true;
    for (const vad of this.vads.values()) this.guard(() => vad.session.close());
    this.vads.clear();
    this.hold?.();
    this.hold = null;
  }

  /** What the node heard so far is forgotten; one that never answered a frame is given up with it. */
  reset(node: string): void {
    const vad = this.vads.get(node);
    if (vad !== undefined && vad.command !== 0) {
      vad.command = 0;
      this.vadAnswered();
      this.vads.delete(node);
      this.guard(() => vad.session.close());
    } else this.guard(() => vad?.session.reset());
  }

  event(effect: EffectOf<"node_event">): void {
    const { command, node, mediaUs, durationUs, format } = effect;
    const { payloads } = this.host;
    const bytes = payloads.audio(effect.payload.ref);
    const stampNs = payloads.stampOf(effect.payload.ref);
    if (bytes === null) return this.nodeFailed(command, "payload_missing");
    const fits = format.codec === "pcm_s16le" && format.rateHz === VAD_RATE_HZ && format.channels === 1;
    if (!fits || bytes.length !== VAD_FRAME_BYTES)
      return this.nodeFailed(command, "vad_needs_20_ms_of_16_khz_mono_pcm");
    // One event in flight per node (kernel.md §1).
    if ((this.vads.get(node)?.command ?? 0) !== 0) return this.nodeFailed(command, "vad_busy");
    this.holdForVad();
    let vad: VadNode | null = null;
    try {
      vad = this.vadOf(node);
      vad.command = command;
      vad.mediaUs = mediaUs;
      vad.durationUs = durationUs;
      vad.stampNs = stampNs;
      vad.askedNs = command % TIMED_COMMANDS === 0 ? this.host.clock.nowNs() : 0;
      vad.session.push(bytes, vad.onResult);
    } catch (error) {
      if (vad !== null) vad.command = 0;
      this.vadAnswered();
      this.host.logger.error({ node_id: node, ...describeFailure(error) }, "vad threw");
      this.nodeFailed(command, "vad_threw");
    }
  }

  private vadResult(vad: VadNode, result: VadResult): void {
    if (this.closed || vad.command === 0) return;
    const { command, mediaUs, durationUs, stampNs } = vad;
    vad.command = 0;
    this.vadAnswered();
    const { speech, probability } = result;
    if (speech) this.host.measures.anchors.voiced(stampNs);
    if (vad.askedNs > 0) this.host.measures.hostAnswered(vad.node, this.host.clock.nowNs() - vad.askedNs);
    const body = { type: "activity", speech, probability, mediaUs, durationUs } as const;
    this.host.submit({ type: "node_emitted", command, index: 0, port: "activity", body });
    this.host.submit({ type: "node_done", command });
  }

  /** A detector may answer later, in real time: virtual time must not pass meanwhile. */
  private holdForVad(): void {
    this.pending += 1;
    this.hold ??= this.host.clock.hold();
  }

  private vadAnswered(): void {
    this.pending -= 1;
    if (this.pending > 0) return;
    this.hold?.();
    this.hold = null;
  }

  private vadOf(node: string): VadNode {
    const known = this.vads.get(node);
    if (known !== undefined) return known;
    if (this.host.vad === null) throw new Error("no voice activity detector");
    const { settings = {} } = this.host.config.graph.nodes.find(({ id }) => id === node) ?? {};
    const session = this.host.vad.openSession(settings.silero === "off" ? "off" : "auto");
    const made: VadNode = {
      node,
      session,
      command: 0,
      mediaUs: 0,
      durationUs: 0,
      stampNs: 0,
      askedNs: 0,
      onResult: (result) => this.vadResult(made, result),
    };
    this.vads.set(node, made);
    return made;
  }

  private nodeFailed(command: number, reason: string): void {
    this.host.submit({ type: "node_failed", command, reason });
  }

  private guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.host.logger.error(describeFailure(error), "port threw");
    }
  }
}
