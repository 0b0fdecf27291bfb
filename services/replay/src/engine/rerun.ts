/**
 * A recorded session run again: by another pipeline version (F-072), or with emissions recomputed (F-151). What the caller
 * and the platform did is offered as it was; what answered the kernel's effects is offered to the effect that corresponds,
 * at its recorded position while the call began at the recorded step, else with its recorded latency. Timers and playout
 * follow this run's own effects from where they differ. As long as nothing differs, every step is the recorded one.
 */
import { canonicalJson } from "@rspp/base/canonical-json";
import { digestHex } from "@rspp/base/digest";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import { unknownBehaviours } from "@rspp/kernel/behaviours";
import type { Effect } from "@rspp/kernel/effect";
import { digestEffects } from "@rspp/kernel/effect-digest";
import type { TextSpan } from "@rspp/kernel/event";
import type { Batch, Input, InputBody } from "@rspp/kernel/input";
import type { PureFunctions } from "@rspp/kernel/pure-functions";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { restoreState, snapshotState } from "@rspp/kernel/snapshot";
import { createSession, type SessionState } from "@rspp/kernel/state";
import { step } from "@rspp/kernel/step";
import { spanText } from "../re-execute.ts";
import { computeFrom } from "./facts.ts";
import { playoutCreate, playoutReported, playoutReports, playoutTakes, type TurnPlayout } from "./playout.ts";
import type { ReplayOutcome, ReplayRun, StepView } from "./replay-run.ts";
import { emissionsOf, noteOpened } from "./rerun-calls.ts";
import { type Pending, type RerunCursor, readRerunCursor, rerunCursor } from "./rerun-cursor.ts";
import type { Resimulator } from "./resimulator.ts";
import { collectStep, timelineSoFar } from "./run-collector.ts";
import { answeredId, outputsOf, type Script, scriptOf } from "./script.ts";
import type { ReplaySource } from "./source.ts";

export interface RerunOptions {
  readonly mode: "recorded" | "resimulate";
  /** Another pipeline version, with the texts its configuration names by refs of `OWN_REFS_FROM` and above. */
  readonly against?: { readonly config: SessionConfig; readonly texts: ReadonlyMap<number, string> };
  readonly resimulator?: Resimulator;
  /** Text of an earlier `pause` over the same source and options. */
  readonly paused?: string;
}

const DRAIN_NS = 60_000_000_000;
const IDLE_MAX = 10_000;
const TOGETHER_MAX = 8;

interface Next {
  atNs: number;
  wallMs: number;
  inputs: { body: InputBody; monoNs: number; wallMs: number }[];
  /** Index of the recorded batch it follows; 0 for none. */
  follows: number;
}

export class Rerun implements ReplayRun {
  readonly #source: ReplaySource;
  readonly #options: RerunOptions;
  readonly #config: SessionConfig;
  readonly #script: Script;
  readonly #texts: Map<number, string>;
  readonly #fns: PureFunctions;
  readonly #c: RerunCursor;
  readonly #state: SessionState;

  /** @throws RangeError when a configuration needs behaviours this build does not know, or the cursor is none. */
  constructor(source: ReplaySource, options: RerunOptions) {
    this.#source = source;
    this.#options = options;
    this.#config = options.against?.config ?? source.config;
    const unknown = unknownBehaviours([...source.config.behaviours, ...this.#config.behaviours]);
    if (unknown.length > 0)
      throw new RangeError(`the replay needs behaviours ${unknown.join(", ")}, unknown to this build`);
    this.#script = scriptOf(source);
    const received = [...this.#script.texts].filter(([ref]) => ref > 0);
    this.#texts = new Map([...received, ...(options.against?.texts ?? [])]);
    const saved = options.paused === undefined ? null : readRerunCursor(options.paused);
    for (const [ref, text] of saved?.texts ?? []) this.#texts.set(ref, text);
    this.#c = saved?.cursor ?? rerunCursor(this.#config, options.mode, source);
    this.#state = saved === null ? createSession(this.#config) : restoreState(saved.state);
    this.#fns = this.#answers();
  }

  #answers(): PureFunctions {
    const { book } = this.#script;
    if (this.#source.texts === null)
      return {
        answer: (question) => {
          const before = book.unknown;
          const answer = book.answer(question);
          this.#c.unknownFacts += book.unknown - before;
          return answer;
        },
      };
    const compute = computeFrom(this.#texts, new Map(this.#script.hashes));
    return { answer: (question) => compute(question) };
  }

  step(): StepView | null {
    const c = this.#c;
    const next = c.over ? null : this.#next();
    if (next === null) {
      c.over = true;
      return null;
    }
    c.nowNs = Math.max(c.nowNs, next.atNs);
    c.wallMs = next.wallMs;
    const inputs = next.inputs.map(({ body, monoNs, wallMs }) => {
      const input = { seq: c.nextSeq, monoNs: monoNs as Input["monoNs"], wallMs: wallMs as Input["wallMs"], body };
      c.nextSeq += 1;
      return input;
    });
    const { nextIndex: index, nowNs: monoNs, wallMs } = c;
    const batch = { index, monoNs, wallMs, inputs } as unknown as Batch;
    c.nextIndex += 1;
    const result = step(this.#state, batch, { fns: this.#fns });
    c.runnable = result.runnable;
    c.idle = inputs.length === 0 ? c.idle + 1 : 0;
    digestEffects(c.digest, result.effects);
    if (!c.parted && digestHex(c.digest) !== this.#script.digests[next.follows - 1]) c.parted = true;
    for (const { body, monoNs: atNs } of inputs) this.#reported(body, atNs);
    for (const effect of result.effects) this.#effect(effect, next.follows);
    this.#placeOutput(result.effects, next.follows);
    const textOf = (spans: readonly TextSpan[]): string => spanText(this.#texts, spans);
    collectStep(c.collector, batch, result.effects, this.#source.texts === null ? null : textOf);
    return { batch, effects: result.effects };
  }

  #next(): Next | null {
    const c = this.#c;
    for (;;) {
      const recorded = this.#script.batches[c.at];
      if (c.parted && c.runnable && c.idle < IDLE_MAX) return this.#goesOn(recorded);
      const own = c.parted ? this.#earliest() : null;
      if (recorded === undefined) return own === null || !this.#drains(own.atNs) ? null : this.#take(own);
      if (own !== null && own.atNs < recorded.monoNs) return this.#take(own);
      c.at += 1;
      const inputs = recorded.inputs.flatMap((input) =>
        this.#offered(input, recorded.index).map((body) => ({ body, monoNs: input.monoNs, wallMs: input.wallMs })),
      );
      if (c.parted && inputs.length === 0) {
        this.#placeOutput([], recorded.index);
        continue;
      }
      return { atNs: recorded.monoNs, wallMs: recorded.wallMs, inputs, follows: recorded.index };
    }
  }

  /** There is more to do now: by the recorded step where it, too, was such a one. */
  #goesOn(recorded: Batch | undefined): Next {
    const c = this.#c;
    if (recorded === undefined || recorded.inputs.length > 0 || recorded.monoNs > c.nowNs)
      return this.#own(c.nowNs, null);
    c.at += 1;
    return { atNs: recorded.monoNs, wallMs: recorded.wallMs, inputs: [], follows: recorded.index };
  }

  /** Behind the recording's end what was begun may end. */
  #drains(atNs: number): boolean {
    const last = this.#script.batches.at(-1)?.monoNs ?? 0;
    return this.#state.turns.length > 0 && atNs <= last + DRAIN_NS;
  }

  #own(atNs: number, body: InputBody | null): Next {
    const wallMs = this.#c.wallMs + Math.max(0, Math.floor((atNs - this.#c.nowNs) / 1e6));
    return { atNs, wallMs, inputs: body === null ? [] : [{ body, monoNs: atNs, wallMs }], follows: 0 };
  }

  #earliest(): Pending | { atNs: number; timer: string } | null {
    const c = this.#c;
    let first: Pending | { atNs: number; timer: string } | null = null;
    for (const one of c.pending)
      if (first === null || one.atNs < first.atNs || (one.atNs === first.atNs && one.order < (first as Pending).order))
        first = one;
    for (const [timer, dueNs] of Object.entries(c.timers)) {
      const fires = this.#script.fires.get(`${timer}@${dueNs}`) ?? 0;
      if (fires > (this.#script.batches[c.at - 1]?.index ?? 0)) continue;
      if (first === null || dueNs < first.atNs) first = { atNs: dueNs, timer };
    }
    return first;
  }

  #take(own: Pending | { atNs: number; timer: string }): Next {
    const c = this.#c;
    const atNs = Math.max(own.atNs, c.nowNs);
    if ("timer" in own) {
      delete c.timers[own.timer];
      return this.#own(atNs, { type: "timer", id: own.timer });
    }
    // What comes at one instant comes in one step, as far as a step holds it.
    const together = c.pending.filter((one) => one.atNs === own.atNs).sort((x, y) => x.order - y.order);
    const taken = new Set(together.slice(0, TOGETHER_MAX));
    c.pending = c.pending.filter((one) => !taken.has(one));
    const next = this.#own(atNs, null);
    for (const { key, index, body } of taken)
      for (const one of index < 0 ? [body] : this.#emissions(key, index, body))
        next.inputs.push({ body: one, monoNs: atNs, wallMs: next.wallMs });
    return next;
  }

  /** What becomes of a recorded input at its recorded position. */
  #offered({ body }: Input, batch: number): InputBody[] {
    const c = this.#c;
    const id = answeredId(body);
    const key = id === null ? undefined : this.#script.keyOf.get(id);
    if (key !== undefined) {
      const link = c.links[key];
      if (link === undefined || !link.aligned) return [];
      const index = this.#script.calls.get(key)?.emissions.findIndex((one) => one.body === body) ?? -1;
      return this.#emissions(key, index, body);
    }
    if (!c.parted && body.type === "timer") delete c.timers[body.id];
    if (!c.parted) return [this.#adapted(body)];
    if (id !== null) return [];
    if (body.type === "timer") {
      const dueNs = this.#script.dueNs.get(`${batch}/${body.id}`);
      if (dueNs === undefined || c.timers[body.id] !== dueNs) return [];
      delete c.timers[body.id];
      return [body];
    }
    if (body.type === "delivery" || body.type === "fence_ack") {
      const turn = c.turns[body.turn];
      return turn === undefined || turn.aligned ? [body] : [];
    }
    return [this.#adapted(body)];
  }

  #adapted(body: InputBody): InputBody {
    if (body.type !== "snapshot" || this.#options.against === undefined) return body;
    const { pipeline, profile } = this.#config.snapshots;
    // What policy came to was of the recorded pipeline's nodes: the other one's own order stands.
    const own = body.resolution === undefined ? {} : { resolution: null };
    return { ...body, refs: { ...body.refs, pipeline, profile }, ...own };
  }

  #emissions(key: string, index: number, body: InputBody): InputBody[] {
    const { resimulator } = this.#options;
    const batch = this.#c.nextIndex;
    return emissionsOf({ c: this.#c, script: this.#script, texts: this.#texts, resimulator, batch }, key, index, body);
  }

  #reported(body: InputBody, atNs: number): void {
    if (body.type === "delivery" || body.type === "fence_ack") playoutReported(this.#turn(body.turn), body, atNs);
  }

  #effect(effect: Effect, follows: number): void {
    const c = this.#c;
    if (effect.type === "timer_set") c.timers[effect.id] = effect.atNs;
    else if (effect.type === "timer_clear") delete c.timers[effect.id];
    else noteOpened(c, this.#script, effect, follows, this.#options.resimulator !== undefined);
  }

  #turn(number: number): TurnPlayout {
    const known = this.#c.turns[number];
    if (known !== undefined) return known;
    const made = playoutCreate();
    this.#c.turns[number] = made;
    return made;
  }

  /** Where a turn's output parts from the recorded one, its recorded reports no longer hold. */
  #placeOutput(effects: readonly Effect[], follows: number): void {
    const c = this.#c;
    const found = outputsOf(effects);
    const recorded = this.#script.output.get(follows);
    for (const effect of effects)
      if (effect.type === "egress_media" || effect.type === "egress_fence")
        playoutTakes(this.#turn(effect.turn), effect, c.nowNs);
    for (const number of new Set([...found.keys(), ...(recorded?.keys() ?? [])])) {
      if (number === 0) continue;
      const turn = this.#turn(number);
      if (found.get(number) !== recorded?.get(number)) turn.aligned = false;
      if (turn.aligned) continue;
      const key = `play/${number}`;
      c.pending = c.pending.filter((one) => one.key !== key);
      const { epoch } = this.#state.authority;
      for (const { atNs, body } of playoutReports(turn, number, epoch, this.#script, c.nowNs)) {
        c.pending.push({ atNs, order: c.nextOrder, key, index: -1, body });
        c.nextOrder += 1;
      }
    }
  }

  pause(): string {
    const texts = [...this.#texts].filter(([ref, text]) => this.#script.texts.get(ref) !== text || ref < 0);
    return JSON.stringify({ cursor: this.#c, state: snapshotState(this.#state), texts });
  }

  stateDigest(): string {
    return sha256Utf8Hex(`${snapshotState(this.#state)}\n${canonicalJson(this.#c.digest)}`);
  }

  outcome(): ReplayOutcome {
    const c = this.#c;
    const replayed = timelineSoFar(c.collector);
    replayed.turns.sort((a, b) => a.turn - b.turn);
    return {
      mode: c.mode,
      pipeline: this.#config.snapshots.pipeline,
      level: this.#source.texts === null ? "handles" : "effects",
      steps: c.nextIndex - 1,
      identical: !c.parted && c.divergences.length === 0,
      stepDivergences: [...c.divergences],
      notes: this.#notes(),
      reference: this.#script.timeline,
      replayed,
      digest: this.stateDigest(),
    };
  }

  #notes(): string[] {
    const { mode, served, recomputed, unrecorded, unknownFacts } = this.#c;
    const { partedAt, batches } = this.#script;
    const notes: string[] = [];
    if (mode === "resimulate") notes.push(`${recomputed} emissions were recomputed, ${served} served as recorded.`);
    if (partedAt > 0) notes.push(`This build already parts from the recording at step ${partedAt}.`);
    if (batches.length < this.#source.entries.length)
      notes.push(`Only the first ${batches.length} of ${this.#source.entries.length} steps can be run again.`);
    for (const key of unrecorded) notes.push(`Nothing is recorded that answers ${key}: it was told to have failed.`);
    if (unknownFacts > 0) notes.push(`${unknownFacts} questions about texts have no recorded answer: record at L2.`);
    return notes;
  }
}
