/** A turn in plain words: why it opened, what ran, what cut it, what was heard. */
import type { Span, WaterfallTurn } from "./waterfall-types.ts";

type Explained = Omit<WaterfallTurn, "explanation">;

/** @param interrupted the turn whose output the caller spoke over, 0 for none; `level`: of the recording. */
export function explainTurn(turn: Explained, interrupted: number, level: string): string[] {
  return [
    whyOpened(turn, interrupted),
    whatItAnswers(turn, level),
    ...whatRan(turn),
    whenHeard(turn),
    whatCutIt(turn),
    howItEnded(turn),
    whatWasHeard(turn),
    turn.evidenceComplete ? "" : "Its evidence is missing or incomplete.",
  ].filter((sentence) => sentence !== "");
}

function whyOpened({ origin, anchors, signals }: Explained, interrupted: number): string {
  const over = interrupted === 0 ? "" : `, having spoken over turn ${interrupted}`;
  const reason = signals.find(({ signal }) => signal === "turn_open_proposed")?.reason ?? "";
  const why = reason === "" ? "" : ` (${reason})`;
  switch (origin) {
    case "endpoint": {
      const wait = msBetween(anchors.audio_input_ingress, anchors.turn_open_emitted);
      const after = wait === null ? "" : ` ${ms(wait)} after the last voiced frame`;
      return `It opened${after} because the caller had finished speaking${over}.`;
    }
    case "api":
      return `It opened because the API asked for it${why}.`;
    case "timer":
      return `It opened because a timer ran out${why}.`;
    case "operator":
      return `It opened because an operator asked for it${why}.`;
    default:
      return "Why it opened is not recorded.";
  }
}

function whatItAnswers({ user }: Explained, level: string): string {
  if (user.state === "told") return `The caller said: “${user.text}”.`;
  if (user.state === "hidden") return `What was said is not recorded at ${level}.`;
  return user.state === "unknown" ? "What the caller said is missing from the record." : "";
}

function whatRan({ spans }: Explained): string[] {
  const runs = spans.filter(({ kind }) => kind === "invocation");
  if (runs.length === 0) return ["No provider was asked."];
  return runs.map((run) => `${run.name}${run.attempt > 1 ? `, attempt ${run.attempt},` : ""} ${ranHow(run)}.`);
}

const outcomes: Readonly<Record<string, string>> = {
  success: "answered",
  timeout: "did not answer in time",
  overload: "was overloaded",
  unauthorized: "refused the credentials",
  disconnect: "lost its connection",
  safety_block: "refused the content",
  empty: "answered with nothing",
  cancelled: "was cancelled",
  error: "failed",
};

function ranHow({ outcome, startNs, endNs, firstNs }: Span): string {
  const took = endNs === null ? "" : ` after ${ms((endNs - startNs) / 1e6)}`;
  const first = firstNs === null ? "" : `, its first result after ${ms((firstNs - startNs) / 1e6)}`;
  if (outcome === "") return `has no recorded end${first}`;
  return `${outcomes[outcome] ?? outcome}${took}${first}`;
}

function whenHeard({ latencies }: Explained): string {
  const { first_output_ms: first, voice_to_voice_ms: voice } = latencies;
  const left = first === undefined ? "" : `The first audio left ${ms(first)} after the turn opened`;
  const began = voice === undefined ? "" : `the reply began to play ${ms(voice)} after the caller's last voiced frame`;
  if (left === "" && began === "") return "";
  const both =
    left === "" ? `${began.charAt(0).toUpperCase()}${began.slice(1)}` : began === "" ? left : `${left}; ${began}`;
  return `${both}.`;
}

const cutWords: Readonly<Record<string, string>> = {
  barge_in: "the caller spoke over it",
  preempted: "another turn took its place",
  stop: "a stop was asked for",
};

function whatCutIt({ signals, anchors, latencies, startNs }: Explained): string {
  const cut = signals.find(({ signal }) => ["barge_in", "cancel", "stop", "cancel_requested"].includes(signal));
  if (cut === undefined && anchors.cancel_accepted === null) return "";
  const reason = cut?.reason || cut?.signal || "";
  const why =
    cutWords[cut?.signal === "barge_in" ? "barge_in" : reason] ?? (reason === "" ? "it was cancelled" : reason);
  const at = anchors.cancel_accepted ?? cut?.atNs ?? startNs;
  const fence = latencies.cancel_fence_ms;
  const acknowledged =
    fence === undefined
      ? "; no acknowledgement of the fence is recorded"
      : `; the adapter acknowledged the fence ${ms(fence)} later`;
  return `It was cut ${ms((at - startNs) / 1e6)} after it opened because ${why}${acknowledged}.`;
}

function howItEnded({ terminal, reason }: Explained): string {
  if (terminal === "commit") return "Its reply was generated to the end (commit).";
  if (terminal === "abort") return `It was aborted: ${reason}.`;
  return "Its end is not recorded.";
}

const estimates: Readonly<Record<string, string>> = {
  proportional: ", an estimate by time",
  word_timings: "",
  none: "",
};

function whatWasHeard({ delivery, playedMs, heard, said, heardBy }: Explained): string {
  if (delivery === "") return playedMs < 0 ? "What was played is not recorded." : "";
  const of = said.chars < 0 ? "" : ` of ${said.chars}`;
  const chars = heard.chars < 0 ? "" : `, ${heard.chars}${of} characters heard${estimates[heardBy] ?? ""}`;
  const words = heard.state === "told" ? `: “${heard.text}”` : "";
  if (delivery === "lost") return `Nobody knows what was heard: the adapter's reports were lost${chars}.`;
  const whole = delivery === "completed" ? "The reply was played to its end" : "Playout was cut";
  return `${whole} (${ms(Math.max(0, playedMs))}${chars})${words}.`;
}

function msBetween(fromNs: number | null, toNs: number | null): number | null {
  return fromNs === null || toNs === null ? null : (toNs - fromNs) / 1e6;
}

function ms(value: number): string {
  return `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)} ms`;
}
