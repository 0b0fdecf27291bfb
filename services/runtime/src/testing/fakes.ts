/** Ports for tests of the shell alone; simulated throughout, nothing here serves production. */
import { asMonoNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { Invocation, InvocationInput, InvocationOpen, InvocationSink, ProviderPort } from "@rspp/ports/provider";
import type { SessionEnd, TransportEgress, TransportEnd } from "@rspp/ports/transport";
import type { VadPort } from "@rspp/ports/vad";

export const PCM = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
const frameUs = 20_000;
const frameBytes = 640;
const ms = 1_000_000;

export interface FakeProviders extends ProviderPort {
  /** Open requests and cancels, in order. */
  readonly log: string[];
  readonly sinks: InvocationSink[];
}

/** STT hears `heard`, LLM answers `answer` word by word, TTS speaks 60 ms a character; each chunk `delayMs` after the last. */
export function fakeProviders(
  clock: Clock,
  options: { heard?: string; answer?: string; delayMs?: number } = {},
): FakeProviders {
  const log: string[] = [];
  const sinks: InvocationSink[] = [];
  const delayNs = (options.delayMs ?? 1) * ms;
  return {
    log,
    sinks,
    open(request, sink) {
      log.push(`open ${request.modality} ${request.turn}`);
      sinks.push(sink);
      return new FakeInvocation(
        request,
        sink,
        clock,
        delayNs,
        options.heard ?? "hello",
        options.answer ?? "Hi there.",
        log,
      );
    },
    providers: () => ["sim/stt", "sim/llm", "sim/tts"],
    close: () => Promise.resolve(),
  };
}

class FakeInvocation implements Invocation {
  private readonly request: InvocationOpen;
  private readonly sink: InvocationSink;
  private readonly clock: Clock;
  private readonly delayNs: number;
  private readonly heard: string;
  private readonly answer: string;
  private readonly log: string[];
  private readonly steps: (() => void)[] = [];
  private timer: TimerHandle | null = null;
  private done = false;

  constructor(
    request: InvocationOpen,
    sink: InvocationSink,
    clock: Clock,
    delayNs: number,
    heard: string,
    answer: string,
    log: string[],
  ) {
    this.request = request;
    this.sink = sink;
    this.clock = clock;
    this.delayNs = delayNs;
    this.heard = heard;
    this.answer = answer;
    this.log = log;
  }

  push(input: InvocationInput): void {
    if (input.kind === "messages") {
      for (const word of this.answer.split(/(?<= )/)) this.later(() => this.text(word, 0, false));
    } else if (input.kind === "text") this.speak(input.text, input.segment);
  }

  finish(): void {
    if (this.request.modality === "stt") this.later(() => this.text(this.heard, 0, true));
    this.later(() => this.end("success", ""));
  }

  cancel(reason: string): void {
    this.log.push(`cancel ${this.request.modality} ${this.request.turn} ${reason}`);
    this.end("cancelled", reason);
  }

  private text(text: string, segment: number, final: boolean): void {
    this.sink.chunk({ kind: "text", text, segment, revision: 1, final });
  }

  private speak(text: string, segment: number): void {
    const frames = text.length * 3;
    for (let i = 0; i < frames; i++) {
      const bytes = new Uint8Array(frameBytes).fill(1);
      const chunk = { kind: "audio", bytes, format: PCM, durationUs: frameUs, segment } as const;
      this.later(() => this.sink.chunk({ ...chunk, segmentEnd: i === frames - 1, segmentChars: text.length }));
    }
  }

  private end(kind: "success" | "cancelled", detail: string): void {
    if (this.done) return;
    this.done = true;
    this.timer?.clear();
    this.sink.outcome({ kind, detail });
  }

  private later(act: () => void): void {
    this.steps.push(act);
    if (this.timer === null) this.arm();
  }

  private arm(): void {
    this.timer = this.clock.timerAt(asMonoNs(this.clock.nowNs() + this.delayNs), () => {
      this.timer = null;
      if (this.done) return;
      this.steps.shift()?.();
      if (this.steps.length > 0) this.arm();
    });
  }
}

/** Speech is any frame whose first byte is not 0. */
export function fakeVad(): VadPort {
  return {
    name: "fake",
    openSession: () => ({
      push(frame, onResult) {
        const speech = frame[0] !== 0;
        onResult({ speech, probability: speech ? 1 : 0 });
      },
      reset() {},
      close() {},
    }),
    close() {},
  };
}

/** An adapter with an exact playout under the clock: plays each turn's frames one after another, flushes at a fence. */
export class FakeTransport implements TransportEnd {
  session: SessionEnd | null = null;
  readonly sent: TransportEgress[] = [];
  readonly played: { turn: number; atNs: number }[] = [];
  private readonly clock: Clock;
  private readonly queue: Extract<TransportEgress, { kind: "media" }>[] = [];
  private playing: TimerHandle | null = null;
  private readonly playedUs = new Map<number, number>();
  private audioSequence = 0;
  private controlSequence = 0;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  send(message: TransportEgress): void {
    this.sent.push(message);
    if (message.kind === "media") {
      this.queue.push(message);
      if (this.playing === null) this.play();
    } else if (message.kind === "fence") this.fence(message);
  }

  /** One 20 ms frame of the caller. */
  frame(speech: boolean): void {
    const sequence = ++this.audioSequence;
    const bytes = new Uint8Array(frameBytes).fill(speech ? 1 : 0);
    const mediaUs = (sequence - 1) * frameUs;
    this.session?.receive({ kind: "audio", epoch: 1, sequence, mediaUs, durationUs: frameUs, format: PCM, bytes });
  }

  control(signal: string, reason = ""): void {
    const sequence = ++this.controlSequence;
    const lastMediaSequence = this.audioSequence;
    this.session?.receive({
      kind: "control",
      epoch: 1,
      sequence,
      signal,
      controlClass: "overtaking",
      lastMediaSequence,
      reason,
    });
  }

  signals(): string[] {
    return this.sent.flatMap((m) => (m.kind === "control" ? [m.turn === 0 ? m.signal : `${m.signal}/${m.turn}`] : []));
  }

  private play(): void {
    const frame = this.queue.shift();
    if (frame === undefined) {
      this.playing = null;
      return;
    }
    const { turn, generation } = frame;
    const before = this.playedUs.get(turn);
    if (before === undefined) {
      this.playedUs.set(turn, 0);
      this.report(turn, generation, "accepted");
      this.report(turn, generation, "started");
    }
    this.playing = this.clock.timerAt(asMonoNs(this.clock.nowNs() + frame.durationUs * 1_000), () => {
      if (frame.durationUs > 0) this.played.push({ turn, atNs: this.clock.nowNs() });
      this.playedUs.set(turn, (this.playedUs.get(turn) ?? 0) + frame.durationUs);
      if (frame.end) this.report(turn, generation, "completed");
      this.play();
    });
  }

  private fence(fence: Extract<TransportEgress, { kind: "fence" }>): void {
    const { turn, generation } = fence;
    const before = this.queue.length;
    const kept = this.queue.filter((m) => m.turn > turn || (m.turn === turn && m.generation >= generation));
    this.queue.splice(0, before, ...kept);
    this.playing?.clear();
    this.playing = null;
    this.play();
    const playedUs = this.playedUs.get(turn) ?? 0;
    this.session?.receive({ kind: "fence_ack", epoch: 1, turn, generation, playedUs, flushed: before - kept.length });
  }

  private report(turn: number, generation: number, state: "accepted" | "started" | "completed"): void {
    const playedUs = this.playedUs.get(turn) ?? 0;
    this.session?.receive({ kind: "delivery", epoch: 1, turn, generation, state, playedUs });
  }
}
