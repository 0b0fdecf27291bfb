/** The live account of a call, for people: what was heard, said, cut, and each latency. */
import type { ObservedEvent } from "@rspp/runtime/observers";
import type { TurnView } from "./call.ts";

export interface Account {
  line(text: string): void;
  event(event: ObservedEvent): void;
}

const LATENCY_NAMES: Readonly<Record<string, string>> = {
  turn_open_ms: "turn open",
  first_output_ms: "first audio",
  cancel_fence_ms: "cancel to fence",
  voice_to_voice_ms: "end of speech to playback",
};

/** @param startNs instant of the call's start, nanoseconds. */
export function createAccount(print: (line: string) => void, startNs: number): Account {
  const at = (ns: number): string => `${((ns - startNs) / 1e9).toFixed(2).padStart(6)}s`;
  return {
    line: print,
    event(event) {
      const text = describe(event);
      if (text !== "") print(`${at(event.atNs)}  ${text}`);
    },
  };
}

function describe(event: ObservedEvent): string {
  switch (event.kind) {
    case "text":
      if (event.role === "user") return event.final ? `caller   "${event.text}"` : "";
      return `agent    "${event.text.trim()}"`;
    case "control":
      return describeControl(event);
    case "error":
      return `error    ${event.code}: ${event.detail}`;
    default:
      return "";
  }
}

function describeControl(event: Extract<ObservedEvent, { kind: "control" }>): string {
  const turn = event.turn === 0 ? "" : `turn ${event.turn}`;
  switch (event.signal) {
    case "turn_open":
      return `${turn}   opens: ${originWords(String(event.fields.origin))}`;
    case "commit":
      return `${turn}   committed: the reply is generated, it goes on playing`;
    case "abort":
      return `${turn}   aborted: ${event.reason}`;
    case "barge_in":
      return `caller   barges in`;
    case "playback_cancelled":
      return `${turn}   cut after ${seconds(event.fields.mediaUs)} of playback`;
    case "playback_completed":
      return `${turn}   played to the end (${seconds(event.fields.mediaUs)})`;
    case "playback_lost":
      return `${turn}   delivery lost`;
    case "provider_error":
    case "provider_switch":
    case "budget_warning":
    case "budget_exhausted":
    case "reject":
    case "defer":
      return `${event.signal.padEnd(8)} ${turn} ${event.reason} ${String(event.fields.provider ?? "")}`.trimEnd();
    default:
      return "";
  }
}

/** To a tenth: what was played to the last sample is known only when the device has said so, at the end. */
function seconds(us: unknown): string {
  return `${(Number(us ?? 0) / 1e6).toFixed(1)} s`;
}

/** Why a turn opened, for people. */
export function originWords(origin: string): string {
  if (origin === "endpoint") return "the caller has spoken";
  return origin === "api" ? "the agent speaks first" : origin;
}

/** The latencies of a turn in one line; empty when none is known. */
export function latencyLine(turn: TurnView): string {
  return Object.entries(LATENCY_NAMES)
    .filter(([name]) => turn.latencies[name] !== undefined)
    .map(([name, label]) => `${label} ${formatMs(turn.latencies[name] as number)}`)
    .join(", ");
}

function formatMs(ms: number): string {
  return ms < 10 ? `${ms.toFixed(2)} ms` : `${Math.round(ms)} ms`;
}
