import type { GraphDefinition, ToolLimits } from "@rspp/kernel/graph";
import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

interface Call {
  life: string;
  node: string;
  turn: number;
  invocation: string;
  sideEffect: string;
  open: boolean;
  /** Told of in evidence: so many times. */
  told: number;
}

const defaults: ToolLimits = {
  perTurnMax: 8,
  roundsMax: 4,
  parallelMax: 4,
  resultBytesMax: 16_384,
  lateResult: "note",
};

/**
 * Tools of a language model: each call that began is told of once, in its turn's evidence or beside it; the model is
 * told of each of its calls once, of nothing but what the tool said or how it ended; bounds hold; a side-effecting call is
 * not cut off by a cancel (`kernel.md` §4).
 */
export class ToolsChecker extends BaseChecker {
  readonly name = "tools";
  /** Calls that began. */
  begun = 0;
  readonly #limits: ReadonlyMap<string, ToolLimits>;
  readonly #calls = new Map<string, Call>();
  readonly #said = new Map<string, Set<string>>();
  readonly #declaredLost = new Set<string>();
  readonly #manifests = new Set<string>();

  constructor({ nodes }: GraphDefinition) {
    super();
    this.#limits = new Map(nodes.map(({ id, toolLimits }) => [id, toolLimits ?? defaults]));
  }

  see(event: TraceEvent): void {
    switch (event.kind) {
      case "call":
        if (event.tool !== null) this.#begun(event, event.tool.sideEffect);
        return;
      case "call_cancelled":
        return this.#cancelled(event.life, event.call, event.reason);
      case "invocation":
        if (event.modality === "tool" && event.what === "ended") this.#ended(event.life, event.invocation);
        return;
      case "tool_said": {
        const said = this.#said.get(event.life) ?? new Set();
        this.#said.set(event.life, said.add(event.text));
        return;
      }
      case "asked":
        return this.#asked(event.life, event.messages);
      case "record":
        if (event.appended) this.#record(event.life, event.record);
        return;
      default:
        return;
    }
  }

  #begun({ life, node, call, turn, invocation }: Extract<TraceEvent, { kind: "call" }>, sideEffect: string): void {
    this.begun += 1;
    const key = `${life} ${call}`;
    if (this.#calls.has(key)) this.fail(`${key}: opened twice`);
    this.#calls.set(key, { life, node, turn, invocation, sideEffect, open: true, told: 0 });
    const limits = this.#limits.get(node) ?? defaults;
    const mine = [...this.#calls.values()].filter((one) => one.life === life && one.turn === turn && one.node === node);
    const running = mine.filter(({ open }) => open).length;
    if (running > limits.parallelMax) this.fail(`${life}#${turn}: ${running} of ${limits.parallelMax} calls at once`);
    if (mine.length > limits.perTurnMax) this.fail(`${life}#${turn}: ${mine.length} of ${limits.perTurnMax} calls`);
  }

  #cancelled(life: string, call: number, reason: string): void {
    const one = this.#calls.get(`${life} ${call}`);
    if (one === undefined) return;
    one.open = false;
    if (one.sideEffect === "side_effecting" && reason !== "timeout")
      this.fail(`${life}#${one.turn}: a side-effecting call was cut off (${reason})`);
  }

  #ended(life: string, invocation: string): void {
    for (const one of this.#calls.values()) if (one.life === life && one.invocation === invocation) one.open = false;
  }

  #asked(life: string, messages: Extract<TraceEvent, { kind: "asked" }>["messages"]): void {
    const open = new Set<string>();
    for (const { role, text, toolCalls = [], callId = "" } of messages) {
      for (const call of toolCalls) {
        if (open.has(call.callId)) this.fail(`${life}: call ${call.callId} stands twice in the conversation`);
        open.add(call.callId);
      }
      if (role !== "tool") continue;
      if (!open.delete(callId)) this.fail(`${life}: a result of a call that was not made, ${callId}`);
      if (!this.#may(life, text)) this.fail(`${life}: the model is told "${text}", which no tool said`);
    }
    for (const callId of open) this.fail(`${life}: the model is not told what became of call ${callId}`);
  }

  /** A result is cut to its bound, and what has ended otherwise is said in the product's own words. */
  #may(life: string, text: string): boolean {
    for (const said of this.#said.get(life) ?? []) if (said.startsWith(text) && text !== "") return true;
    return /^\{"(error|result|note|status)":/.test(text);
  }

  #record(life: string, record: { kind: string }): void {
    if (record.kind === "evidence_lost") {
      const { lost } = record as unknown as { lost: { turn: number }[] };
      for (const { turn } of lost) this.#declaredLost.add(`${life}#${turn}`);
    }
    if (record.kind === "late_outcome") {
      const { outcome } = record as unknown as { outcome: { invocationId: string } };
      this.#tell(life, outcome.invocationId);
    }
    if (record.kind !== "evidence") return;
    const { turn, manifest } = record as unknown as { turn: number; manifest: { manifest: Manifest } };
    this.#manifests.add(`${life}#${turn}`);
    for (const { invocationId, tool } of manifest.manifest.invocations)
      if (tool !== undefined) this.#tell(life, invocationId);
  }

  #tell(life: string, invocation: string): void {
    for (const one of this.#calls.values()) if (one.life === life && one.invocation === invocation) one.told += 1;
  }

  override end(run: RunEnd): void {
    const settled = new Set(run.lives.filter((life) => !life.crashed && !life.lostAtEnd).map((life) => life.id));
    for (const { life, turn, invocation, told, open } of this.#calls.values()) {
      const of = `${life}#${turn}`;
      if (!settled.has(life) || this.#declaredLost.has(of)) continue;
      if (told > 1) this.fail(`${of}: call ${invocation} is told of ${told} times`);
      if (told === 0 && !open && this.#manifests.has(of)) this.fail(`${of}: call ${invocation} left no evidence`);
    }
  }
}

interface Manifest {
  invocations: readonly { invocationId: string; tool?: string }[];
}
