import { type Digest, digestCreate, digestHex, digestNumber, digestString } from "@rspp/base/digest";
import type { SignalEvent, TimelineRecord } from "@rspp/kernel/effect";
import type { NodeLimits } from "@rspp/ports/node-host";
import type { ChatMessage } from "@rspp/ports/provider";
import type { TransportEgress, TransportIngress } from "@rspp/ports/transport";
import type { Voice } from "./voices.ts";

/** An epoch as people read it: its counter, with the store's incarnation before it once that has risen. */
export function epochName(epoch: number): string {
  const incarnation = Math.floor(epoch / 2 ** 32);
  return `${incarnation > 1 ? `${incarnation}:` : ""}${epoch % 2 ** 32}`;
}

/** One kernel session from its start to its end: a process, its life, and the epoch it was opened under. */
export type LifeId = string;

/** What a foreign node's host was asked, and what it did. */
export type NodeStep = "opened" | "ready" | "event" | "answered" | "cancel" | "acked" | "stop" | "kill" | "gone";

/** What can be seen of a run, and nothing else: checkers know no more than this. */
export type TraceEvent =
  | { kind: "life_begins"; life: LifeId; proc: string; session: string; epoch: number }
  | { kind: "life_ends"; life: LifeId; how: "ended" | "crashed" | "finished"; reason: string }
  /** What ends next had lost its lease before. */
  | { kind: "lease_gone"; life: LifeId }
  | { kind: "signal"; life: LifeId; event: SignalEvent }
  | { kind: "record"; life: LifeId; record: TimelineRecord; appended: boolean }
  /** Handed to the transport by the runtime. */
  | { kind: "egress"; life: LifeId; message: TransportEgress }
  /** As the kernel took it in. */
  | { kind: "ingress"; life: LifeId; message: TransportIngress }
  /** Came out of the link at the caller's adapter; `refused` is empty where it was taken. */
  | { kind: "adapter"; message: TransportEgress; refused: string }
  /** Said by the caller's adapter. */
  | { kind: "adapter_sends"; message: TransportIngress }
  | { kind: "played"; turn: number; generation: number; fromNs: number; toNs: number; fromUs: number; toUs: number }
  /** The lease service has given an epoch to a holder; "" for nobody. */
  | { kind: "granted"; session: string; epoch: number; holder: string }
  /** The caller's adapter has died, and with it whatever it knew of the call of this life. */
  | { kind: "adapter_died"; life: LifeId }
  | { kind: "floor"; receiver: string; session: string; epoch: number }
  /** A receiver other than the adapter's device let something act. */
  | { kind: "accepted"; receiver: string; session: string; epoch: number; what: string }
  | { kind: "refused"; receiver: string; session: string; epoch: number; reason: string }
  | { kind: "forced_positioned"; at: "adapter" | "runtime" }
  | {
      kind: "positioned";
      at: "adapter" | "runtime";
      lastMedia: number;
      seenMedia: number;
      forced: boolean;
      what: string;
      /** Of whoever sent it. */
      epoch: number;
    }
  | {
      kind: "link_data";
      at: "adapter" | "runtime";
      binding: string;
      seq: number;
      /** Null for data of the session itself. */
      turn: number | null;
      generation: number;
    }
  /** A cut-off has come out of the link. */
  | { kind: "link_fence"; binding: string; turn: number; generation: number }
  /** What the kernel asked of its clock, and what came of it. */
  | { kind: "timer"; life: LifeId; what: "set" | "cleared" | "fired"; id: string; dueNs: number }
  | { kind: "link_gap"; at: "adapter" | "runtime"; binding: string; fromSeq: number; toSeq: number }
  | { kind: "bound"; what: string; value: number; max: number }
  | { kind: "exported"; life: LifeId; appended: number; acked: number; halted: string }
  /** What a call to a provider did, as the runtime's end of it sees it. */
  | {
      kind: "invocation";
      life: LifeId;
      invocation: string;
      modality: string;
      turn: number;
      what: "opened" | "pushed" | "first" | "cancelled" | "ended";
      attemptTimeoutMs: number;
    }
  /** The kernel asks for a call; `posture`: how far its turn has stepped down, as its settings say. */
  | {
      kind: "call";
      life: LifeId;
      call: number;
      invocation: string;
      node: string;
      modality: string;
      turn: number;
      posture: number;
      tool: { name: string; sideEffect: string } | null;
    }
  | { kind: "call_cancelled"; life: LifeId; call: number; reason: string }
  /** A tool has answered, a piece of it. */
  | { kind: "tool_said"; life: LifeId; invocation: string; text: string }
  /** Confirmed speech of the caller, as the session's state has it after a step. */
  | { kind: "heard"; life: LifeId }
  /** The detector is given a frame, or begins anew. */
  | { kind: "frame"; life: LifeId; ref: number; mediaUs: number; durationUs: number }
  | { kind: "frame_recognised"; life: LifeId; ref: number }
  | { kind: "detector_reset"; life: LifeId }
  /** After a step: what the edge to the detector lost in it, by payload, oldest first; `fresh`: offered in that very step. */
  | { kind: "edge_lost"; life: LifeId; refs: readonly number[]; fresh: readonly number[] }
  /** A model was asked, with this conversation. */
  | { kind: "asked"; life: LifeId; turn: number; messages: readonly ChatMessage[] }
  /** A voice was told to say a clause. */
  | { kind: "spoken"; life: LifeId; turn: number; segment: number; text: string }
  /** The device took a piece of audio; `voice` where it is known again. */
  | { kind: "media_in"; turn: number; offsetUs: number; durationUs: number; voice: Voice | null }
  /** The replay service's word came back to the exporter. */
  | { kind: "export_acked"; stream: string; nextIndex: number; head: string }
  /** The spool says that records up to here are on the medium. */
  | { kind: "spool_synced"; proc: string; stream: string; seq: number }
  /** Totals of a lane's sender, and what its peer has granted, as it reached him. */
  | { kind: "link_credit"; binding: string; what: "sent" | "granted"; audioUs: number; bytes: number }
  /** One scheduling point, while sessions of several tenants are open; `waiting`: it has more to do. */
  | { kind: "step"; proc: string; tenant: string; units: number; waiting: boolean }
  | {
      kind: "node";
      life: LifeId;
      instance: string;
      node: string;
      /** 0 for session scope. */
      turn: number;
      what: NodeStep;
      /** 0 where it is about the instance. */
      command: number;
      limits: NodeLimits;
    }
  /** A process stands still, or goes on. */
  | { kind: "process"; proc: string; up: boolean }
  | { kind: "fault"; name: string }
  | { kind: "note"; text: string };

export interface Stamped {
  atNs: number;
  event: TraceEvent;
}

/** The run's story: a rolling hash always, lines for people on demand. */
export class Trace {
  readonly #digest: Digest = digestCreate();
  readonly #now: () => number;
  readonly #listeners: ((event: TraceEvent, atNs: number) => void)[] = [];
  readonly #lines: string[] | null;
  #events = 0;

  constructor(now: () => number, keepLines: boolean) {
    this.#now = now;
    this.#lines = keepLines ? [] : null;
  }

  listen(listener: (event: TraceEvent, atNs: number) => void): void {
    this.#listeners.push(listener);
  }

  add(event: TraceEvent): void {
    const atNs = this.#now();
    this.#events += 1;
    digestNumber(this.#digest, atNs);
    digestString(this.#digest, keyOf(event));
    for (const listener of this.#listeners) listener(event, atNs);
    if (this.#lines !== null) {
      const line = describe(event);
      if (line !== "") this.#lines.push(`${(atNs / 1e6).toFixed(1).padStart(10)} ms  ${line}`);
    }
  }

  /** For the checkers alone: no part of the hash, nor of the story. */
  tell(event: TraceEvent): void {
    const atNs = this.#now();
    for (const listener of this.#listeners) listener(event, atNs);
  }

  hash(): string {
    return digestHex(this.#digest);
  }

  events(): number {
    return this.#events;
  }

  lines(): readonly string[] {
    return this.#lines ?? [];
  }
}

function keyOf(event: TraceEvent): string {
  switch (event.kind) {
    case "signal":
      return `s${event.event.signal}${event.event.turn}.${event.event.seq}${event.event.reason}`;
    case "record":
      return `r${event.record.kind}${event.appended}${"hash" in event.record ? event.record.hash : ""}`;
    case "egress":
    case "adapter":
    case "adapter_sends":
    case "ingress":
      return `${event.kind}${shortOf(event.message)}`;
    case "timer":
      return `t${event.what}${event.id}`;
    case "link_data":
      return `l${event.at}${event.seq}`;
    case "played":
      return `p${event.turn}.${event.generation}.${event.fromUs}-${event.toUs}`;
    default:
      return JSON.stringify(event);
  }
}

function shortOf(m: TransportEgress | TransportIngress): string {
  const turn = "turn" in m ? `#${m.turn}` : "";
  const generation = "generation" in m ? `.${m.generation}` : "";
  const sequence = "sequence" in m ? ` ${m.sequence}` : "";
  const name = "signal" in m ? ` ${m.signal}` : "state" in m ? ` ${m.state} ${m.playedUs}` : "";
  const end = m.kind === "media" && m.end ? " end" : "";
  return `${m.kind}${turn}${generation}${sequence}${name}${end} @${epochName(m.epoch)}`;
}

function describe(event: TraceEvent): string {
  switch (event.kind) {
    case "signal": {
      const { signal, emitter, turn, reason } = event.event;
      return `${event.life}: ${signal}${turn === 0 ? "" : `#${turn}`} by ${emitter}${reason === "" ? "" : ` (${reason})`}`;
    }
    case "record":
      return `${event.life}: record ${event.record.kind}${event.appended ? "" : " NOT APPENDED"}`;
    case "egress":
      return event.message.kind === "media" ? "" : `${event.life} -> adapter: ${shortOf(event.message)}`;
    case "ingress":
      return event.message.kind === "audio" ? "" : `${event.life} <- adapter: ${shortOf(event.message)}`;
    case "adapter":
      if (event.refused !== "") return `adapter refused ${shortOf(event.message)}: ${event.refused}`;
      return event.message.kind === "fence" ? `adapter fenced ${shortOf(event.message)}` : "";
    case "adapter_sends":
    case "played":
    case "accepted":
    case "positioned":
    case "link_data":
    case "timer":
    case "bound":
    case "invocation":
    case "asked":
    case "spoken":
    case "media_in":
    case "link_credit":
    case "step":
    case "node":
    case "call":
    case "call_cancelled":
    case "tool_said":
    case "heard":
    case "frame":
    case "frame_recognised":
    case "detector_reset":
    case "edge_lost":
      return "";
    case "fault":
      return `FAULT ${event.name}`;
    case "note":
      return `-- ${event.text}`;
    default:
      return JSON.stringify(event);
  }
}
