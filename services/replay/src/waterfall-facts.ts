/** What a recording says of each turn: from signals and evidence at every level, from the re-executed journal at L1 and L2. */
import type { Effect, SignalEvent, TimelineRecord } from "@rspp/kernel/effect";
import type { TextSpan } from "@rspp/kernel/event";
import type { DeliveryAddendum, SealedEvidence } from "@rspp/kernel/evidence";
import type { Batch, Input } from "@rspp/kernel/input";
import { configOf, type Recording, reExecute, type SessionReplay, spanText, textsOf } from "./re-execute.ts";

/** One attempt of a provider. */
export interface InvocationFacts {
  readonly node: string;
  readonly modality: string;
  readonly provider: string;
  readonly attempt: number;
  /** Name of the tool that was called. */
  readonly tool?: string;
  readonly openedNs: number;
  endedNs: number | null;
  firstNs: number | null;
  /** Empty while it is open. */
  outcome: string;
}

/** How work ended that outlived its turn. */
export interface LateOutcome {
  readonly node: string;
  readonly tool: string;
  readonly provider: string;
  readonly outcome: string;
  readonly openedNs: number;
  readonly endedNs: number;
}

export interface TurnFacts {
  readonly turn: number;
  open: SignalEvent | null;
  proposal: SignalEvent | null;
  planHash: string;
  evidence: SealedEvidence | null;
  addendum: DeliveryAddendum | null;
  readonly signals: SignalEvent[];
  /** Of the step that opened it. */
  openedNs: number | null;
  firstMediaNs: number | null;
  lastMediaNs: number | null;
  firstFrameNs: number | null;
  lastVoicedNs: number | null;
  /** By invocation number; empty without a journal. */
  readonly invocations: Map<number, InvocationFacts>;
  readonly late: LateOutcome[];
  /** Clauses given to the voice, by segment. */
  readonly said: Map<number, readonly TextSpan[]>;
}

export interface SessionFacts {
  readonly turns: ReadonlyMap<number, TurnFacts>;
  /** Outside of turns. */
  readonly signals: readonly SignalEvent[];
  /** Null without a journal. */
  readonly replay: SessionReplay | null;
  /** Why the journal could not be re-executed; empty where it was, or where there is none. */
  readonly replayFault: string;
  readonly texts: ReadonlyMap<number, string>;
  /** Text of spans, as far as its payloads are recorded. */
  textOf(spans: readonly TextSpan[]): string;
}

/** A pause in speech after which what follows is another utterance. */
const utterancePauseNs = 1_500_000_000;
const framesMax = 8_192;

export function factsOf(sessionId: string, recording: Recording, problems: readonly string[]): SessionFacts {
  const turns = new Map<number, TurnFacts>();
  const signals = recording.signals as SignalEvent[];
  noteSignals(signals, turns);
  for (const { content } of recording.records) if (content !== null) noteRecord(content as TimelineRecord, turns);
  const texts = textsOf(recording);
  const config = configOf(recording);
  let replay: SessionReplay | null = null;
  let replayFault = "";
  if (config !== null) {
    const watcher = new StepWatcher(turns);
    try {
      replay = reExecute(sessionId, config, recording, [...problems], {
        onStep: (batch, effects) => watcher.step(batch, effects),
      });
    } catch (failure) {
      // A journal of another build, or of altered content: what was seen up to there is kept.
      replayFault = failure instanceof Error ? failure.message : String(failure);
    }
  }
  return {
    turns: new Map([...turns].sort(([a], [b]) => a - b)),
    signals: signals.filter(({ turn }) => turn === 0),
    replay,
    replayFault,
    texts,
    textOf: (spans) => spanText(texts, spans),
  };
}

function turnOf(turns: Map<number, TurnFacts>, turn: number): TurnFacts {
  const known = turns.get(turn);
  if (known !== undefined) return known;
  const made: TurnFacts = {
    turn,
    open: null,
    proposal: null,
    planHash: "",
    evidence: null,
    addendum: null,
    signals: [],
    openedNs: null,
    firstMediaNs: null,
    lastMediaNs: null,
    firstFrameNs: null,
    lastVoicedNs: null,
    invocations: new Map(),
    late: [],
    said: new Map(),
  };
  turns.set(turn, made);
  return made;
}

/** A turn opens on the newest proposal of its origin that was not taken yet. */
function noteSignals(signals: readonly SignalEvent[], turns: Map<number, TurnFacts>): void {
  const proposals: SignalEvent[] = [];
  for (const signal of signals) {
    if (signal.signal === "turn_open_proposed") proposals.push(signal);
    if (signal.turn === 0) continue;
    const turn = turnOf(turns, signal.turn);
    turn.signals.push(signal);
    if (signal.signal !== "turn_open") continue;
    turn.open = signal;
    const at = proposals.findLastIndex(({ fields }) => fields.origin === signal.fields.origin);
    turn.proposal = at === -1 ? null : (proposals.splice(at, 1)[0] ?? null);
  }
}

function noteRecord(record: TimelineRecord, turns: Map<number, TurnFacts>): void {
  if (record.kind === "plan") turnOf(turns, record.turn).planHash = record.hash;
  else if (record.kind === "evidence") turnOf(turns, record.turn).evidence = record.manifest as SealedEvidence;
  else if (record.kind === "delivery_addendum")
    turnOf(turns, record.turn).addendum = record.addendum as DeliveryAddendum;
  else if (record.kind === "late_outcome") turnOf(turns, record.turn).late.push(record.outcome as LateOutcome);
}

/** What happens step by step while the journal is re-executed. */
class StepWatcher {
  private readonly turns: Map<number, TurnFacts>;
  private readonly open = new Map<number, InvocationFacts>();
  /** Begun outside of turns, for the turn that opens next: hearing, and work ahead. */
  private readonly ahead = new Map<number, InvocationFacts>();
  /** Instant of each frame of the caller by its media time: voice detection speaks of those. */
  private readonly frames = new Map<number, number>();
  private firstFrameNs: number | null = null;
  private lastVoicedNs: number | null = null;

  constructor(turns: Map<number, TurnFacts>) {
    this.turns = turns;
  }

  step(batch: Batch, effects: readonly Effect[]): void {
    for (const input of batch.inputs) this.input(input);
    for (const effect of effects) this.effect(effect, batch.monoNs);
  }

  private input({ body, monoNs }: Input): void {
    if (body.type === "audio") {
      this.frames.set(body.mediaUs, monoNs);
      if (this.frames.size > framesMax) this.frames.delete(this.frames.keys().next().value ?? 0);
    } else if (body.type === "node_emitted") {
      if (body.body.type === "activity" && body.body.speech) this.voiced(this.frames.get(body.body.mediaUs) ?? monoNs);
    } else if (body.type === "provider_chunk") {
      const invocation = this.open.get(body.invocation);
      if (invocation !== undefined) invocation.firstNs ??= monoNs;
    } else if (body.type === "provider_outcome") {
      const invocation = this.open.get(body.invocation);
      if (invocation === undefined) return;
      invocation.endedNs = monoNs;
      invocation.outcome = body.outcome;
      this.open.delete(body.invocation);
    }
  }

  private voiced(atNs: number): void {
    const paused = this.lastVoicedNs === null || atNs - this.lastVoicedNs > utterancePauseNs;
    if (paused || this.firstFrameNs === null) this.firstFrameNs = atNs;
    this.lastVoicedNs = atNs;
  }

  private effect(effect: Effect, atNs: number): void {
    switch (effect.type) {
      case "egress_media": {
        if (effect.payload === null) return;
        const turn = turnOf(this.turns, effect.turn);
        turn.firstMediaNs ??= atNs;
        turn.lastMediaNs = atNs;
        return;
      }
      case "egress_text":
        if (effect.role === "assistant") turnOf(this.turns, effect.turn).said.set(effect.segment, effect.spans);
        return;
      case "provider_open": {
        const { node, modality, provider, attempt, invocation } = effect;
        const tool = effect.tool === undefined ? {} : { tool: effect.tool.name };
        const rest = { openedNs: atNs, endedNs: null, firstNs: null, outcome: "" };
        const facts = { node, modality, provider, attempt, ...tool, ...rest };
        this.open.set(invocation, facts);
        (effect.turn === 0 ? this.ahead : turnOf(this.turns, effect.turn).invocations).set(invocation, facts);
        return;
      }
      case "signal":
        if (effect.event.signal === "turn_open") this.opened(effect.event, atNs);
        return;
      default:
        return;
    }
  }

  private opened({ turn: number, fields }: SignalEvent, atNs: number): void {
    const turn = turnOf(this.turns, number);
    turn.openedNs = atNs;
    for (const [invocation, facts] of this.ahead) turn.invocations.set(invocation, facts);
    this.ahead.clear();
    if (fields.origin !== "endpoint") return;
    turn.firstFrameNs = this.firstFrameNs;
    turn.lastVoicedNs = this.lastVoicedNs;
    this.firstFrameNs = null;
  }
}
