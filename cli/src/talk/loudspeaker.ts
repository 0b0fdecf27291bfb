/** Where the agent's voice goes: paced as a device would play it, kept for the WAV, and to a real device where there is one. */
import { createPacedPlayer, type PacedPlayer } from "@rspp/client/paced-player";
import type { ClientHost, Cut, OutputFrame, Played, Player } from "@rspp/client/types";

export const rateHz = 16_000;
/** Samples kept for the WAV: an hour. */
const samplesMax = 3_600 * rateHz;

export interface LoudspeakerOptions {
  host: ClientHost;
  onFrame(frame: OutputFrame): void;
  onPlayed(played: Played): void;
  /** A real device; it is given what is heard from now on. */
  device: ((samples: Int16Array) => void) | null;
}

/** Records what is heard at the time it is heard, so that the WAV tells the pauses as well. */
export class Loudspeaker implements Player {
  readonly #options: LoudspeakerOptions;
  readonly #paced: PacedPlayer;
  readonly #startMs: number;
  #chunks: Int16Array[] = [];
  #length = 0;
  #last: { turn: number; generation: number; endUs: number; startSample: number; offsetUs: number } | null = null;

  constructor(options: LoudspeakerOptions) {
    this.#options = options;
    this.#startMs = options.host.nowMs();
    this.#paced = createPacedPlayer({
      host: options.host,
      onFrame: (frame) => this.#heard(frame),
      onPlayed: options.onPlayed,
    });
  }

  play(frame: OutputFrame): void {
    this.#paced.play(frame);
  }

  flush(cut: Cut): { playedUs: number; flushedFrames: number } {
    const flushed = this.#paced.flush(cut);
    const last = this.#last;
    // The frame in flight was noted whole when it began: only what was played of it was heard.
    if (last !== null && last.turn === cut.turn && flushed.playedUs < last.endUs) {
      const heardUs = Math.max(0, flushed.playedUs - last.offsetUs);
      this.#cutTo(last.startSample + Math.round((heardUs * rateHz) / 1e6));
      this.#last = null;
    }
    return flushed;
  }

  hold(turn: number): void {
    this.#paced.hold(turn);
  }

  resume(): void {
    this.#paced.resume();
  }

  close(): void {
    this.#paced.close();
  }

  /** Everything that was heard, pauses included. */
  recording(): Int16Array {
    const samples = new Int16Array(this.#length);
    let at = 0;
    for (const chunk of this.#chunks) {
      samples.set(chunk, at);
      at += chunk.length;
    }
    return samples;
  }

  #heard(frame: OutputFrame): void {
    this.#options.onFrame(frame);
    const { data, turn, generation, offsetUs, durationUs } = frame;
    if (data.byteLength < 2) return;
    const samples = new Int16Array(new Uint8Array(data).buffer, 0, data.byteLength >> 1);
    this.#options.device?.(samples);
    const last = this.#last;
    const goesOn = last?.turn === turn && last.generation === generation && last.endUs === offsetUs;
    if (!goesOn) this.#pauseUntil(this.#options.host.nowMs());
    this.#last = { turn, generation, endUs: offsetUs + durationUs, startSample: this.#length, offsetUs };
    this.#append(samples);
  }

  #pauseUntil(nowMs: number): void {
    const wanted = Math.round(((nowMs - this.#startMs) * rateHz) / 1_000);
    if (wanted > this.#length) this.#append(new Int16Array(Math.min(wanted, samplesMax) - this.#length));
  }

  #append(samples: Int16Array): void {
    if (samples.length === 0 || this.#length + samples.length > samplesMax) return;
    this.#chunks.push(samples);
    this.#length += samples.length;
  }

  #cutTo(length: number): void {
    while (this.#length > length) {
      const chunk = this.#chunks.pop();
      if (chunk === undefined) return;
      this.#length -= chunk.length;
      const kept = length - this.#length;
      if (kept > 0) this.#append(chunk.slice(0, kept));
    }
  }
}
