/** What was really heard, as one timeline per direction, silence and gaps included; and who played when. */
import { writeFile } from "node:fs/promises";
import { interleave } from "@rspp/audio/pcm";
import { resample } from "@rspp/audio/resample";
import { writeWav } from "@rspp/audio/wav";
import type { MonoNs } from "@rspp/base/brand";
import { CALLER_RATE_HZ, RECORD_MS_MAX, RECORD_RANGES_MAX } from "./limits.ts";
import type { PlayedChunk } from "./playout.ts";
import type { SampleClock } from "./sample-clock.ts";

/** An unbroken stretch of one turn's output in the listener's ear. */
export interface PlayedRange {
  turn: number;
  generation: number;
  /** Media time within the turn's output, microseconds. */
  fromUs: number;
  toUs: number;
  startNs: MonoNs;
  /** The first instant after the last sample. */
  endNs: MonoNs;
  /** Device samples: `startSample` inclusive, `endSample` exclusive. */
  startSample: number;
  endSample: number;
}

interface Piece {
  start: number;
  samples: Int16Array;
}

export interface Recorder {
  played(chunk: PlayedChunk): void;
  said(startSample: number, samples: Int16Array): void;
  ranges(): readonly PlayedRange[];
  /** The agent's side from the session's start to `untilNs`, at the playout's rate. */
  agent(untilNs: MonoNs): Int16Array;
  /** The caller's side from the session's start to `untilNs`, at 16 kHz. */
  caller(untilNs: MonoNs): Int16Array;
  /** Samples not kept because RECORD_MS_MAX was reached. */
  lost(): number;
}

/** `playout` and `microphone` share their origin, so that both timelines begin together. */
export function createRecorder(playout: SampleClock, microphone: SampleClock): Recorder {
  const agent = createTrack(playout.rateHz);
  const caller = createTrack(microphone.rateHz);
  const ranges: PlayedRange[] = [];
  return {
    played(chunk) {
      extendRanges(ranges, chunk, playout);
      agent.put({ start: chunk.startSample, samples: chunk.samples });
    },
    said: (start, samples) => caller.put({ start, samples }),
    ranges: () => ranges,
    agent: (untilNs) => agent.render(playout.samplesAt(untilNs)),
    caller: (untilNs) => caller.render(microphone.samplesAt(untilNs)),
    lost: () => agent.lost() + caller.lost(),
  };
}

/** The listener's view as a mono WAV. */
export async function writeReplyWav(path: string, agent: Int16Array, rateHz: number): Promise<void> {
  await writeFile(path, writeWav(agent, { rateHz, channels: 1 }));
}

/** Both sides at 16 kHz: caller left, agent right. */
export async function writeStereoWav(
  path: string,
  caller: Int16Array,
  agent: Int16Array,
  agentRateHz: number,
): Promise<void> {
  const right =
    agentRateHz === CALLER_RATE_HZ
      ? agent
      : await resample(agent, { inRateHz: agentRateHz, outRateHz: CALLER_RATE_HZ });
  await writeFile(path, writeWav(interleave(caller, right), { rateHz: CALLER_RATE_HZ, channels: 2 }));
}

function createTrack(rateHz: number) {
  const samplesMax = (RECORD_MS_MAX * rateHz) / 1000;
  const pieces: Piece[] = [];
  let lost = 0;
  return {
    put(piece: Piece): void {
      // By position, not by amount: so the timeline never outgrows the limit either.
      if (piece.start + piece.samples.length > samplesMax) lost += piece.samples.length;
      else pieces.push(piece);
    },
    render(length: number): Int16Array {
      const out = new Int16Array(Math.min(length, samplesMax));
      for (const { start, samples } of pieces) {
        if (start < out.length) out.set(samples.subarray(0, out.length - start), start);
      }
      return out;
    },
    lost: () => lost,
  };
}

function extendRanges(ranges: PlayedRange[], chunk: PlayedChunk, clock: SampleClock): void {
  const { turn, generation, startSample, fromUs, toUs } = chunk;
  const endSample = startSample + chunk.samples.length;
  const last = ranges.at(-1);
  // One microsecond of rounding is no break in media time.
  const follows = last?.turn === turn && last.generation === generation && last.endSample === startSample;
  if (last !== undefined && follows && Math.abs(last.toUs - fromUs) <= 1) {
    last.endSample = endSample;
    last.toUs = toUs;
    last.endNs = clock.instantOf(endSample);
    return;
  }
  if (ranges.length >= RECORD_RANGES_MAX) return;
  const instants = { startNs: clock.instantOf(startSample), endNs: clock.instantOf(endSample) };
  ranges.push({ turn, generation, fromUs, toUs, startSample, endSample, ...instants });
}
