/**
 * Replays a recorded session with the kernel and says, turn by turn, whether it came out the same (`kernel.md` §12). The
 * recording comes from a runtime's spool or from the timeline: both hold the same.
 */
import type { Effect, TimelineRecord } from "@rspp/kernel/effect";
import type { TextSpan } from "@rspp/kernel/event";
import type { Batch } from "@rspp/kernel/input";
import type { PureFunctions } from "@rspp/kernel/pure-functions";
import { type Divergence, type JournalEntry, replayJournal } from "@rspp/kernel/replay";
import type { RecordedProof } from "@rspp/kernel/replay-classes";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { cutOf, evaluateText } from "@rspp/kernel/text-functions";
import { answerPredicate } from "@rspp/spec/cel";

/** What was recorded between one start of a session and the next. */
export interface Recording {
  /** Content of the session's header; null when it is missing. */
  readonly start: unknown;
  /** Steps in order (L1 and L2). */
  readonly entries: readonly JournalEntry[];
  readonly signals: readonly unknown[];
  /** Payloads by ref (L2): text, or base64 of the bytes. */
  readonly payloads: ReadonlyMap<number, { text?: string; base64?: string }>;
  /** The kernel's own records: evidence, plans, snapshots …; null where one was erased. */
  readonly records: readonly { readonly content: unknown }[];
  readonly ended: boolean;
}

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

export interface ReExecution {
  /** Told of every step, with what it did. */
  onStep?: (batch: Batch, effects: readonly Effect[]) => void;
}

/** The configuration to replay with; null where none is recorded, or no journal is: at L0. */
export function configOf(recording: Recording): SessionConfig | null {
  const config = (recording.start as { config?: SessionConfig | null } | null)?.config;
  return config === null || config === undefined || recording.entries.length === 0 ? null : config;
}

/** @param problems damage that is known already; what the replay finds missing is added to it. */
export function reExecute(
  sessionId: string,
  config: SessionConfig,
  recording: Recording,
  problems: string[],
  { onStep }: ReExecution = {},
): SessionReplay {
  const texts = textsOf(recording);
  const entries = unbroken(recording.entries, problems);
  // Beside damage, and where pressure lowered the level, payloads are missing: then over the recorded facts.
  const withPayloads = config.recording.ceiling === "L2" && problems.length === 0 && !levelMoved(recording);
  const records = new Map<number, Partial<ReplayedTurn>>();
  let failedAt = Number.POSITIVE_INFINITY;
  const opened = new Map<number, number>();
  const result = replayJournal(config, entries, {
    ...(withPayloads ? { fns: recompute(texts, entries) } : {}),
    proof: proofOf(recording),
    onStep: (batch, effects) => {
      for (const effect of effects) note(records, opened, batch.index, effect);
      onStep?.(batch, effects);
    },
  });
  for (const divergence of result.divergences) failedAt = Math.min(failedAt, divergence.batch);
  const live = recorded(recording);
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
    ended: recording.ended,
  };
}

function levelMoved({ records }: Recording): boolean {
  return records.some(({ content }) => (content as TimelineRecord | null)?.kind === "recording_level");
}

/** Recorded texts by ref; empty below L2. */
export function textsOf({ payloads }: Recording): Map<number, string> {
  const texts = new Map<number, string>();
  for (const [ref, payload] of payloads) if (payload.text !== undefined) texts.set(ref, payload.text);
  return texts;
}

/** What was recorded beside the journal: a divergence is classed by it. */
function proofOf(recording: Recording): RecordedProof {
  const plans: Record<number, string> = {};
  for (const record of recording.records) {
    const content = record.content as TimelineRecord | null;
    if (content?.kind === "plan") plans[content.turn] = content.hash;
  }
  const signals = recording.signals as { signal: string; cause: number }[];
  return { plans, evidence: Object.fromEntries(recorded(recording)), signals };
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
  const join = (spans: readonly TextSpan[]): string => spanText(texts, spans);
  return {
    answer(question) {
      if (question.fn === "predicate") return answerPredicate(question);
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

export function spanText(texts: ReadonlyMap<number, string>, spans: readonly TextSpan[]): string {
  return spans.map((span) => (texts.get(span.ref) ?? "").slice(span.from, span.to)).join("");
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
function recorded(recording: Recording): Map<number, string> {
  const hashes = new Map<number, string>();
  for (const record of recording.records) {
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
    .map((part) => spanText(texts, part.spans))
    .join(" ")
    .trim();
}
