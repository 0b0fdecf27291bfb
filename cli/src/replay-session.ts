/** Replays a recorded session from the spool and says, turn by turn, whether it came out the same (`kernel.md` §12). */

import type { Effect, TimelineRecord } from "@rspp/kernel/effect";
import type { TextSpan } from "@rspp/kernel/event";
import type { PureFunctions } from "@rspp/kernel/pure-functions";
import { type Divergence, type JournalEntry, replayJournal } from "@rspp/kernel/replay";
import type { RecordedProof } from "@rspp/kernel/replay-classes";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { cutOf, evaluateText } from "@rspp/kernel/text-functions";
import { readSession, type SessionRun } from "@rspp/runtime/spool/reader";
import { describeProblem } from "@rspp/runtime/spool/scan";
import type { SpoolStore } from "@rspp/runtime/spool/store";
import { InputError } from "./errors.ts";

export interface ReplayedTurn {
  turn: number;
  terminal: string;
  planHash: string;
  evidenceHash: string;
  user: string;
  /** Words of the reply that were heard. */
  heard: string;
  /** Media time that was really played, by the delivery addendum, milliseconds. */
  playedMs: number;
  /** `incomplete`: the recording holds no evidence to compare with, because it was cut off or is damaged there. */
  replay: "identical" | "diverged" | "incomplete";
}

export interface SessionReplay {
  sessionId: string;
  /** `effects`: byte-identical effects with facts recomputed (L2); `handles`: over recorded facts (L1). */
  level: "effects" | "handles";
  steps: number;
  identical: boolean;
  divergences: Divergence[];
  turns: ReplayedTurn[];
  /** Damage found in the recording; empty when it is whole. */
  problems: string[];
  /** The session's end is recorded; false when its process died, or is still running. */
  ended: boolean;
}

/** @throws InputError when there is nothing to replay, or the recording is damaged so that it cannot be. */
export function replaySession(store: SpoolStore, sessionId: string): SessionReplay {
  const read = readSession(store, sessionId);
  const run = read.runs.at(-1);
  const problems = read.problems.map(describeProblem);
  if (run === undefined)
    throw new InputError(
      `session ${sessionId}: not in this spool\n   help: list the sessions with \`rspp sessions --data DIR\``,
    );
  const config = (run.start as { config?: SessionConfig | null } | null)?.config;
  if (config === null || config === undefined || run.entries.length === 0) {
    throw new InputError(
      `session ${sessionId}: recorded at L0, without a journal\n   help: record at L1 or L2 (recording.level in the spec, or --record L1) to replay by re-execution`,
    );
  }
  return replayRun(sessionId, config, run, problems);
}

function replayRun(sessionId: string, config: SessionConfig, run: SessionRun, problems: string[]): SessionReplay {
  const texts = new Map<number, string>();
  for (const [ref, payload] of run.payloads) if (payload.text !== undefined) texts.set(ref, payload.text);
  const entries = unbroken(run.entries as JournalEntry[], problems);
  // Beside damage a payload may be missing, too: then over the recorded facts.
  const withPayloads = config.recording.ceiling === "L2" && problems.length === 0;
  const records = new Map<number, Partial<ReplayedTurn>>();
  let failedAt = Number.POSITIVE_INFINITY;
  const opened = new Map<number, number>();
  const result = replayJournal(config, entries, {
    ...(withPayloads ? { fns: recompute(texts, entries) } : {}),
    proof: proofOf(run),
    onStep: (batch, effects) => {
      for (const effect of effects) note(records, opened, batch.index, effect);
    },
  });
  for (const divergence of result.divergences) failedAt = Math.min(failedAt, divergence.batch);
  const live = recorded(run);
  const turns = [...records.entries()].map(([turn, found]): ReplayedTurn => {
    const recordedHash = live.get(turn);
    const comparable = recordedHash !== undefined && found.evidenceHash !== undefined;
    const same = recordedHash === found.evidenceHash && (opened.get(turn) ?? 0) <= failedAt && result.identical;
    const whole = same ? "identical" : "diverged";
    return {
      turn,
      terminal: found.terminal ?? "",
      planHash: found.planHash ?? "",
      evidenceHash: found.evidenceHash ?? "",
      user: words(texts, result.state.conversation, turn, "user"),
      heard: words(texts, result.state.conversation, turn, "assistant"),
      playedMs: found.playedMs ?? 0,
      replay: comparable || !result.identical ? whole : "incomplete",
    };
  });
  return {
    sessionId,
    level: withPayloads ? "effects" : "handles",
    steps: result.steps,
    identical: result.identical && turns.every((turn) => turn.replay !== "diverged"),
    divergences: result.divergences,
    turns,
    problems,
    ended: run.ended,
  };
}

/** What was recorded beside the journal: a divergence is classed by it. */
function proofOf(run: SessionRun): RecordedProof {
  const plans: Record<number, string> = {};
  for (const record of run.records) {
    const content = record.content as TimelineRecord | null;
    if (content?.kind === "plan") plans[content.turn] = content.hash;
  }
  const signals = run.signals as { signal: string; cause: number }[];
  return { plans, evidence: Object.fromEntries(recorded(run)), signals };
}

/** Steps follow from one another: behind a missing one nothing can be re-executed. Says so in `problems`. */
function unbroken(entries: readonly JournalEntry[], problems: string[]): JournalEntry[] {
  const gap = entries.findIndex((entry, i) => entry.batch.index !== i + 1);
  if (gap === -1) return [...entries];
  const next = entries[gap]?.batch.index ?? 0;
  problems.push(
    `steps ${gap + 1} to ${next - 1} are missing: replayed up to step ${gap} of ${entries.at(-1)?.batch.index}`,
  );
  return entries.slice(0, gap);
}

/** Recomputes facts from recorded payloads. Hashes are keyed per tenant and cannot be recomputed here: those are taken over. */
function recompute(texts: Map<number, string>, entries: readonly JournalEntry[]): PureFunctions {
  const cuts = entries.flatMap((entry) => entry.facts.filter((fact) => fact.fn === "cut"));
  let nextCut = 0;
  const join = (spans: readonly TextSpan[]): string =>
    spans.map((span) => (texts.get(span.ref) ?? "").slice(span.from, span.to)).join("");
  return {
    answer(question) {
      if (question.fn !== "cut") return evaluateText(question, join);
      const text = cutOf(question, join);
      texts.set(question.ref, text);
      const recordedCut = cuts[nextCut]?.answer;
      nextCut += 1;
      const hash = typeof recordedCut === "object" && "hash" in recordedCut ? recordedCut.hash : "";
      return { chars: text.length, bytes: Buffer.byteLength(text), hash };
    },
  };
}

function note(
  records: Map<number, Partial<ReplayedTurn>>,
  opened: Map<number, number>,
  batch: number,
  effect: Effect,
): void {
  if (effect.type === "record" && effect.record.kind === "plan") {
    opened.set(effect.record.turn, batch);
    records.set(effect.record.turn, { planHash: effect.record.hash });
  } else if (effect.type === "record" && effect.record.kind === "evidence") {
    const found = records.get(effect.record.turn);
    if (found !== undefined) found.evidenceHash = effect.record.hash;
  } else if (effect.type === "record" && effect.record.kind === "delivery_addendum") {
    const found = records.get(effect.record.turn);
    if (found !== undefined)
      found.playedMs = Math.round((effect.record.addendum as { playedUs: number }).playedUs / 1_000);
  } else if (effect.type === "signal" && (effect.event.signal === "commit" || effect.event.signal === "abort")) {
    const found = records.get(effect.event.turn);
    if (found !== undefined)
      found.terminal = effect.event.signal === "commit" ? "commit" : `abort(${effect.event.reason})`;
  }
}

/** Evidence hashes as they were recorded live. */
function recorded(run: SessionRun): Map<number, string> {
  const hashes = new Map<number, string>();
  for (const record of run.records) {
    const content = record.content as TimelineRecord | null;
    if (content !== null && content?.kind === "evidence") hashes.set(content.turn, content.hash);
  }
  return hashes;
}

function words(
  texts: Map<number, string>,
  parts: readonly { role: string; turn: number; spans: readonly TextSpan[] }[],
  turn: number,
  role: string,
): string {
  return parts
    .filter((part) => part.turn === turn && part.role === role)
    .map((part) => part.spans.map((span) => (texts.get(span.ref) ?? "").slice(span.from, span.to)).join(""))
    .join(" ")
    .trim();
}
