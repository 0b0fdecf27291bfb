import type { InvocationChunk, InvocationOpen, InvocationOutcome, InvocationSink } from "@rspp/ports/provider";

export interface Recorder extends InvocationSink {
  readonly chunks: InvocationChunk[];
  readonly outcomes: InvocationOutcome[];
  /** Resolves at the first outcome. */
  readonly ended: Promise<InvocationOutcome>;
  /** LLM: the pieces joined. */
  text(): string;
  /** STT: the final texts. */
  finals(): string[];
  /** TTS: all frames joined. */
  audio(): Uint8Array;
}

/** A sink that keeps everything. */
export function recorder(onChunk?: (chunk: InvocationChunk) => void): Recorder {
  const chunks: InvocationChunk[] = [];
  const outcomes: InvocationOutcome[] = [];
  const { promise, resolve } = Promise.withResolvers<InvocationOutcome>();
  return {
    chunks,
    outcomes,
    ended: promise,
    chunk(chunk) {
      chunks.push(chunk);
      onChunk?.(chunk);
    },
    outcome(outcome) {
      outcomes.push(outcome);
      resolve(outcome);
    },
    text: () => chunks.map((chunk) => (chunk.kind === "text" ? chunk.text : "")).join(""),
    finals: () =>
      chunks.filter((chunk) => chunk.kind === "text" && chunk.final).map((c) => (c.kind === "text" ? c.text : "")),
    audio: () => Buffer.concat(chunks.map((chunk) => (chunk.kind === "audio" ? chunk.bytes : new Uint8Array(0)))),
  };
}

/** A request with ordinary values; `over` replaces some. */
export function request(over: Partial<InvocationOpen> & Pick<InvocationOpen, "modality" | "provider">): InvocationOpen {
  return {
    invocationId: "inv-1",
    settings: {},
    attemptTimeoutMs: 1000,
    idempotencyKey: "key-1",
    sessionId: "session-1",
    epoch: 1,
    turn: 1,
    generation: 1,
    ...over,
  };
}
