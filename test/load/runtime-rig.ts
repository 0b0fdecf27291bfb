/**
 * A runtime for benchmarks: real kernel, shell and spool on disk; providers that answer without delay and a detector that
 * looks at one byte. The providers are simulated, and said to be so in every result.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asMonoNs } from "@rspp/base/brand";
import { tuneCollector } from "@rspp/host/collector";
import type { GraphDefinition, NodeDefinition } from "@rspp/kernel/graph";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { assistantGraph, testConfig } from "@rspp/kernel/testing/harness";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { Invocation, InvocationOpen, InvocationSink, ProviderPort } from "@rspp/ports/provider";
import type { SessionEnd, TransportEgress, TransportEnd, TransportIngress } from "@rspp/ports/transport";
import type { VadPort } from "@rspp/ports/vad";
import { createRuntime, type Runtime, type RuntimeSession } from "@rspp/runtime/runtime";
import { openNodeStore } from "@rspp/runtime/spool/node-store";
import { createSpool } from "@rspp/runtime/spool/spool";

export const PCM = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
const FRAME_BYTES = 640;
export const FRAME_US = 20_000;
const SPOOL_BYTES_MAX = 64 * 2 ** 30;

export interface Reply {
  /** What the language model says, at once and in one piece. */
  text: string;
  /** 20 ms frames the voice makes for each clause. */
  frames: number;
  /** All frames at once where 0, else five of them every so many milliseconds. */
  everyMs: number;
  /** What each frame holds, 20 ms; default a hum that nobody hears. */
  frame?: Uint8Array;
}

const FRAMES_A_PIECE = 5;

/** Speech to text hears "hello" when it is finished, the language model says `reply.text`, the voice speaks `reply.frames`. */
export function instantProviders(clock: Clock, reply: Reply): ProviderPort {
  return {
    open: (request, sink) => new InstantInvocation(clock, request, sink, reply),
    providers: () => ["sim/stt", "sim/llm", "sim/tts"],
    close: () => Promise.resolve(),
  };
}

class InstantInvocation implements Invocation {
  private readonly clock: Clock;
  private readonly request: InvocationOpen;
  private readonly sink: InvocationSink;
  private readonly reply: Reply;
  private readonly clauses: { segment: number; chars: number; frames: number }[] = [];
  private timer: TimerHandle | null = null;
  private finished = false;
  private over = false;

  constructor(clock: Clock, request: InvocationOpen, sink: InvocationSink, reply: Reply) {
    this.clock = clock;
    this.request = request;
    this.sink = sink;
    this.reply = reply;
  }

  push(input: Parameters<Invocation["push"]>[0]): void {
    if (input.kind === "messages") {
      this.soon(() => {
        this.sink.chunk({ kind: "text", text: this.reply.text, segment: 0, revision: 1, final: true });
        this.end("success");
      });
    } else if (input.kind === "text") {
      this.clauses.push({ segment: input.segment, chars: input.text.length, frames: this.reply.frames });
      if (this.timer === null) this.soon(() => this.speak());
    }
  }

  finish(): void {
    this.finished = true;
    if (this.request.modality === "stt") {
      this.soon(() => {
        this.sink.chunk({ kind: "text", text: "hello", segment: 0, revision: 1, final: true });
        this.end("success");
      });
    } else if (this.clauses.length === 0) this.soon(() => this.end("success"));
  }

  cancel(): void {
    this.end("cancelled");
  }

  /** Never from inside the call that asked. */
  private soon(run: () => void): void {
    queueMicrotask(() => {
      if (!this.over) run();
    });
  }

  private speak(): void {
    for (let clause = this.clauses[0]; clause !== undefined && !this.over; clause = this.clauses[0]) {
      const count = this.reply.everyMs === 0 ? clause.frames : Math.min(clause.frames, FRAMES_A_PIECE);
      for (let i = 0; i < count; i++) {
        clause.frames -= 1;
        this.sink.chunk({
          kind: "audio",
          bytes: this.reply.frame ?? new Uint8Array(FRAME_BYTES).fill(1),
          format: PCM,
          durationUs: FRAME_US,
          segment: clause.segment,
          segmentEnd: clause.frames === 0,
          segmentChars: clause.chars,
        });
      }
      if (clause.frames === 0) this.clauses.shift();
      else return this.later();
    }
    if (this.finished) this.end("success");
  }

  private later(): void {
    const atNs = asMonoNs(this.clock.nowNs() + this.reply.everyMs * 1_000_000);
    this.timer = this.clock.timerAt(atNs, () => {
      this.timer = null;
      if (!this.over) this.speak();
    });
  }

  private end(kind: "success" | "cancelled"): void {
    if (this.over) return;
    this.over = true;
    this.timer?.clear();
    this.sink.outcome({ kind, detail: "" });
  }
}

/** Speech is any frame whose first byte is not 0. */
export const byteVad: VadPort = {
  name: "first byte",
  openSession: () => ({
    push: (frame, onResult) => onResult({ speech: frame[0] !== 0, probability: frame[0] === 0 ? 0 : 1 }),
    reset() {},
    close() {},
  }),
  close() {},
};

export interface Rig {
  runtime: Runtime;
  readonly graph: GraphDefinition;
  open(id: string, line: TransportEnd): RuntimeSession;
  /** @param look at the spool's folder, before it goes. */
  close(look?: (folder: string) => void): Promise<void>;
}

export const ENDPOINT_AT_ONCE: NodeDefinition["settings"] = {
  onset_frames: 1,
  min_speech_ms: 20,
  candidate_silence_ms: 60,
  endpoint_silence_ms: 0,
};

export interface RigParts {
  /** Default `byteVad`. */
  readonly vad?: VadPort;
  /** Default the assistant's. */
  readonly graph?: GraphDefinition;
}

/** A runtime with its spool in a folder of its own under the system's temporary one, removed by `close`. */
export function createRig(
  clock: Clock,
  reply: Reply,
  over: Partial<SessionConfig> = {},
  { vad = byteVad, graph = assistantGraph({ endpointing: ENDPOINT_AT_ONCE }) }: RigParts = {},
): Rig {
  // As every service of the platform does.
  tuneCollector();
  const folder = mkdtempSync(join(tmpdir(), "rspp-bench-"));
  const store = openNodeStore(folder);
  if (!store.ok) throw new Error(store.error.detail);
  const spool = createSpool({ store: store.value, clock, diskBytesMax: SPOOL_BYTES_MAX });
  const runtime = createRuntime({ clock, providers: instantProviders(clock, reply), vad, spool });
  const base = testConfig(graph, { authority: { epoch: 1, incarnation: "bench", deadlineNs: FAR_NS }, ...over });
  return {
    runtime,
    graph,
    open(id, line) {
      const opened = runtime.openSession({ config: { ...base, sessionId: id }, transport: line });
      if (!opened.ok) throw new Error(`session ${id}: ${opened.error.detail}`);
      return opened.value;
    },
    async close(look) {
      await runtime.close();
      await spool.close();
      look?.(folder);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const FAR_NS = asMonoNs(Number.MAX_SAFE_INTEGER);

/** An edge that stamps what passes: `onEgress` when the runtime hands a message out, `onIngress` when it is handed one. */
export function stamped(
  inner: TransportEnd,
  watch: { onEgress?(message: TransportEgress): void; onIngress?(message: TransportIngress): void },
): { line: TransportEnd; toward(session: SessionEnd): SessionEnd } {
  return {
    line: {
      send(message) {
        watch.onEgress?.(message);
        inner.send(message);
      },
    },
    toward: (session) => ({
      receive(message) {
        watch.onIngress?.(message);
        session.receive(message);
      },
    }),
  };
}
