/** A browser's audio without a browser: its clock is the host's, and what it would play can be read off. */
import type { AudioContextLike, AudioNodeLike, BufferSourceLike } from "../browser/web-audio.ts";
import type { FakeHost } from "./fake-host.ts";

export interface Sound {
  readonly startS: number;
  readonly samples: Float32Array;
  endS: number;
}

const node: AudioNodeLike = { connect: () => {}, disconnect: () => {} };

export class FakeAudio implements AudioContextLike {
  readonly sampleRate = 16_000;
  outputLatency = 0;
  readonly destination = node;
  readonly modules: string[] = [];
  readonly audioWorklet = { addModule: async (url: string): Promise<void> => void this.modules.push(url) };
  readonly sounds: Sound[] = [];
  readonly #host: FakeHost;

  constructor(host: FakeHost) {
    this.#host = host;
  }

  get currentTime(): number {
    return this.#host.nowMs() / 1_000;
  }

  /** Seconds of sound that came out between two instants. */
  heardS(fromS: number, toS: number): number {
    return this.sounds.reduce((sum, s) => sum + Math.max(0, Math.min(s.endS, toS) - Math.max(s.startS, fromS)), 0);
  }

  createBuffer(_channels: number, samples: number): { data: Float32Array; copyToChannel(from: Float32Array): void } {
    const data = new Float32Array(samples);
    return { data, copyToChannel: (from) => data.set(from) };
  }

  createBufferSource(): BufferSourceLike {
    let sound: Sound | null = null;
    const source: BufferSourceLike = {
      ...node,
      buffer: null,
      start: (when = 0) => {
        const samples = (source.buffer as { data: Float32Array }).data;
        sound = { startS: when, samples, endS: when + samples.length / this.sampleRate };
        this.sounds.push(sound);
      },
      stop: () => {
        if (sound !== null) sound.endS = Math.min(sound.endS, Math.max(sound.startS, this.currentTime));
      },
    };
    return source;
  }

  createMediaStreamSource(): AudioNodeLike {
    return node;
  }
}
