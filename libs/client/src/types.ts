/** What a program that talks to RSPP sees: plain values, no generated types. */

export interface AudioFormat {
  codec: "pcm_s16le" | "mulaw" | "alaw" | "opus";
  rateHz: number;
  channels: number;
}

/** A frame of the agent's voice. */
export interface OutputFrame {
  turn: number;
  generation: number;
  /** From 1 within the turn's output. */
  sequence: number;
  /** Media time within the turn's output and length, microseconds. */
  offsetUs: number;
  durationUs: number;
  format: AudioFormat;
  data: Uint8Array;
  /** The last of the turn; `data` may be empty. */
  end: boolean;
}

/** Everything of `turn` below `generation`, and of every earlier turn where `allEarlier`, is not to be heard any more. */
export interface Cut {
  turn: number;
  generation: number;
  allEarlier: boolean;
  reason: string;
}

export interface Played {
  turn: number;
  generation: number;
  state: "playing" | "completed" | "lost";
  /** Media time of the turn's output that was really played, microseconds. */
  playedUs: number;
}

/** Where the agent's voice goes. A program with a device of its own implements it; `createPacedPlayer` is one ready made. */
export interface Player {
  /** Takes a frame; it may be played at once or queued. */
  play(frame: OutputFrame): void;
  /** Drops what is held, at once; nothing of the cut is heard after it returns. */
  flush(cut: Cut): { playedUs: number; flushedFrames: number };
  /** Output of `turn` and earlier waits (0: all), until `resume`. */
  hold(turn: number): void;
  resume(): void;
  /** The call is over: nothing more comes. What is held may play to its end. */
  close(): void;
}

export interface TextEvent {
  turn: number;
  role: "user" | "assistant" | "system" | "tool" | "";
  text: string;
  segment: number;
  revision: number;
  final: boolean;
  /** True while the text may still change. */
  eventId: string;
}

export interface TurnEvent {
  turn: number;
  phase: "open" | "commit" | "abort" | "close";
  reason: string;
}

export interface ControlEvent {
  /** As in the contract, lower case, e.g. `turn_open`, `drop_notice`. */
  signal: string;
  turn: number;
  reason: string;
}

export interface MetricsEvent {
  turn: number;
  samples: readonly { name: string; value: number; node: string }[];
}

export interface DebugEvent {
  topic: string;
  message: string;
  fields: Readonly<Record<string, string>>;
}

export interface ErrorEvent {
  /** Entry of the catalogue, e.g. `schema_validation_error`. */
  reason: string;
  /** Fields that were wrong, with what to do. */
  fields: readonly { field: string; message: string }[];
  remedy: string;
}

export interface StateEvent {
  state: "open" | "reconnecting" | "closed";
  reason: string;
}

export interface ClientEvents {
  text: TextEvent;
  turn: TurnEvent;
  control: ControlEvent;
  metrics: MetricsEvent;
  debug: DebugEvent;
  error: ErrorEvent;
  flush: Cut;
  state: StateEvent;
}

/** Time and chance; a browser's and Node's by default. */
export interface ClientHost {
  /** Milliseconds, monotonic. */
  nowMs(): number;
  setTimer(fire: () => void, ms: number): unknown;
  clearTimer(timer: unknown): void;
  /** From 0 to below 1: spreads reconnects. */
  random(): number;
}

/** The part of the WHATWG WebSocket that is used. */
export interface SocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  readonly protocol: string;
  send(data: Uint8Array<ArrayBuffer> | string): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
}

/** A browser's, Node's or the package ws's; typed loosely, because each has event types of its own. */
export type SocketConstructor = new (url: string, protocols: string[]) => object;

export interface ClientOptions {
  /** Default binary. */
  encoding?: "binary" | "json";
  /** What `sendAudio` is given; default pcm_s16le, 16 kHz, mono. */
  inputFormat?: AudioFormat;
  /** What the agent's frames shall be; default pcm_s16le, 16 kHz, mono. */
  outputFormat?: AudioFormat;
  /** Every frame of the agent's voice when it is due to be heard. Not needed with a player of one's own. */
  onAudio?: (frame: OutputFrame) => void;
  /** A player of one's own, or what makes it when it is given the way to say what was played. */
  player?: Player | ((onPlayed: (played: Played) => void) => Player);
  wantMetrics?: boolean;
  wantDebug?: boolean;
  /** Come back by itself after a cut; default true. */
  resume?: boolean;
  /** From the call of `connect` to the open session, milliseconds; default 10000. */
  openTimeoutMs?: number;
  /** Between two pings, milliseconds; default 5000. Without any answer for three of them the connection counts as cut. */
  pingMs?: number;
  WebSocket?: SocketConstructor;
  host?: ClientHost;
}
