/**
 * The parts of the browser's audio that are used here. A page's own AudioContext fits; written down because this room
 * compiles without the browser's types, and because tests stand in for them.
 */

export interface AudioNodeLike {
  connect(destination: never): unknown;
  disconnect(): void;
}

export interface BufferSourceLike extends AudioNodeLike {
  buffer: unknown;
  /** `when` in seconds of the context. */
  start(when?: number): void;
  stop(when?: number): void;
}

export interface AudioBufferLike {
  copyToChannel(source: Float32Array<ArrayBuffer>, channel: number): void;
}

export interface AudioContextLike {
  readonly sampleRate: number;
  /** Seconds. */
  readonly currentTime: number;
  /** Seconds from the context to the listener's ear; some browsers do not tell. */
  readonly outputLatency?: number;
  readonly destination: AudioNodeLike;
  readonly audioWorklet: { addModule(url: string): Promise<void> };
  createBuffer(channels: number, samples: number, rateHz: number): AudioBufferLike;
  createBufferSource(): BufferSourceLike;
  createMediaStreamSource(stream: never): AudioNodeLike;
}

export interface MediaStreamLike {
  getTracks(): { stop(): void }[];
}

export interface WorkletNodeLike extends AudioNodeLike {
  readonly port: { onmessage: ((event: { data: unknown }) => void) | null; postMessage(message: unknown): void };
}

/** What of the page's globals is used. */
export interface BrowserGlobals {
  readonly AudioWorkletNode?: new (context: never, name: string, options: object) => WorkletNodeLike;
  readonly navigator?: {
    readonly mediaDevices?: { getUserMedia(constraints: object): Promise<MediaStreamLike> };
  };
}
