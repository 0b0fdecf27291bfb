/**
 * Mode `recorded` against the same pipeline version: recorded inputs as they came, the kernel's decisions recomputed, every
 * step's effects compared with the recording by the rolling digest (`kernel.md` §12). Where the level was lowered for a
 * while, it goes on at the next state snapshot; from there the recording's signals and evidence are what it is held against.
 */
import { canonicalJson } from "@rspp/base/canonical-json";
import { type Digest, digestCreate, digestHex } from "@rspp/base/digest";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import { unknownBehaviours } from "@rspp/kernel/behaviours";
import type { Effect, SignalEvent } from "@rspp/kernel/effect";
import { digestEffects } from "@rspp/kernel/effect-digest";
import type { JournalEntry } from "@rspp/kernel/replay";
import { classifyByProof, classifyBySummary, type RecordedProof } from "@rspp/kernel/replay-classes";
import { restoreState, snapshotState } from "@rspp/kernel/snapshot";
import { createSession, type SessionState } from "@rspp/kernel/state";
import { step } from "@rspp/kernel/step";
import { spanText } from "../re-execute.ts";
import { computeFrom, RecordedFacts } from "./facts.ts";
import type { ReplayOutcome, ReplayRun, StepDivergence, StepView } from "./replay-run.ts";
import { type CollectorState, collectorCreate, collectStep, timelineSoFar } from "./run-collector.ts";
import { type ReplaySource, timelineOfRecords } from "./source.ts";

const CURSOR_SCHEMA = "rspp/replay-cursor/v1";
const DIVERGENCES_MAX = 100;

interface Cursor {
  schema: typeof CURSOR_SCHEMA;
  kind: "playback";
  /** Position of the next entry. */
  at: number;
  steps: number;
  digest: Digest;
  /** Digests can be compared: every effect since the start is in this one, and none differed. */
  byDigest: boolean;
  /** What was replayed while they could not: its signals, to be held against the recorded ones. */
  told: string[];
  evidence: [number, string][];
  fromSeq: number;
  divergences: StepDivergence[];
  notes: string[];
  collector: CollectorState;
  over: boolean;
}

export class Playback implements ReplayRun {
  readonly #source: ReplaySource;
  readonly #proof: RecordedProof;
  readonly #texts: Map<number, string>;
  readonly #compute: ReturnType<typeof computeFrom> | null;
  #state: SessionState;
  #cursor: Cursor;

  /**
   * @param paused text of an earlier `pause` over the same source.
   * @throws RangeError when the recording needs behaviours that this build does not know, or the cursor is none.
   */
  constructor(source: ReplaySource, paused?: string) {
    const unknown = unknownBehaviours(source.config.behaviours);
    if (unknown.length > 0)
      throw new RangeError(
        `the recording needs behaviours ${unknown.join(", ")}, unknown to this build: replay it with the build that wrote it`,
      );
    this.#source = source;
    this.#proof = proofOf(source);
    this.#texts = new Map(source.texts ?? []);
    this.#compute = source.texts === null ? null : computeFrom(this.#texts);
    const saved = paused === undefined ? null : readCursor(paused);
    this.#state = saved === null ? createSession(source.config) : restoreState(saved.state);
    for (const [ref, text] of saved?.texts ?? []) this.#texts.set(ref, text);
    this.#cursor = saved?.cursor ?? cursorCreate(source);
  }

  step(): StepView | null {
    const c = this.#cursor;
    const entry = c.over ? undefined : this.#entry();
    if (entry === undefined) return this.#end();
    c.at += 1;
    const facts = new RecordedFacts(entry, this.#compute);
    let effects: readonly Effect[];
    try {
      effects = step(this.#state, entry.batch, { fns: facts }).effects;
    } catch (error) {
      return this.#broke(entry, error);
    }
    if (entry.digest === "") this.#diverged(entry, "OUTCOME", entry.fault ?? "a broken kernel", "");
    for (const difference of facts.differences) this.#note(difference);
    c.steps += 1;
    digestEffects(c.digest, effects);
    if (entry.digest !== "" && c.byDigest) this.#compare(entry, effects);
    else this.#remember(effects);
    const { texts } = this.#source;
    collectStep(c.collector, entry.batch, effects, texts === null ? null : (spans) => spanText(this.#texts, spans));
    return { batch: entry.batch, effects };
  }

  /** The next entry, past a gap the first behind a snapshot; undefined where none can follow. */
  #entry(): JournalEntry | undefined {
    const c = this.#cursor;
    const { entries, snapshots } = this.#source;
    const next = entries[c.at];
    if (next === undefined || next.batch.index === this.#state.batchIndex + 1) return next;
    const was = this.#state.batchIndex;
    for (let at = c.at; at < entries.length; at++) {
      const index = (entries[at] as JournalEntry).batch.index;
      const state = snapshots.get(index - 1);
      if (state === undefined) continue;
      this.#checkTold();
      this.#state = restoreState(state);
      c.at = at;
      c.byDigest = false;
      c.fromSeq = this.#state.seq;
      const skipped = was === 0 ? "the first" : `behind ${was} the`;
      c.notes.push(`${skipped} steps up to ${index - 1} are not recorded: it went on at the state snapshot there`);
      return entries[at];
    }
    const last = entries.at(-1)?.batch.index ?? 0;
    c.notes.push(`steps ${was + 1} to ${next.batch.index - 1} are missing: replayed up to step ${was} of ${last}`);
    return undefined;
  }

  #compare(entry: JournalEntry, effects: readonly Effect[]): void {
    const c = this.#cursor;
    const found = digestHex(c.digest);
    if (found === entry.digest) return;
    const { summary } = entry;
    const told = summary === undefined ? null : classifyBySummary(summary, effects);
    this.#diverged(entry, told ?? classifyByProof(this.#proof, entry.batch, effects), entry.digest, found);
    // The digest rolls: after the first difference every later one differs too.
    c.byDigest = false;
    c.fromSeq = -1;
  }

  #diverged({ batch }: JournalEntry, kind: StepDivergence["class"], expected: string, found: string): void {
    this.#note({ batch: batch.index, class: kind, expected, found });
  }

  #note(divergence: StepDivergence): void {
    if (this.#cursor.divergences.length < DIVERGENCES_MAX) this.#cursor.divergences.push(divergence);
  }

  #broke(entry: JournalEntry, error: unknown): null {
    const found = error instanceof Error ? error.message : String(error);
    const expected = entry.digest === "" ? (entry.fault ?? "") : "a step without a fault";
    if (found !== expected) this.#diverged(entry, "OUTCOME", expected, found);
    else this.#cursor.notes.push(`the kernel broke at step ${entry.batch.index}, here as it did then: ${found}`);
    return this.#end();
  }

  #remember(effects: readonly Effect[]): void {
    const c = this.#cursor;
    if (c.fromSeq < 0) return;
    for (const effect of effects) {
      if (effect.type === "signal") c.told.push(named(effect.event));
      else if (effect.type === "record" && effect.record.kind === "evidence")
        c.evidence.push([effect.record.turn, effect.record.hash]);
    }
  }

  /** Holds what was replayed without digests against the recorded signals and evidence. */
  #checkTold(): void {
    const c = this.#cursor;
    if (c.byDigest || c.fromSeq < 0) return;
    const { batchIndex, seq } = this.#state;
    const recorded = this.#source.signals.filter((event) => event.seq > c.fromSeq && event.seq <= seq).map(named);
    const at = recorded.findIndex((one, i) => one !== c.told[i]);
    if (at !== -1)
      this.#note({
        batch: batchIndex,
        class: "ORDERING",
        expected: recorded[at] ?? "",
        found: c.told[at] ?? "nothing",
      });
    for (const [turn, hash] of c.evidence) {
      const expected = this.#proof.evidence?.[turn];
      if (expected !== undefined && expected !== hash)
        this.#note({ batch: batchIndex, class: "OUTCOME", expected, found: hash });
    }
    c.told = [];
    c.evidence = [];
    c.fromSeq = seq;
  }

  #end(): null {
    if (!this.#cursor.over) this.#checkTold();
    this.#cursor.over = true;
    return null;
  }

  pause(): string {
    const recorded = this.#source.texts;
    const texts = [...this.#texts].filter(([ref, text]) => recorded?.get(ref) !== text);
    return JSON.stringify({ cursor: this.#cursor, state: snapshotState(this.#state), texts });
  }

  stateDigest(): string {
    return sha256Utf8Hex(`${snapshotState(this.#state)}\n${canonicalJson(this.#cursor.digest)}`);
  }

  outcome(): ReplayOutcome {
    const c = this.#cursor;
    const { config, texts, signals, records, redacted } = this.#source;
    const identical = c.divergences.length === 0;
    const replayed = timelineSoFar(c.collector);
    const live = signals.length > 0 ? timelineOfRecords(config, redacted, signals, records) : null;
    return {
      mode: "recorded",
      pipeline: config.snapshots.pipeline,
      level: texts === null ? "handles" : "effects",
      steps: c.steps,
      identical,
      stepDivergences: [...c.divergences],
      notes: [...c.notes],
      // Equal digests prove that every effect is the recorded one: then the recorded run is the replayed one.
      reference: identical && c.byDigest ? { ...structuredClone(replayed), mode: "live" } : live,
      replayed,
      digest: this.stateDigest(),
    };
  }
}

function cursorCreate({ config, redacted }: ReplaySource): Cursor {
  const level = config.recording.ceiling;
  return {
    schema: CURSOR_SCHEMA,
    kind: "playback",
    at: 0,
    steps: 0,
    digest: digestCreate(),
    byDigest: true,
    told: [],
    evidence: [],
    fromSeq: 0,
    divergences: [],
    notes: [],
    collector: collectorCreate(config, "recorded", { level, redacted }),
    over: false,
  };
}

function readCursor(text: string): { cursor: Cursor; state: string; texts: [number, string][] } {
  const found = JSON.parse(text) as { cursor?: Cursor; state: string; texts: [number, string][] };
  const { cursor } = found;
  if (cursor?.schema !== CURSOR_SCHEMA || cursor.kind !== "playback")
    throw new RangeError("this is no cursor of a replay of recorded output: give the text that `pause` returned");
  return { ...found, cursor };
}

function named({ signal, seq, turn, reason }: SignalEvent): string {
  return `${signal}#${turn}(${reason})@${seq}`;
}

function proofOf({ signals, records }: ReplaySource): RecordedProof {
  const plans: Record<number, string> = {};
  const evidence: Record<number, string> = {};
  for (const record of records) {
    if (record.kind === "plan") plans[record.turn] = record.hash;
    else if (record.kind === "evidence") evidence[record.turn] = record.hash;
  }
  return { plans, evidence, ...(signals.length === 0 ? {} : { signals }) };
}
