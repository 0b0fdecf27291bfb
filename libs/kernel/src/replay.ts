/** Feeds a journal to a fresh kernel and compares (`kernel.md` §12): the same shell as production, without the I/O. */

import { canonicalJson } from "@rspp/base/canonical-json";
import { type Digest, digestCreate, digestHex } from "@rspp/base/digest";
import { unknownBehaviours } from "./behaviours.ts";
import type { Effect } from "./effect.ts";
import { digestEffects } from "./effect-digest.ts";
import type { Batch } from "./input.ts";
import type { Fact, FactAnswer, PureFunctions, TextQuestion } from "./pure-functions.ts";
import {
  classifyByProof,
  classifyBySummary,
  type DivergenceClass,
  type RecordedProof,
  type StepSummary,
} from "./replay-classes.ts";
import type { SessionConfig } from "./session-config.ts";
import { createSession, type SessionState } from "./state.ts";
import { step } from "./step.ts";

export interface JournalEntry {
  batch: Batch;
  facts: readonly Fact[];
  /** Rolling digest of all effects from the session's start up to and with this step's; `digestHex`. */
  digest: string;
  /** What the step did, class by class, for a recording that is to say how a replay differs. */
  summary?: StepSummary;
  /** The kernel broke at this batch: the last entry, with the message, without effects and with an empty digest. */
  fault?: string;
}

/** The recording ends in a broken kernel. `found` is what the same batch broke on here; empty when it did not. */
export interface ReplayFault {
  batch: number;
  recorded: string;
  found: string;
}

export interface Divergence {
  batch: number;
  class: DivergenceClass;
  expected: string;
  found: string;
}

export interface ReplayResult {
  identical: boolean;
  steps: number;
  divergences: Divergence[];
  /** Null where the recorded kernel did not break. */
  fault: ReplayFault | null;
  /**
   * What the class of a differing step was told from: its recorded summary, the proof that the caller gave, or the digest
   * alone, which tells no classes apart: all is ORDERING.
   */
  classifiedBy: "summary" | "proof" | "digest";
  state: SessionState;
}

export interface ReplayOptions {
  /** Recomputes facts and compares them with the recorded ones (L2); without it the recorded ones are served (L1). */
  fns?: PureFunctions;
  /** Start from a restored snapshot instead of a fresh session; `digest` is the rolling digest at that point. */
  from?: { state: SessionState; digest: Digest };
  onStep?: (batch: Batch, effects: readonly Effect[]) => void;
  divergencesMax?: number;
  /** What else of the recording is at hand, for steps without a summary. */
  proof?: RecordedProof;
}

/** @throws RangeError when the journal needs behaviours this build does not know. */
export function replayJournal(
  config: SessionConfig,
  entries: readonly JournalEntry[],
  options: ReplayOptions = {},
): ReplayResult {
  const unknown = unknownBehaviours(config.behaviours);
  if (unknown.length > 0)
    throw new RangeError(
      `the journal needs behaviours ${unknown.join(", ")}, unknown to this build: replay it with the build that wrote it`,
    );
  const state = options.from?.state ?? createSession(config);
  const digest = options.from?.digest ?? digestCreate();
  const max = options.divergencesMax ?? 10;
  const divergences: Divergence[] = [];
  let steps = 0;
  let fault: ReplayFault | null = null;
  let classifiedBy: ReplayResult["classifiedBy"] = "digest";
  for (const entry of entries) {
    const facts = factServer(entry, options.fns, divergences);
    if (entry.digest === "") {
      fault = replayFault(state, entry, facts);
      const { batch, recorded: expected, found } = fault;
      if (found !== expected) divergences.push({ batch, class: "OUTCOME", expected, found });
      break;
    }
    const result = step(state, entry.batch, { fns: facts });
    options.onStep?.(entry.batch, result.effects);
    digestEffects(digest, result.effects);
    const found = digestHex(digest);
    steps += 1;
    if (found !== entry.digest) {
      const told = classify(entry, result.effects, options.proof);
      classifiedBy = told.by;
      divergences.push({ batch: entry.batch.index, class: told.class, expected: entry.digest, found });
      // The digest rolls: after the first difference every later one differs too.
      break;
    }
    if (divergences.length >= max) break;
  }
  return { identical: divergences.length === 0, steps, divergences, fault, classifiedBy, state };
}

function classify(
  entry: JournalEntry,
  effects: readonly Effect[],
  proof: RecordedProof | undefined,
): { class: DivergenceClass; by: ReplayResult["classifiedBy"] } {
  if (entry.summary !== undefined) return { class: classifyBySummary(entry.summary, effects), by: "summary" };
  if (proof === undefined) return { class: "ORDERING", by: "digest" };
  return { class: classifyByProof(proof, entry.batch, effects), by: "proof" };
}

/** Steps the batch that broke the recorded kernel; nothing can follow it. */
function replayFault(state: SessionState, entry: JournalEntry, facts: PureFunctions): ReplayFault {
  const { batch, fault: recorded = "" } = entry;
  try {
    step(state, batch, { fns: facts });
  } catch (error) {
    return { batch: batch.index, recorded, found: error instanceof Error ? error.message : String(error) };
  }
  return { batch: batch.index, recorded, found: "" };
}

function factServer(entry: JournalEntry, fns: PureFunctions | undefined, divergences: Divergence[]): PureFunctions {
  let next = 0;
  return {
    answer(question: TextQuestion): FactAnswer {
      const recorded = entry.facts[next];
      next += 1;
      if (recorded === undefined || recorded.fn !== question.fn) {
        divergences.push({
          batch: entry.batch.index,
          class: "OUTCOME",
          expected: recorded?.fn ?? "no question",
          found: question.fn,
        });
        return fns?.answer(question) ?? fallbackAnswer(question);
      }
      if (fns === undefined) return recorded.answer;
      const answer = fns.answer(question);
      const expected = canonicalJson(recorded.answer);
      const found = canonicalJson(answer);
      if (expected !== found) divergences.push({ batch: entry.batch.index, class: "PAYLOAD", expected, found });
      return answer;
    },
  };
}

/** A question that was not asked in the recording has no true answer; the divergence is already noted. */
function fallbackAnswer(question: TextQuestion): FactAnswer {
  switch (question.fn) {
    case "clause_ends":
    case "respell":
      return [];
    case "screen":
      return [0];
    case "cut":
      return { chars: question.to - question.from, bytes: 0, hash: "" };
    case "same_text":
    case "is_blank":
    case "has_words":
    case "only_words":
    case "predicate":
      return false;
    case "word_end_before":
    case "echo_share":
      return 0;
    case "find":
      return -1;
  }
}
