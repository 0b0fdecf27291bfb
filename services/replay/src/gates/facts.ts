/** Facts for the gates out of recordings, of a runtime's spool or of the timeline: all levels hold what is needed. */
import type { SignalEvent, TimelineRecord } from "@rspp/kernel/effect";
import { type DeliveryAddendum, type SealedEvidence, verifyAddendum, verifyEvidence } from "@rspp/kernel/evidence";
import type { Recording } from "../re-execute.ts";
import { staleOutputs } from "./stale-outputs.ts";
import { ANCHORS, type AnchorName, type GateFacts, type GateTurn } from "./types.ts";

/** A recorded session: one recording for each start, oldest first, and the damage that reading it found. */
export interface GateSession {
  readonly sessionId: string;
  readonly runs: readonly Recording[];
  readonly problems: readonly string[];
}

/** Name of the marker that holds a turn's canonical anchors, as the runtime writes it. */
const ANCHORS_MARKER = "turn_anchors";

interface Building {
  epoch: number;
  origin: string;
  accepted: boolean;
  readonly signals: string[];
  readonly evidence: SealedEvidence[];
  readonly addenda: DeliveryAddendum[];
  readonly anchors: Partial<Record<AnchorName, number>>;
  readonly anchorFaults: string[];
  anchorRecords: number;
  lost: boolean;
  /** Index of the run it was last heard of in. */
  run: number;
}

/** Never throws for what recordings hold. */
export function gateFacts(sessions: readonly GateSession[]): GateFacts {
  const turns: GateTurn[] = [];
  const stale: string[] = [];
  let outputs = 0;
  for (const session of sessions) {
    for (const chain of chainsOf(session.runs)) {
      turns.push(...turnsOf(session.sessionId, chain));
      const found = staleOutputs(session.sessionId, chain);
      stale.push(...found.stale);
      outputs += found.outputs;
    }
  }
  const damage = sessions.flatMap(({ sessionId, problems }) => problems.map((problem) => `${sessionId}: ${problem}`));
  return { turns, staleOutputs: stale, outputs, damage };
}

/** Runs that follow from one another by takeover; the same id used again from the start is another session. */
function chainsOf(runs: readonly Recording[]): Recording[][] {
  const chains: Recording[][] = [];
  for (const run of runs) {
    const chain = chains.at(-1);
    const before = chain?.at(-1);
    if (chain !== undefined && before !== undefined && epochOf(run) > epochOf(before)) chain.push(run);
    else chains.push([run]);
  }
  return chains;
}

export function epochOf({ start }: Recording): number {
  const epoch = (start as { epoch?: unknown } | null)?.epoch;
  return typeof epoch === "number" ? epoch : 0;
}

function turnsOf(session: string, chain: readonly Recording[]): GateTurn[] {
  const turns = new Map<number, Building>();
  const lostRuns = new Set<number>();
  for (const [index, run] of chain.entries()) {
    const at = (turn: number): Building => turnAt(turns, turn, index, epochOf(run));
    for (const signal of run.signals as SignalEvent[]) noteSignal(signal, at);
    for (const { content } of run.records) if (noteRecord(content, at)) lostRuns.add(index - 1);
  }
  const accepted = [...turns].filter(([, turn]) => turn.accepted).sort(([a], [b]) => a - b);
  return accepted.map(([number, turn]) => gateTurn(session, number, turn, lostRuns.has(turn.run)));
}

function turnAt(turns: Map<number, Building>, turn: number, run: number, epoch: number): Building {
  const known = turns.get(turn);
  if (known !== undefined) {
    known.run = run;
    return known;
  }
  const made: Building = {
    ...{ epoch, origin: "", accepted: false, anchorRecords: 0, lost: false, run },
    ...{ signals: [], evidence: [], addenda: [], anchors: {}, anchorFaults: [] },
  };
  turns.set(turn, made);
  return made;
}

function noteSignal({ signal, turn, fields }: SignalEvent, at: (turn: number) => Building): void {
  if (turn === 0) return;
  const found = at(turn);
  found.signals.push(signal);
  if (signal !== "turn_open") return;
  found.accepted = true;
  found.origin = String(fields.origin ?? "");
}

/** @returns true where it says that the run before lost its tail. */
function noteRecord(content: unknown, at: (turn: number) => Building): boolean {
  if (typeof content !== "object" || content === null) return false;
  if ("predecessorEpoch" in content) return true;
  if ("name" in content && content.name === ANCHORS_MARKER && "fields" in content) noteAnchors(content.fields, at);
  else if ("lost" in content && Array.isArray(content.lost)) {
    for (const { turn } of content.lost as { turn?: unknown }[])
      if (typeof turn === "number" && turn > 0) at(turn).lost = true;
  }
  const record = content as TimelineRecord;
  if (record.kind === "plan") at(record.turn).accepted = true;
  else if (record.kind === "evidence") {
    const found = at(record.turn);
    found.accepted = true;
    found.evidence.push(record.manifest as SealedEvidence);
  } else if (record.kind === "delivery_addendum") at(record.turn).addenda.push(record.addendum as DeliveryAddendum);
  return false;
}

function noteAnchors(fields: unknown, at: (turn: number) => Building): void {
  const texts = (fields ?? {}) as Readonly<Record<string, string>>;
  const turn = Number(texts.turn);
  if (!Number.isInteger(turn) || turn < 1) return;
  const found = at(turn);
  found.anchorRecords += 1;
  if (found.anchorRecords > 1) found.anchorFaults.push("its anchors are recorded twice");
  for (const name of ANCHORS) {
    const text = texts[name];
    // What is no number is kept as one that cannot be: the gate says so.
    if (text !== undefined) found.anchors[name] = Number(text);
  }
}

function gateTurn(session: string, turn: number, found: Building, tailLost: boolean): GateTurn {
  const { epoch, origin, anchors, anchorFaults, signals, evidence, addenda } = found;
  const manifest = evidence[0]?.manifest ?? null;
  const [addendum = null] = addenda;
  const ending = signals.filter((signal) => endings.has(signal));
  const gaps = evidenceGaps(evidence, addenda);
  const played = (addendum?.playedUs ?? 0) > 0 || signals.includes("playback_started");
  const sent = (manifest?.terminal?.lastDataSequence ?? 0) > 1 || signals.includes("output_accepted");
  const cancelled = (manifest?.cancel ?? null) !== null || (addendum?.cancelAcceptedNs ?? null) !== null;
  return {
    ...{ session, turn, epoch, origin, anchors, anchorFaults, ending },
    hasOutput: played || sent,
    wasPlayed: played,
    wasCancelled: cancelled,
    evidenceGaps: gaps,
    declaredLost: gaps.length > 0 && (found.lost || tailLost),
    endingLost: ending.length < 2 && tailLost,
  };
}

const endings: ReadonlySet<string> = new Set(["commit", "abort", "close"]);

function evidenceGaps(evidence: readonly SealedEvidence[], addenda: readonly DeliveryAddendum[]): string[] {
  const [sealed, ...others] = evidence;
  const [addendum, ...more] = addenda;
  if (sealed === undefined) return ["no evidence is recorded"];
  const gaps = sealed.missing.map((path) => `evidence lacks ${path}`);
  if (others.length > 0) gaps.push(`evidence is recorded ${evidence.length} times`);
  if (!intact(() => verifyEvidence(sealed))) gaps.push("evidence is not what was sealed");
  if (sealed.truncated > 0) gaps.push(`${sealed.truncated} parts of the evidence were cut`);
  if (addendum === undefined) gaps.push("no delivery addendum is recorded");
  else if (!intact(() => verifyAddendum(sealed, addendum))) gaps.push("the delivery addendum is not this evidence's");
  if (more.length > 0) gaps.push(`the delivery addendum is recorded ${addenda.length} times`);
  return gaps;
}

/** What was altered may have any shape. */
function intact(check: () => boolean): boolean {
  try {
    return check();
  } catch {
    return false;
  }
}
