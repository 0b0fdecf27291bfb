/**
 * The loopback transport (F-130): one caller with a microphone and a loudspeaker in the clock's time, behind the same port
 * as every other adapter. With a virtual clock it runs as fast as possible, with the system's in real time.
 */
import { invariant } from "@rspp/base/invariant";
import type { Clock } from "@rspp/ports/clock";
import type { AudioFormat } from "@rspp/ports/provider";
import type { SessionEnd, TransportEgress, TransportEnd, TransportIngress } from "@rspp/ports/transport";
import { type CallerCodec, plainCallerCodec, RUNTIME_FORMAT } from "./caller-codec.ts";
import { type CallerCounts, CallerLine, type ControlExtras } from "./caller-line.ts";
import { CALLER_RATE_HZ, HEARD_MESSAGES_MAX, PLAYOUT_BUFFER_MS_MAX } from "./limits.ts";
import { CALLER_FRAME_SAMPLES, Microphone, type SpeakOptions, type Spoken } from "./microphone.ts";
import type { Output } from "./outputs.ts";
import type { PlayedChunk } from "./playout.ts";
import { type FenceApplied, PlayoutLane, type PlayoutLaneCounts } from "./playout-lane.ts";
import { createReceiverGate, type Refusal, type RefusalReason } from "./receiver-gate.ts";
import { createRecorder, type PlayedRange, type Recorder } from "./recorder.ts";
import { createSampleClock, type SampleClock } from "./sample-clock.ts";

export interface LoopbackOptions {
  clock: Clock;
  /** Authority epoch granted at the start; only it is believed until `raiseEpoch`. */
  epoch: number;
  /** Of the agent's audio, mono pcm_s16le; 16 kHz by default. Media of any other format is refused. */
  format?: AudioFormat;
  /** Start buffer of the loudspeaker, milliseconds, 0 to PLAYOUT_BUFFER_MS_MAX; 40 by default. */
  playoutBufferMs?: number;
  /** What the caller's device speaks; the runtime's own format by default. Closed by the adapter at the end. */
  codec?: CallerCodec;
  /** Every stretch that reached the loudspeaker. An observer: it must not call the adapter. */
  onPlayed?: (chunk: PlayedChunk) => void;
  /** Texts and signals of the runtime, holds included. */
  onMessage?: (message: LoopbackMessage) => void;
  onRefused?: (refusal: Refusal) => void;
  /** The runtime closed the session and everything it had sent was played or flushed. */
  onClosed?: (reason: string) => void;
}

export type LoopbackMessage = Extract<TransportEgress, { kind: "text" | "control" }>;

export interface LoopbackStats {
  playout: PlayoutLaneCounts;
  caller: CallerCounts;
  refused: Readonly<Record<RefusalReason, number>>;
  /** Samples of a fenced (turn, generation) that reached the loudspeaker after their fence: 0, always. */
  samplesAfterFence: number;
}

/** What was heard so far, up to now. */
export interface Recording {
  agent: Int16Array;
  agentRateHz: number;
  /** 16 kHz. */
  caller: Int16Array;
  ranges: readonly PlayedRange[];
}

/** Controls before `connect` or after `end` throw InvariantError: they are mistakes of the program that holds the phone. */
export interface LoopbackAdapter extends TransportEnd {
  /** Sends `connected` and starts the microphone. Once. */
  connect(session: SessionEnd): void;
  /** Puts 16 kHz mono speech into the microphone, after what is still to be spoken. */
  speak(pcm16k: Int16Array, options?: SpeakOptions): Spoken;
  /** Push to talk released (F-042); positioned after all audio that has begun. */
  endOfUtterance(): void;
  mute(): void;
  unmute(): void;
  dtmf(digits: string): void;
  /** The caller's stop button; overtaking. */
  stop(reason?: string): void;
  /** The connection falters: frames are lost, playout pauses, `reconnecting` is sent. */
  lose(reason?: string): void;
  /** The connection is gone: the queue is thrown away, open deliveries are lost, `disconnected` is sent. */
  disconnect(reason?: string): void;
  /** After `lose` or `disconnect`; sends `connected`. */
  reconnect(): void;
  /** The caller hangs up; sends `ended`. Idempotent. */
  end(reason?: string): void;
  /** A grant of the lease service: from now on only this epoch is believed. False when it would lower the floor. */
  raiseEpoch(epoch: number): boolean;
  recording(): Recording;
  stats(): LoopbackStats;
  refusals(): readonly Refusal[];
  fences(): readonly FenceApplied[];
  deliveries(): readonly Readonly<Output>[];
  messages(): readonly LoopbackMessage[];
}

/** Throws InvariantError for a format that is not mono pcm_s16le, or a buffer out of bounds. */
export function createLoopbackAdapter(options: LoopbackOptions): LoopbackAdapter {
  const { codec, channels } = options.format ?? RUNTIME_FORMAT;
  invariant(codec === "pcm_s16le" && channels === 1, "the loudspeaker takes mono pcm_s16le", options.format);
  const bufferMs = options.playoutBufferMs ?? 40;
  invariant(bufferMs >= 0 && bufferMs <= PLAYOUT_BUFFER_MS_MAX, "the start buffer is within its bound", bufferMs);
  return new Loopback(options, bufferMs);
}

type State = "new" | "connected" | "away" | "disconnected" | "ended";

/** What exists from `connect` on: both devices share one origin. */
interface Devices {
  session: SessionEnd;
  device: SampleClock;
  lane: PlayoutLane;
  microphone: Microphone;
  recorder: Recorder;
}

class Loopback implements LoopbackAdapter {
  readonly #options: LoopbackOptions;
  readonly #bufferMs: number;
  readonly #codec: CallerCodec;
  readonly #gate;
  readonly #line: CallerLine;
  readonly #outbox: TransportIngress[] = [];
  readonly #fences: FenceApplied[] = [];
  readonly #messages: LoopbackMessage[] = [];
  /** The clock as the devices see it: what a timer does is one operation. */
  readonly #timed: Clock;
  /** Operations under way, and whether the outbox is being emptied. */
  #depth = 0;
  #delivering = false;
  #devices: Devices | undefined;
  #state: State = "new";
  /** Why the runtime closed the session; what it had sent still plays. */
  #closing: string | undefined;
  #closedTold = false;

  constructor(options: LoopbackOptions, bufferMs: number) {
    this.#options = options;
    this.#bufferMs = bufferMs;
    this.#codec = options.codec ?? plainCallerCodec();
    this.#gate = createReceiverGate(options.epoch);
    this.#line = new CallerLine({
      clock: options.clock,
      codec: this.#codec,
      epoch: () => this.#gate.floor(),
      deliver: (message) => this.#outbox.push(message),
    });
    const { clock } = options;
    this.#timed = {
      nowNs: () => clock.nowNs(),
      wallMs: () => clock.wallMs(),
      timerAt: (atNs, fire) => clock.timerAt(atNs, () => this.#run(fire)),
      hold: () => clock.hold(),
    };
  }

  connect(session: SessionEnd): void {
    invariant(this.#state === "new", "an adapter is connected once", this.#state);
    const devices = this.#start(session);
    this.#devices = devices;
    this.#state = "connected";
    this.#run(() => {
      this.#line.overtaking("connected", {});
      devices.microphone.start();
    });
  }

  send(message: TransportEgress): void {
    this.#run(() => {
      const reason = this.#devices === undefined ? "closed" : this.#receive(this.#devices, message);
      if (reason === undefined) return;
      const refusal = this.#gate.refuse(message, reason, this.#options.clock.nowNs());
      this.#options.onRefused?.(refusal);
    });
  }

  speak(pcm16k: Int16Array, options: SpeakOptions = {}): Spoken {
    return this.#live().microphone.speak(pcm16k, options);
  }

  endOfUtterance(): void {
    this.#run(() => this.#positioned("end_of_utterance", {}));
  }

  mute(): void {
    this.#run(() => {
      this.#positioned("mute", {});
      this.#live().microphone.mute(true);
    });
  }

  unmute(): void {
    this.#run(() => {
      this.#live().microphone.mute(false);
      this.#positioned("unmute", {});
    });
  }

  dtmf(digits: string): void {
    this.#run(() => this.#positioned("dtmf", { fields: { "dtmf.digits": digits } }));
  }

  stop(reason = "caller_stopped"): void {
    this.#live();
    this.#run(() => this.#line.overtaking("stop", { reason }));
  }

  lose(reason = "connection_lost"): void {
    const { lane } = this.#live();
    invariant(this.#state === "connected", "only a connection can falter", this.#state);
    this.#run(() => {
      lane.pause(true);
      this.#line.overtaking("reconnecting", { reason });
      this.#state = "away";
    });
  }

  disconnect(reason = "connection_closed"): void {
    const { lane } = this.#live();
    if (this.#state === "disconnected") return;
    this.#run(() => {
      lane.lose();
      this.#line.overtaking("disconnected", { reason });
      this.#state = "disconnected";
    });
  }

  reconnect(): void {
    const { lane } = this.#live();
    invariant(this.#state !== "connected", "only a lost connection is made again", this.#state);
    this.#run(() => {
      lane.pause(false);
      this.#line.overtaking("connected", {});
      this.#state = "connected";
    });
  }

  end(reason = "caller_hung_up"): void {
    if (this.#state === "ended") return;
    const { lane, microphone } = this.#live();
    this.#run(() => {
      lane.lose();
      microphone.stop();
      // The frame in the making went with the microphone: the position is the last one sent.
      this.#line.positioned("ended", { reason }, undefined, false);
      this.#state = "ended";
      this.#codec.close();
    });
  }

  raiseEpoch(epoch: number): boolean {
    return this.#gate.raiseEpoch(epoch);
  }

  recording(): Recording {
    const nowNs = this.#options.clock.nowNs();
    if (this.#devices === undefined) {
      const agentRateHz = (this.#options.format ?? RUNTIME_FORMAT).rateHz;
      return { agent: new Int16Array(0), agentRateHz, caller: new Int16Array(0), ranges: [] };
    }
    const { lane, recorder, device } = this.#devices;
    this.#run(() => lane.advance());
    const ranges = recorder.ranges();
    return { agent: recorder.agent(nowNs), agentRateHz: device.rateHz, caller: recorder.caller(nowNs), ranges };
  }

  stats(): LoopbackStats {
    const { lane, microphone, recorder, device } = this.#known();
    this.#run(() => lane.advance());
    return {
      playout: lane.counts(),
      caller: { ...this.#line.counts(), framesSkipped: microphone.counts().skipped },
      refused: this.#gate.counts(),
      samplesAfterFence: samplesAfter(this.#fences, recorder.ranges(), device),
    };
  }

  refusals(): readonly Refusal[] {
    return this.#gate.refusals();
  }

  fences(): readonly FenceApplied[] {
    return this.#fences;
  }

  deliveries(): readonly Readonly<Output>[] {
    return this.#devices?.lane.outputs() ?? [];
  }

  messages(): readonly LoopbackMessage[] {
    return this.#messages;
  }

  #start(session: SessionEnd): Devices {
    const { format = RUNTIME_FORMAT } = this.#options;
    const clock = this.#timed;
    const originNs = clock.nowNs();
    const device = createSampleClock(originNs, format.rateHz);
    const callerDevice = createSampleClock(originNs, CALLER_RATE_HZ);
    const recorder = createRecorder(device, callerDevice);
    const microphone = new Microphone({
      clock,
      device: callerDevice,
      onFrame: (frame) => {
        if (frame.voiced) recorder.said(frame.index * CALLER_FRAME_SAMPLES, frame.samples);
        this.#line.frame(frame, this.#state === "connected");
      },
    });
    const lane = new PlayoutLane({
      clock,
      device,
      gate: this.#gate,
      format,
      bufferMs: this.#bufferMs,
      deliver: (message) => this.#outbox.push(message),
      onPlayed: (chunk) => {
        recorder.played(chunk);
        this.#options.onPlayed?.(chunk);
      },
    });
    return { session, device, lane, microphone, recorder };
  }

  /** Why `message` is refused, or undefined when it was taken. */
  #receive(devices: Devices, message: TransportEgress): RefusalReason | undefined {
    const epoch = this.#gate.epochRefusal(message);
    const gone = this.#closing !== undefined || this.#state === "ended" || this.#state === "disconnected";
    switch (message.kind) {
      case "media":
        return devices.lane.media(message, epoch ?? (gone ? "closed" : undefined));
      case "fence": {
        // A fence is never too late: also a closed or lost session acknowledges it.
        if (epoch !== undefined) return epoch;
        const applied = devices.lane.fence(message);
        if (this.#fences.length < HEARD_MESSAGES_MAX) this.#fences.push(applied);
        return undefined;
      }
      case "control":
      case "text":
        if (epoch !== undefined) return epoch;
        this.#message(devices.lane, message);
        return undefined;
      case "close":
        if (epoch !== undefined) return epoch;
        this.#closing ??= message.reason;
        devices.microphone.stop();
        devices.lane.resume();
        devices.lane.pause(false);
        return undefined;
    }
  }

  #message(lane: PlayoutLane, message: LoopbackMessage): void {
    if (message.kind === "control" && message.signal === "output_hold") lane.hold(message.turn);
    if (message.kind === "control" && message.signal === "output_resume") lane.resume();
    if (this.#messages.length < HEARD_MESSAGES_MAX) this.#messages.push(message);
    this.#options.onMessage?.(message);
  }

  #positioned(signal: string, extras: ControlExtras): void {
    const { microphone } = this.#live();
    this.#line.positioned(signal, extras, microphone, this.#state === "connected");
  }

  /**
   * One operation. The runtime hears of it when it is over, in order, so that whatever it sends from inside `receive`
   * meets devices at rest.
   */
  #run(operation: () => void): void {
    this.#depth += 1;
    try {
      operation();
    } finally {
      this.#depth -= 1;
    }
    if (this.#depth > 0 || this.#delivering) return;
    this.#delivering = true;
    try {
      for (let next = this.#outbox.shift(); next !== undefined; next = this.#outbox.shift()) {
        this.#devices?.session.receive(next);
      }
    } finally {
      this.#delivering = false;
    }
    this.#tellClosed();
  }

  #tellClosed(): void {
    if (this.#closing === undefined || this.#closedTold || this.#devices?.lane.empty() !== true) return;
    this.#closedTold = true;
    this.#options.onClosed?.(this.#closing);
  }

  #known(): Devices {
    invariant(this.#devices !== undefined, "the adapter is connected first", this.#state);
    return this.#devices;
  }

  #live(): Devices {
    invariant(this.#state !== "ended", "the caller has hung up", this.#state);
    return this.#known();
  }
}

function samplesAfter(fences: readonly FenceApplied[], ranges: readonly PlayedRange[], device: SampleClock): number {
  let samples = 0;
  for (const fence of fences) {
    const cut = device.samplesAt(fence.atNs);
    for (const range of ranges) {
      const ofTurn = range.turn === fence.turn && range.generation < fence.generation;
      const earlier = fence.all && range.turn > 0 && range.turn < fence.turn;
      if (ofTurn || earlier) samples += Math.max(0, range.endSample - Math.max(cut, range.startSample));
    }
  }
  return samples;
}
