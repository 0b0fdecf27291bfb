/**
 * What every vendor's fake is to the tests: a server that speaks the vendor's published protocol strictly, fails as told,
 * and keeps what it was asked. Written from the vendor's documentation, never from our adapter.
 */

export const faults = [
  "none",
  /** Nothing is answered at all. */
  "timeout_before",
  /** The answer begins, then nothing more comes and nothing is closed. */
  "timeout_midway",
  /** 401 in the vendor's own form. */
  "unauthorized",
  /** 429 with the vendor's headers. */
  "rate_limited",
  /** 500 in the vendor's own form. */
  "server_error",
  /** The connection is cut in the middle of the answer. */
  "disconnect",
  /** As `timeout_midway`, with the vendor's keep-alives going on where it has some. */
  "stall",
  /** TTS: audio of silence. Others: as `empty`. */
  "silent_audio",
  /** A well-formed answer that says nothing. */
  "empty",
  /** What is not the vendor's protocol at all. */
  "garbage",
  /** More data after the answer's end, and after a cancel for as long as the connection takes it. */
  "late_data",
] as const;
export type Fault = (typeof faults)[number];

/** One call to the vendor: an HTTP exchange, a WebSocket connection, a stream. */
export interface FakeCall {
  /** Milliseconds of `performance.now()`. */
  openedMs: number;
  closedMs: number | undefined;
  closedBy: "client" | "server" | undefined;
  bytesIn: number;
  /** Model, language, voice, key terms … as received. */
  facts: Record<string, unknown>;
}

export interface FakeAnswer {
  /** STT: what is recognised; its partials, in order. */
  transcript?: string;
  partials?: string[];
  /** LLM: what is said. */
  reply?: string;
  toolCalls?: { name: string; arguments: string }[];
  /** TTS: milliseconds of tone a clause. */
  audioMs?: number;
  /** Pause between chunks. */
  chunkMs?: number;
}

export interface Fake {
  /** http(s) or ws(s), without a path where the vendor's own base URL has none. */
  readonly baseUrl: string;
  /** The one key that it takes. */
  readonly key: string;
  /** How the next `calls` calls fail, then none does; without `calls`: all until changed. */
  fault(kind: Fault, calls?: number): void;
  /** What is answered from now on. */
  script(answer: FakeAnswer): void;
  /** What clients did against the protocol; never payload or keys. Tests expect []. */
  readonly violations: readonly string[];
  readonly calls: readonly FakeCall[];
  close(): Promise<void>;
}

/** The part of a fake that is the same whatever carries it: faults, script, calls and violations. */
export class FakeState {
  readonly calls: FakeCall[] = [];
  readonly violations: string[] = [];
  answer: FakeAnswer;
  #fault: Fault = "none";
  #faultCalls = Number.POSITIVE_INFINITY;

  constructor(answer: FakeAnswer = {}) {
    this.answer = answer;
  }

  fault(kind: Fault, calls = Number.POSITIVE_INFINITY): void {
    this.#fault = kind;
    this.#faultCalls = calls;
  }

  script(answer: FakeAnswer): void {
    this.answer = answer;
  }

  violation(text: string): void {
    if (this.violations.length < 1_000) this.violations.push(text);
  }

  /** The fault of the call that begins now. */
  takeFault(): Fault {
    if (this.#faultCalls <= 0) return "none";
    this.#faultCalls -= 1;
    return this.#fault;
  }

  begin(facts: Record<string, unknown> = {}): FakeCall {
    const call: FakeCall = { openedMs: performance.now(), closedMs: undefined, closedBy: undefined, bytesIn: 0, facts };
    this.calls.push(call);
    return call;
  }

  /** Only the first end counts. */
  end(call: FakeCall, closedBy: "client" | "server"): void {
    if (call.closedMs !== undefined) return;
    call.closedMs = performance.now();
    call.closedBy = closedBy;
  }
}

/** Bytes in pieces of odd lengths (1, 2, 3, 5, 7 … up to `max`): they split UTF-8, lines and frames wherever they fall. */
export function oddPieces(bytes: Uint8Array, max = 23): Uint8Array[] {
  const sizes = [1, 2, 3, 5, 7, 11, 13, 17, 19, 23].filter((size) => size <= max);
  const pieces: Uint8Array[] = [];
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const size = sizes[n % sizes.length] ?? 1;
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

/** 16-bit mono samples of a 440 Hz tone, little-endian. */
export function tonePcm(ms: number, rateHz: number, amplitude = 8_000): Buffer {
  const samples = Math.round((ms * rateHz) / 1_000);
  const bytes = Buffer.alloc(samples * 2);
  for (let i = 0; i < samples; i++)
    bytes.writeInt16LE(Math.round(amplitude * Math.sin((2 * Math.PI * 440 * i) / rateHz)), i * 2);
  return bytes;
}

/** What a fake says of a clause: a tone, or silence under the fault `silent_audio`. */
export function fakeSpeech(fault: Fault, ms: number, rateHz: number): Buffer {
  return tonePcm(ms, rateHz, fault === "silent_audio" ? 0 : 8_000);
}
