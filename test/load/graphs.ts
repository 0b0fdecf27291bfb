/** Graphs, frames and the journal for benchmarks of the kernel alone. */
import type { MonoNs, WallMs } from "@rspp/base/brand";
import { type Digest, digestCreate, digestHex } from "@rspp/base/digest";
import type { Effect } from "@rspp/kernel/effect";
import { digestEffects } from "@rspp/kernel/effect-digest";
import type { ActivityBody } from "@rspp/kernel/event";
import type { GraphDefinition } from "@rspp/kernel/graph";
import type { Batch, IngressAudio, Input, InputBody } from "@rspp/kernel/input";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { createSession, type SessionState } from "@rspp/kernel/state";
import { type KernelEnv, type StepResult, step } from "@rspp/kernel/step";
import { node, PCM, testConfig } from "@rspp/kernel/testing/harness";
import { encodeEntry } from "@rspp/runtime/spool/journal-codec";

export const FRAME_US = 20_000;

/** ingress, five filters, output: seven nodes, all of session scope. */
export function filterChain(): GraphDefinition {
  const ids = ["caller", "f1", "f2", "f3", "f4", "f5", "speaker"];
  return {
    pipelineVersion: "bench-chain@1",
    nodes: ids.map((id, i) => node(id, i === 0 ? "ingress" : i === 6 ? "output" : "filter", "session")),
    edges: ids.slice(1).map((id, i) => ({
      id: `e${i}`,
      from: { node: ids[i] ?? "", port: i === 0 ? "audio" : "out" },
      to: { node: id, port: i === 5 ? "audio" : "in" },
      type: "audio" as const,
      buffer: {
        maxItems: 100,
        maxBytes: 1 << 20,
        maxQueueMs: 1_000,
        strategy: "drop_oldest" as const,
        maxBlockMs: 0,
        source: "bench",
      },
    })),
  };
}

export function benchConfig(graph: GraphDefinition): SessionConfig {
  const farNs = Number.MAX_SAFE_INTEGER as MonoNs;
  return testConfig(graph, { authority: { epoch: 1, incarnation: "store-1", deadlineNs: farNs } });
}

/** The keyed hash of a payload at L1 as the shell hands it over; computing it from the bytes is not the kernel's work. */
const HASH = "9f86d081884c7d65";

export function audioInput(sequence: number): IngressAudio {
  return {
    type: "audio",
    epoch: 1,
    sequence,
    mediaUs: sequence * FRAME_US,
    durationUs: FRAME_US,
    format: PCM,
    payload: { ref: sequence, hash: HASH, bytes: 640 },
    key: "",
  };
}

export const NO_TEXT: KernelEnv = {
  fns: {
    answer: () => {
      throw new Error("no text is asked about here");
    },
  },
};

export type Level = "step" | "digest" | "journal";

/** A shell reduced to stamping, batching, digest and journal lines as the runtime writes them. Time moves 20 ms a frame. */
export class BareShell {
  readonly state: SessionState;
  readonly digest: Digest = digestCreate();
  journalBytes = 0;
  nowNs = 1_000_000;
  private inputSeq = 0;
  steps = 0;
  private sequence = 0;
  private readonly level: Level;
  private readonly env: KernelEnv;

  constructor(config: SessionConfig, level: Level, env: KernelEnv = NO_TEXT) {
    this.state = createSession(config);
    this.level = level;
    this.env = env;
    this.feed({
      type: "control",
      epoch: 1,
      sequence: 1,
      signal: "connected",
      controlClass: "overtaking",
      lastMediaSequence: -1,
      turn: 0,
      reason: "",
      key: "",
      fields: null,
    });
  }

  stamp(body: InputBody): Input {
    this.inputSeq += 1;
    return {
      seq: this.inputSeq,
      monoNs: this.nowNs as MonoNs,
      wallMs: (1_700_000_000_000 + Math.floor(this.nowNs / 1_000_000)) as WallMs,
      body,
    };
  }

  /** One batch, then empty ones while the session is runnable. Returns the effects of the first. */
  run(inputs: readonly Input[]): readonly Effect[] {
    const first = this.once(inputs);
    let runnable = first.runnable;
    while (runnable) runnable = this.once([]).runnable;
    return first.effects;
  }

  private once(inputs: readonly Input[]): StepResult {
    this.steps += 1;
    const batch: Batch = {
      index: this.steps,
      monoNs: this.nowNs as MonoNs,
      wallMs: (1_700_000_000_000 + Math.floor(this.nowNs / 1_000_000)) as WallMs,
      inputs,
    };
    const result = step(this.state, batch, this.env);
    if (this.level === "step") return result;
    digestEffects(this.digest, result.effects);
    if (this.level === "digest") return result;
    const digest = digestHex(this.digest);
    this.journalBytes += encodeEntry({ batch, facts: result.facts, digest }).length;
    return result;
  }

  feed(...bodies: InputBody[]): readonly Effect[] {
    return this.run(bodies.map((body) => this.stamp(body)));
  }

  /** The next caller frame, 20 ms later. */
  frame(): readonly Effect[] {
    this.nowNs += FRAME_US * 1_000;
    this.sequence += 1;
    return this.run([this.stamp(audioInput(this.sequence))]);
  }

  /** A silent caller frame of which the VAD is asked; it answers at once, as a second batch. */
  listen(): void {
    for (const effect of this.frame()) {
      if (effect.type !== "node_event") continue;
      const { command, mediaUs, durationUs } = effect;
      const body: ActivityBody = { type: "activity", speech: false, probability: 0, mediaUs, durationUs };
      this.feed({ type: "node_emitted", command, index: 0, port: "activity", body }, { type: "node_done", command });
    }
  }
}
