/** One call over the loopback transport, and what an onlooker sees of it. */
import { randomUUID } from "node:crypto";
import type { ObservedEvent } from "@rspp/runtime/observers";
import type { RuntimeSession } from "@rspp/runtime/runtime";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { sessionTexts } from "@rspp/spec/session-texts";
import type { VariableValues } from "@rspp/spec/session-variables";
import { createLoopbackAdapter, type LoopbackAdapter, type LoopbackOptions } from "@rspp/transport-loopback/adapter";
import { InputError } from "./errors.ts";
import { sessionConfigOf } from "./pipeline.ts";
import type { Platform } from "./platform.ts";

export interface TurnView {
  turn: number;
  origin: string;
  /** What the caller said, as recognised; empty when the agent spoke first. */
  user: string;
  /** Clauses given to the voice, in order. */
  said: string;
  terminal: string;
  delivery: string;
  /** Media time of the reply that was played, microseconds. */
  playedUs: number;
  committed: boolean;
  playing: boolean;
  settled: boolean;
  /** Milliseconds by metric name. */
  latencies: Record<string, number>;
}

export interface Call {
  session: RuntimeSession;
  adapter: LoopbackAdapter;
  turns: Map<number, TurnView>;
  /** Last transcript of the caller. */
  heard: string;
  ended: boolean;
}

export interface CallOptions {
  /** Default none. */
  variables?: VariableValues;
  recording?: "L0" | "L1" | "L2";
  seed?: string;
  onEvent?: (event: ObservedEvent, call: Call) => void;
  loopback?: Partial<LoopbackOptions>;
  keepJournal?: boolean;
}

/** Opens a session on the platform and connects a caller to it; the greeting, if any, is said. */
export function startCall(platform: Platform, pipeline: CompiledPipeline, options: CallOptions = {}): Call {
  const sessionId = `call_${randomUUID()}`;
  const { texts, greeting, ...told } = sessionTexts(pipeline);
  const granted = platform.lease.grant(sessionId);
  const config = sessionConfigOf(pipeline, {
    sessionId,
    authority: granted,
    ...told,
    ...(options.variables === undefined ? {} : { variables: options.variables }),
    ...(options.recording ? { recording: options.recording } : {}),
    ...(options.seed ? { seed: options.seed } : {}),
  });
  const adapter = createLoopbackAdapter({ clock: platform.clock, epoch: granted.epoch, ...options.loopback });
  const opened = platform.runtime.openSession({
    config,
    transport: adapter,
    keepJournal: options.keepJournal ?? false,
    texts,
  });
  if (!opened.ok) throw new InputError(`the session was refused: ${opened.error.detail}`);
  const session = opened.value;
  const call: Call = { session, adapter, turns: new Map(), heard: "", ended: false };
  session.events.subscribe({
    kinds: ["text", "control", "metrics", "error"],
    onReady: (subscription) => {
      for (let event = subscription.take(); event !== undefined; event = subscription.take()) {
        note(call, event);
        options.onEvent?.(event, call);
      }
    },
  });
  void session.ended.then(() => {
    call.ended = true;
  });
  platform.lease.keep(session);
  adapter.connect(session);
  if (greeting !== undefined) session.say(greeting);
  return call;
}

function note(call: Call, event: ObservedEvent): void {
  if (event.kind === "text") {
    if (event.role === "user") call.heard = event.text;
    else turnView(call, event.turn).said += event.text;
  } else if (event.kind === "metrics" && event.turn !== 0)
    turnView(call, event.turn).latencies[event.name] = event.value;
  else if (event.kind === "control" && event.turn !== 0) noteControl(call, event);
}

/** A latency may be known before the signal it belongs to is told. */
function turnView(call: Call, number: number): TurnView {
  const known = call.turns.get(number);
  if (known !== undefined) return known;
  const made: TurnView = {
    turn: number,
    origin: "",
    user: "",
    said: "",
    terminal: "",
    delivery: "",
    playedUs: 0,
    committed: false,
    playing: false,
    settled: false,
    latencies: {},
  };
  call.turns.set(number, made);
  return made;
}

function noteControl(call: Call, event: Extract<ObservedEvent, { kind: "control" }>): void {
  const turn = turnView(call, event.turn);
  switch (event.signal) {
    case "turn_open":
      turn.origin = String(event.fields.origin ?? "");
      turn.user = turn.origin === "endpoint" ? call.heard : "";
      return;
    case "commit":
      turn.committed = true;
      turn.terminal = "commit";
      return;
    case "abort":
      turn.terminal = `abort(${event.reason})`;
      return;
    case "playback_started":
      turn.playing = true;
      return;
    case "playback_completed":
    case "playback_cancelled":
    case "playback_lost":
      turn.delivery = event.signal.slice("playback_".length);
      turn.playing = false;
      turn.playedUs = Math.max(turn.playedUs, Number(event.fields.mediaUs ?? 0));
      turn.settled = true;
      return;
  }
}
