import type { AudioFormat } from "@rspp/ports/provider";
import type { SessionEnd, TransportEgress, TransportIngress } from "@rspp/ports/transport";
import { createLoopbackAdapter, type LoopbackAdapter, type LoopbackOptions } from "../adapter.ts";
import { ManualClock } from "./manual-clock.ts";

export const FORMAT: AudioFormat = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 };

export interface Heard {
  atNs: number;
  message: TransportIngress;
}

/** An adapter joined to a session that only listens. */
export interface Rig {
  clock: ManualClock;
  adapter: LoopbackAdapter;
  heard: Heard[];
  audio(): Extract<TransportIngress, { kind: "audio" }>[];
  controls(): Extract<TransportIngress, { kind: "control" }>[];
  /** Deliveries and acknowledgements as short lines: `ms turn.generation what playedUs`. */
  story(): string[];
}

export function rig(options: Partial<LoopbackOptions> = {}, onReceive?: SessionEnd["receive"]): Rig {
  const clock = new ManualClock();
  const adapter = createLoopbackAdapter({ clock, epoch: 1, playoutBufferMs: 0, ...options });
  const heard: Heard[] = [];
  adapter.connect({
    receive(message) {
      heard.push({ atNs: clock.nowNs(), message });
      onReceive?.(message);
    },
  });
  const messages = () => heard.map((h) => h.message);
  return {
    clock,
    adapter,
    heard,
    audio: () => messages().filter((m) => m.kind === "audio"),
    controls: () => messages().filter((m) => m.kind === "control"),
    story: () => heard.flatMap(({ atNs, message }) => line(atNs, message)),
  };
}

function line(atNs: number, m: TransportIngress): string[] {
  const ms = Math.floor(atNs / 1e6);
  if (m.kind === "delivery") return [`${ms} ${m.turn}.${m.generation} ${m.state} ${m.playedUs}`];
  if (m.kind === "fence_ack") return [`${ms} ${m.turn}.${m.generation} ack ${m.playedUs} flushed ${m.flushed}`];
  return [];
}

export interface FrameOptions {
  turn?: number;
  generation?: number;
  epoch?: number;
  samples?: Int16Array;
  end?: boolean;
  format?: AudioFormat;
}

/** Frame `sequence` (from 1) of 20 ms of a turn; its samples all carry the value `turn`. */
export function frame(sequence: number, options: FrameOptions = {}): Extract<TransportEgress, { kind: "media" }> {
  const { turn = 1, generation = 1, epoch = 1, end = false, format = FORMAT } = options;
  const samples = options.samples ?? new Int16Array(format.rateHz / 50).fill(turn);
  const bytes = new Uint8Array(samples.slice().buffer);
  const offsetUs = (sequence - 1) * 20_000;
  const durationUs = (samples.length * 1e6) / format.rateHz;
  return { kind: "media", epoch, turn, generation, sequence, offsetUs, durationUs, format, bytes, end };
}

export function fence(
  turn: number,
  generation: number,
  options: { all?: boolean; epoch?: number } = {},
): Extract<TransportEgress, { kind: "fence" }> {
  const { all = false, epoch = 1 } = options;
  return { kind: "fence", epoch, turn, generation, all, reason: "barge_in" };
}

export function control(signal: string, turn = 1): Extract<TransportEgress, { kind: "control" }> {
  return { kind: "control", epoch: 1, signal, turn, reason: "candidate" };
}
