/** What a successor knows of its predecessor, and how its state begins (`kernel.md` §7, §8; F-155). */
import type { DurableState } from "./durable-state.ts";
import { dedupeKey, dedupeSequence } from "./identity.ts";
import type { SessionState } from "./state.ts";

/** The turn whose output the adapter had not played to its end. */
export interface OpenTurnSeen {
  number: number;
  generation: number;
  /** Media time of it that was played, microseconds. */
  playedUs: number;
  /** Its terminal was heard of. */
  committed: boolean;
  /** All its output had come: it is played to its end. */
  complete: boolean;
}

/** Part of the session's configuration, hence journaled: a replay starts from the same. */
export interface Takeover {
  predecessor: string;
  predecessorEpoch: number;
  /** Handed over at a turn boundary; else the predecessor is lost. */
  planned: boolean;
  state: "found" | "missing" | "unreachable";
  /** 0 for none. */
  stateVersion: number;
  /** Null where there is none: the session starts anew. Its spans name texts the shell registered. */
  durable: DurableState | null;
  openTurn: OpenTurnSeen | null;
  /** Highest turn the adapter has heard of. */
  lastTurnSeen: number;
  muted: boolean;
  /** What the predecessor had recorded in its last so many milliseconds may be missing. */
  lostBoundMs: number;
}

/** Before the first step. */
export function restoreDurable(s: SessionState, { durable, stateVersion, muted }: Takeover): void {
  s.prelude.muted = muted;
  s.stateVersion = stateVersion;
  if (durable === null) return;
  s.conversation = durable.conversation.map((part) => ({ ...part }));
  if (durable.language !== "") s.language = durable.language;
  s.lastAudioSequence = durable.audioThrough;
  if (durable.audioThrough > 0) dedupeSequence(s.dedupe, "audio", durable.audioThrough);
  if (durable.controlThrough > 0) dedupeSequence(s.dedupe, "control", durable.controlThrough);
  for (const key of durable.keys) dedupeKey(s.dedupe, key, 0);
}
