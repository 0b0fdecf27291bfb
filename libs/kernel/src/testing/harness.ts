/**
 * A shell for tests and benchmarks of the kernel alone: scripted providers and an exact playout, all under a virtual
 * clock. Simulated throughout; nothing here serves production.
 */

import type { MonoNs, WallMs } from "@rspp/base/brand";
import { digestCreate, digestHex } from "@rspp/base/digest";
import { CURRENT_BEHAVIOURS } from "../behaviours.ts";
import type { Effect } from "../effect.ts";
import { digestEffects } from "../effect-digest.ts";
import type { TextSpan } from "../event.ts";
import { evidenceBytesMax } from "../evidence.ts";
import type { GraphDefinition, NodeDefinition } from "../graph.ts";
import type { Batch, Input, InputBody } from "../input.ts";
import type { FactAnswer, PredicateQuestion, TextQuestion } from "../pure-functions.ts";
import type { JournalEntry } from "../replay.ts";
import type { SessionConfig, SessionPolicy } from "../session-config.ts";
import { createSession, type SessionState } from "../state.ts";
import { type StepResult, step } from "../step.ts";
import { cutOf, evaluateText } from "../text-functions.ts";

const MS = 1_000_000;

export const PCM = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 };

const buffer = (strategy: "block" | "drop_oldest" | "coalesce", maxItems: number, maxQueueMs: number) => ({
  maxItems,
  maxBytes: 8 << 20,
  maxQueueMs,
  strategy,
  maxBlockMs: 2_000,
  source: "test",
});

export function node(
  id: string,
  kind: NodeDefinition["kind"],
  scope: "session" | "turn",
  settings: NodeDefinition["settings"] = {},
  providers: string[] = [],
): NodeDefinition {
  return { id, kind, scope, settings, candidates: providers.map((provider) => ({ provider, settings: {} })) };
}

/** The voice assistant as a graph. */
export function assistantGraph(
  settings: { endpointing?: NodeDefinition["settings"]; tts?: string[]; llm?: string[]; stt?: string[] } = {},
): GraphDefinition {
  const edge = (
    id: string,
    from: string,
    to: string,
    type: "audio" | "text" | "activity" | "utterance" | "messages",
    spec = buffer("block", 256, 60_000),
  ) => {
    const [fromNode = "", fromPort = ""] = from.split(".");
    const [toNode = "", toPort = ""] = to.split(".");
    return { id, from: { node: fromNode, port: fromPort }, to: { node: toNode, port: toPort }, type, buffer: spec };
  };
  return {
    pipelineVersion: "test-assistant@1",
    nodes: [
      node("caller", "ingress", "session"),
      node("vad", "vad", "session"),
      node("stt", "stt", "session", {}, settings.stt ?? ["sim/stt"]),
      node("endpointing", "endpointing", "session", {
        min_speech_ms: 60,
        endpoint_silence_ms: 100,
        candidate_silence_ms: 60,
        ...settings.endpointing,
      }),
      node("context", "context", "turn"),
      node("llm", "llm", "turn", {}, settings.llm ?? ["sim/llm"]),
      node("segmenter", "segmenter", "turn"),
      node("tts", "tts", "turn", {}, settings.tts ?? ["sim/tts"]),
      node("speaker", "output", "turn"),
    ],
    edges: [
      edge("e1", "caller.audio", "vad.audio", "audio", buffer("drop_oldest", 100, 1_000)),
      edge("e2", "caller.audio", "stt.audio", "audio", buffer("drop_oldest", 100, 1_000)),
      edge("e3", "vad.activity", "endpointing.activity", "activity"),
      edge("e4", "stt.text", "endpointing.text", "text", buffer("coalesce", 64, 60_000)),
      edge("e5", "endpointing.utterance", "context.utterance", "utterance"),
      edge("e6", "context.messages", "llm.messages", "messages"),
      edge("e7", "llm.text", "segmenter.text", "text"),
      edge("e8", "segmenter.text", "tts.text", "text"),
      edge("e9", "tts.audio", "speaker.audio", "audio", buffer("block", 6_000, 120_000)),
    ],
  };
}

export const POLICY: SessionPolicy = {
  id: "policy/test@1",
  secondProposal: "queue",
  bargeIn: true,
  holdOnCandidate: true,
  lateEvents: "drop",
  speculation: false,
  finalWaitMs: 1_000,
  reconnectMs: 5_000,
  historyPartsMax: 32,
};

export function testConfig(graph: GraphDefinition, over: Partial<SessionConfig> = {}): SessionConfig {
  return {
    tenantId: "tenant-a",
    sessionId: "session-1",
    seed: "seed-1",
    graph,
    profile: "simple/v1",
    policy: POLICY,
    budgets: { turnFirstOutputMs: 2_000, nodeSoftMs: 800, providerAttemptMs: 1_000, cancelGraceMs: 75 },
    provenance: {},
    snapshots: {
      pipeline: "p@1",
      profile: "simple/v1",
      policy: "policy@1",
      routing: "routing@1",
      rollout: "rollout@1",
      admission: "admission@1",
      providerHealth: "health@1",
    },
    recording: { policyId: "recording@1", ceiling: "L0", evidenceQuotaBytes: evidenceBytesMax * 16 },
    authority: { epoch: 1, incarnation: "store-1", deadlineNs: (3_600_000 * MS) as MonoNs },
    outputLeadMs: 200,
    systemPrompt: [],
    variables: {},
    behaviours: CURRENT_BEHAVIOURS,
    snapshotEveryTurns: 0,
    debugEvents: false,
    ...over,
  };
}

/** Drives one session by hand; texts and audio live here. */
export class KernelHarness {
  readonly config: SessionConfig;
  state: SessionState;
  nowNs = MS;
  readonly texts = new Map<number, string>();
  readonly journal: JournalEntry[] = [];
  /** Every effect so far, with the instant of its step. */
  readonly log: { atNs: number; effect: Effect }[] = [];
  readonly timers = new Map<string, number>();
  private readonly digest = digestCreate();
  private inputSeq = 0;
  private batchIndex = 0;
  private nextRef = 1;
  keepLog = true;

  constructor(config: SessionConfig) {
    this.config = config;
    this.state = createSession(config);
  }

  /** The evaluator of conditions; that of production is not the kernel's to import. */
  predicate: (question: PredicateQuestion) => FactAnswer = (question) => {
    throw new Error(`no evaluator for ${question.source}`);
  };

  readonly fns = {
    answer: (question: TextQuestion): FactAnswer => {
      if (question.fn === "predicate") return this.predicate(question);
      if (question.fn !== "cut") return evaluateText(question, (spans) => this.text(spans));
      const text = cutOf(question, (spans) => this.text(spans));
      this.texts.set(question.ref, text);
      return { chars: text.length, bytes: text.length, hash: "" };
    },
  };

  text(spans: readonly TextSpan[]): string {
    return spans.map((span) => (this.texts.get(span.ref) ?? "").slice(span.from, span.to)).join("");
  }

  ref(text = ""): number {
    const ref = this.nextRef;
    this.nextRef += 1;
    if (text !== "") this.texts.set(ref, text);
    return ref;
  }

  /** One batch at the present instant, then empty ones while the session is runnable. Returns the effects of all. */
  feed(...bodies: InputBody[]): Effect[] {
    return this.feedAt(bodies.map((body) => ({ body, atNs: this.nowNs })));
  }

  /** The same with a stamp for each input, none later than the present instant. */
  feedAt(stamped: readonly { body: InputBody; atNs: number }[]): Effect[] {
    const effects: Effect[] = [];
    let inputs: Input[] = stamped.map(({ body, atNs }) => {
      this.inputSeq += 1;
      return { seq: this.inputSeq, monoNs: atNs as MonoNs, wallMs: Math.floor(atNs / MS) as WallMs, body };
    });
    for (;;) {
      const result = this.step(inputs);
      effects.push(...result.effects);
      if (!result.runnable) return effects;
      inputs = [];
    }
  }

  private step(inputs: Input[]): StepResult {
    this.batchIndex += 1;
    const batch: Batch = {
      index: this.batchIndex,
      monoNs: this.nowNs as MonoNs,
      wallMs: Math.floor(this.nowNs / MS) as WallMs,
      inputs,
    };
    const result = step(this.state, batch, { fns: this.fns });
    digestEffects(this.digest, result.effects);
    this.journal.push({ batch, facts: result.facts, digest: digestHex(this.digest) });
    for (const effect of result.effects) {
      if (this.keepLog) this.log.push({ atNs: this.nowNs, effect });
      if (effect.type === "timer_set") this.timers.set(effect.id, effect.atNs);
      if (effect.type === "timer_clear") this.timers.delete(effect.id);
    }
    return result;
  }

  /** Moves time on, firing timers on the way. */
  advance(ms: number): Effect[] {
    const until = this.nowNs + ms * MS;
    const effects: Effect[] = [];
    for (;;) {
      let next: [string, number] | null = null;
      for (const [id, at] of this.timers) if (at <= until && (next === null || at < next[1])) next = [id, at];
      if (next === null) break;
      this.timers.delete(next[0]);
      this.nowNs = Math.max(this.nowNs, next[1]);
      effects.push(...this.feed({ type: "timer", id: next[0] }));
    }
    this.nowNs = until;
    return effects;
  }

  signals(name?: string): string[] {
    const all = this.log.flatMap(({ effect }) =>
      effect.type === "signal"
        ? [
            `${effect.event.signal}${effect.event.turn === 0 ? "" : `#${effect.event.turn}`}${effect.event.reason === "" ? "" : `(${effect.event.reason})`}`,
          ]
        : [],
    );
    return name === undefined ? all : all.filter((s) => s.startsWith(name));
  }

  audioSequence = 0;
  mediaUs = 0;

  frame(): InputBody {
    this.audioSequence += 1;
    const body: InputBody = {
      type: "audio",
      epoch: this.state.authority.epoch,
      sequence: this.audioSequence,
      mediaUs: this.mediaUs,
      durationUs: 20_000,
      format: PCM,
      payload: { ref: this.ref(), hash: "", bytes: 640 },
      key: "",
    };
    this.mediaUs += 20_000;
    return body;
  }

  controlSequence = 0;

  control(signal: string, over: Partial<Extract<InputBody, { type: "control" }>> = {}): InputBody {
    this.controlSequence += 1;
    return {
      type: "control",
      epoch: this.state.authority.epoch,
      sequence: this.controlSequence,
      signal,
      controlClass: "overtaking",
      lastMediaSequence: -1,
      turn: 0,
      reason: "",
      key: "",
      fields: null,
      ...over,
    };
  }

  /** One 20 ms caller frame with its VAD answer; moves time by 20 ms. */
  hear(speech: boolean, frames = 1): Effect[] {
    const effects: Effect[] = [];
    for (let i = 0; i < frames; i++) {
      effects.push(...this.advance(20));
      const out = this.feed(this.frame());
      effects.push(...out);
      for (const effect of out) {
        if (effect.type !== "node_event") continue;
        effects.push(
          ...this.feed(
            {
              type: "node_emitted",
              command: effect.command,
              index: 0,
              port: "activity",
              body: {
                type: "activity",
                speech,
                probability: speech ? 1 : 0,
                mediaUs: effect.mediaUs,
                durationUs: effect.durationUs,
              },
            },
            { type: "node_done", command: effect.command },
          ),
        );
      }
    }
    return effects;
  }

  /** The open invocation of a modality, as the provider sees it. */
  open(modality: "stt" | "llm" | "tts" | "tool"): number {
    const found = Object.values(this.state.invocations).find(
      (inv) => inv.modality === modality && inv.status === "open",
    );
    return found?.id ?? 0;
  }

  chunks = new Map<number, number>();

  chunkIndex(invocation: number): number {
    const index = this.chunks.get(invocation) ?? 0;
    this.chunks.set(invocation, index + 1);
    return index;
  }

  textChunk(
    invocation: number,
    text: string,
    over: { final?: boolean; revision?: number; segment?: number; language?: string } = {},
  ): InputBody {
    const index = this.chunkIndex(invocation);
    return {
      type: "provider_chunk",
      invocation,
      index,
      chunk: {
        type: "text",
        payload: { ref: this.ref(text), hash: "", bytes: text.length },
        chars: text.length,
        segment: over.segment ?? 0,
        revision: over.revision ?? index + 1,
        final: over.final ?? true,
        confidence: 1,
        language: over.language ?? "en",
      },
    };
  }

  audioChunk(
    invocation: number,
    segment: number,
    segmentChars: number,
    over: {
      durationUs?: number;
      segmentEnd?: boolean;
      words?: { from: number; to: number; startUs: number; endUs: number }[];
    } = {},
  ): InputBody {
    return {
      type: "provider_chunk",
      invocation,
      index: this.chunkIndex(invocation),
      chunk: {
        type: "audio",
        payload: { ref: this.ref(), hash: "", bytes: 640 },
        format: PCM,
        durationUs: over.durationUs ?? 20_000,
        segment,
        segmentEnd: over.segmentEnd ?? false,
        segmentChars,
        words: over.words ?? null,
      },
    };
  }

  outcome(invocation: number, outcome: "success" | "error" | "timeout" = "success"): InputBody {
    return { type: "provider_outcome", invocation, outcome, detail: "", usage: null };
  }

  /** Speaks an utterance with this transcript, up to the proposal. */
  utter(text: string, speechFrames = 6, language = "en"): Effect[] {
    const effects = this.hear(true, speechFrames);
    effects.push(...this.hear(false, 6));
    const stt =
      Object.values(this.state.invocations).find(
        (inv) => inv.modality === "stt" && inv.finished && inv.status === "open",
      )?.id ?? 0;
    effects.push(...this.feed(this.textChunk(stt, text, { language }), this.outcome(stt)));
    return effects;
  }

  /** The language model answers, the voice speaks each clause: `msPerChar` of audio, words timed by characters. */
  reply(text: string, msPerChar = 20): Effect[] {
    const effects = this.feed(this.textChunk(this.open("llm"), text), this.outcome(this.open("llm")));
    effects.push(...this.speakPending(msPerChar));
    return effects;
  }

  speakPending(msPerChar = 20): Effect[] {
    const effects: Effect[] = [];
    const tts = this.open("tts");
    const inv = this.state.invocations[tts];
    const clauses = [...(inv?.clauses ?? [])];
    for (const clause of clauses) {
      const text = this.text(clause.spans);
      const words = [...text.matchAll(/\S+/g)].map((m) => ({
        from: m.index,
        to: m.index + m[0].length,
        startUs: m.index * msPerChar * 1_000,
        endUs: (m.index + m[0].length) * msPerChar * 1_000,
      }));
      const frames = Math.ceil((text.length * msPerChar) / 20);
      for (let i = 0; i < frames; i++)
        effects.push(
          ...this.feed(
            this.audioChunk(tts, clause.segment, text.length, {
              segmentEnd: i === frames - 1,
              ...(i === 0 ? { words } : {}),
            }),
          ),
        );
    }
    effects.push(...this.feed(this.outcome(tts)));
    return effects;
  }

  deliver(
    turn: number,
    state: "accepted" | "started" | "progress" | "completed" | "cancelled" | "lost",
    playedUs: number,
    generation = 1,
  ): Effect[] {
    return this.feed({ type: "delivery", epoch: this.state.authority.epoch, turn, generation, state, playedUs });
  }

  fenceAck(turn: number, playedUs: number): Effect[] {
    return this.feed({
      type: "fence_ack",
      epoch: this.state.authority.epoch,
      turn,
      generation: 2,
      playedUs,
      flushed: 0,
    });
  }

  connect(): Effect[] {
    return this.feed(this.control("connected"));
  }
}
