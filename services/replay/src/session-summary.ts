/**
 * What became of a session, from its records alone (F-075): record by record, without re-execution, so that summing up keeps
 * nobody's acknowledgement waiting. Signals, evidence and addenda are there at every level; tokens, cost, the caller's audio
 * and the caller's side of voice-to-voice stand in the journal, and so at L1 and L2 alone: what is not known is null.
 */
import type { TimelineRecord as RecordMessage } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { ProviderPrice } from "@rspp/kernel/budget-state";
import type { SignalEvent, TimelineRecord } from "@rspp/kernel/effect";
import type { DeliveryAddendum, SealedEvidence } from "@rspp/kernel/evidence";
import type { InputBody, Usage } from "@rspp/kernel/input";
import { parseCanonical } from "@rspp/wire/journal";
import { levelNames } from "@rspp/wire/names";
import { timelineRecordFromWire } from "@rspp/wire/timeline";
import { declaresLoss, isSessionEnd } from "./segment-writer.ts";
import { isKernelRecord } from "./verify-timeline.ts";

/** Milliseconds over the turns of which the latency can be told; nearest rank. */
export interface LatencySummary {
  readonly turns: number;
  readonly p50_ms: number;
  readonly p95_ms: number;
  readonly max_ms: number;
}

export const latencyNames = ["turn_open_ms", "voice_to_voice_ms", "cancel_fence_ms"] as const;

export interface SessionSummary {
  readonly tenant_id: string;
  readonly session_id: string;
  readonly pipeline: { readonly name: string; readonly version: number };
  readonly started_wall_ms: number;
  readonly ended_wall_ms: number;
  readonly duration_ms: number;
  /** Why it ended, in the runtime's words; `lost`: its runtime went without a word. */
  readonly reason: string;
  /** The end is recorded, and nothing of it is missing. */
  readonly complete: boolean;
  /** Highest. */
  readonly recording_level: string;
  readonly turns: { readonly opened: number; readonly committed: number; readonly aborted: number };
  /** Turns that the caller cut by speaking, and proposals that came to no turn. */
  readonly interruptions: number;
  readonly refusals: number;
  readonly invocations: { readonly attempts: number; readonly failed: number };
  readonly tokens: { readonly input: number; readonly output: number } | null;
  /** `caller`: taken in. `heard`: of the replies, what was really played. */
  readonly audio: { readonly caller_ms: number | null; readonly heard_ms: number };
  /** By the prices of the pipeline; null where it has none, or no journal is recorded. */
  readonly cost_micros: number | null;
  readonly latencies: Readonly<Partial<Record<(typeof latencyNames)[number], LatencySummary>>>;
}

interface Turn {
  proposedNs: number | null;
  openedNs: number | null;
  voicedNs: number | null;
  playedNs: number | null;
  cancelNs: number | null;
  fencedNs: number | null;
  terminal: string;
  cut: boolean;
}

/** Turns that are looked at one by one; beyond, they are counted in no latency. */
const turnsMax = 10_000;
const framesMax = 8_192;

export class SessionSummaryBuilder {
  readonly #turns = new Map<number, Turn>();
  readonly #proposals = new Map<string, number>();
  readonly #frames = new Map<number, number>();
  readonly #providers = new Map<number, string>();
  readonly #used: { id: number; usage: Usage }[] = [];
  #pipeline = { name: "", version: 0 };
  #prices: readonly ProviderPrice[] = [];
  #startedWallMs = Number.POSITIVE_INFINITY;
  #endedWallMs = 0;
  #reason = "lost";
  #ended = false;
  #whole = true;
  #level = 0;
  #refusals = 0;
  #attempts = 0;
  #failed = 0;
  #journal = false;
  #callerUs = 0;
  #heardUs = 0;
  #voicedNs: number | null = null;

  /** In order of (epoch, sequence). What cannot be read makes the summary incomplete. */
  take(record: RecordMessage): void {
    const { body } = record;
    this.#startedWallMs = Math.min(this.#startedWallMs, Number(record.wallMs));
    this.#endedWallMs = Math.max(this.#endedWallMs, Number(record.wallMs));
    this.#level = Math.max(this.#level, record.level);
    if (declaresLoss(record)) this.#whole = false;
    if (isSessionEnd(record)) this.#end(record);
    else if (body.case === "header") this.#header(record);
    else if (body.case === "batch") for (const input of body.value.inputs) this.#input(input.body, input.monotonicNs);
    else if (body.case === "refusal") this.#refusals += 1;
    else if (isKernelRecord(record)) this.#kernel(record);
    else if (body.case === "effect" && body.value.kind === "signal") this.#signal(contentOf(record));
  }

  /** Something of the session could not be read. */
  damaged(): void {
    this.#whole = false;
  }

  finish(session: { readonly tenantId: string; readonly sessionId: string }): SessionSummary {
    const turns = [...this.#turns.values()];
    const started = Number.isFinite(this.#startedWallMs) ? this.#startedWallMs : this.#endedWallMs;
    const sum = (of: (usage: Usage) => number | undefined) =>
      this.#used.reduce((all, { usage }) => all + (of(usage) ?? 0), 0);
    return {
      tenant_id: session.tenantId,
      session_id: session.sessionId,
      pipeline: this.#pipeline,
      started_wall_ms: started,
      ended_wall_ms: this.#endedWallMs,
      duration_ms: this.#endedWallMs - started,
      reason: this.#reason,
      complete: this.#ended && this.#whole,
      recording_level: levelNames.name(this.#level) || "L0",
      turns: {
        opened: turns.filter(({ openedNs }) => openedNs !== null).length,
        committed: turns.filter(({ terminal }) => terminal === "commit").length,
        aborted: turns.filter(({ terminal }) => terminal === "abort").length,
      },
      interruptions: turns.filter(({ cut }) => cut).length,
      refusals: this.#refusals,
      invocations: { attempts: this.#attempts, failed: this.#failed },
      tokens: this.#journal ? { input: sum((use) => use.inputTokens), output: sum((use) => use.outputTokens) } : null,
      audio: {
        caller_ms: this.#journal ? Math.round(this.#callerUs / 1_000) : null,
        heard_ms: Math.round(this.#heardUs / 1_000),
      },
      cost_micros: this.#cost(),
      latencies: latenciesOf(turns),
    };
  }

  #end(record: RecordMessage): void {
    this.#ended = true;
    const { reason } = (contentOf(record) ?? {}) as { reason?: unknown };
    const told = record.body.case === "marker" ? record.body.value.fields.reason : undefined;
    this.#reason = String(reason ?? told ?? "ended").slice(0, 128);
  }

  #header(record: RecordMessage): void {
    if (record.body.case !== "header") return;
    const { pipeline } = record.body.value;
    if (pipeline !== undefined) this.#pipeline = { name: pipeline.name, version: pipeline.version };
    const start = contentOf(record) as { config?: { graph?: { budgets?: { prices?: ProviderPrice[] } } } } | null;
    this.#prices = start?.config?.graph?.budgets?.prices ?? this.#prices;
  }

  #input(bytes: Uint8Array, atNs: bigint): void {
    const body = jsonOf(bytes) as InputBody | null;
    if (body === null) return this.damaged();
    this.#journal = true;
    if (body.type === "audio") {
      this.#callerUs += body.durationUs;
      this.#frames.set(body.mediaUs, Number(atNs));
      if (this.#frames.size > framesMax) this.#frames.delete(this.#frames.keys().next().value ?? 0);
    } else if (body.type === "node_emitted") {
      if (body.body.type !== "activity" || !body.body.speech) return;
      this.#voicedNs = this.#frames.get(body.body.mediaUs) ?? Number(atNs);
    } else if (body.type === "provider_outcome" && body.usage !== null) {
      this.#used.push({ id: body.invocation, usage: body.usage });
    }
  }

  #kernel(record: RecordMessage): void {
    const read = timelineRecordFromWire(record);
    if (!read.ok) return this.damaged();
    const kernel: TimelineRecord = read.value;
    if (kernel.kind === "evidence") this.#evidence(kernel.turn, kernel.manifest as SealedEvidence);
    else if (kernel.kind === "delivery_addendum") {
      const addendum = kernel.addendum as DeliveryAddendum;
      this.#heardUs += addendum.playedUs;
      const turn = this.#turn(kernel.turn);
      if (turn === null) return;
      turn.cancelNs = addendum.cancelAcceptedNs ?? turn.cancelNs;
      turn.fencedNs = addendum.cancelFenceAppliedNs;
    } else if (kernel.kind === "refusal") this.#refusals += 1;
  }

  #evidence(number: number, { manifest, missing }: SealedEvidence): void {
    if (missing.length > 0) this.damaged();
    for (const { invocationId, provider, outcome } of manifest.invocations) {
      this.#attempts += 1;
      if (outcome !== "success" && outcome !== "cancelled" && outcome !== null) this.#failed += 1;
      // `inv_<epoch>_<id>`; the id rises over takeovers.
      this.#providers.set(Number(invocationId.split("_").at(-1)), provider);
    }
    const turn = this.#turn(number);
    if (turn === null) return;
    turn.openedNs ??= manifest.opened?.monoNs ?? null;
    turn.terminal = manifest.terminal?.kind ?? turn.terminal;
    turn.cancelNs = manifest.cancel?.acceptedNs ?? turn.cancelNs;
  }

  #signal(content: unknown): void {
    const { signal, turn: number, monoNs, fields } = (content ?? {}) as Partial<SignalEvent>;
    if (typeof signal !== "string" || typeof number !== "number" || typeof monoNs !== "number") return this.damaged();
    const origin = String(fields?.origin ?? "");
    if (signal === "turn_open_proposed") this.#proposals.set(origin, monoNs);
    const turn = number === 0 ? null : this.#turn(number);
    if (turn === null) return;
    if (signal === "turn_open") {
      turn.openedNs = monoNs;
      turn.proposedNs = this.#proposals.get(origin) ?? null;
      this.#proposals.delete(origin);
      if (origin === "endpoint") turn.voicedNs = this.#voicedNs;
      this.#voicedNs = null;
    } else if (signal === "playback_started") turn.playedNs ??= monoNs;
    else if (signal === "barge_in") turn.cut = true;
    else if (signal === "commit" || signal === "abort") turn.terminal ||= signal;
    if (signal === "barge_in" || signal === "cancel") turn.cancelNs ??= monoNs;
  }

  #turn(number: number): Turn | null {
    const known = this.#turns.get(number);
    if (known !== undefined) return known;
    if (this.#turns.size >= turnsMax) return null;
    const instants = {
      proposedNs: null,
      openedNs: null,
      voicedNs: null,
      playedNs: null,
      cancelNs: null,
      fencedNs: null,
    };
    const made: Turn = { ...instants, terminal: "", cut: false };
    this.#turns.set(number, made);
    return made;
  }

  #cost(): number | null {
    if (!this.#journal || this.#prices.length === 0) return null;
    let micros = 0;
    for (const { id, usage } of this.#used) {
      const price = this.#prices.find(({ provider }) => provider === this.#providers.get(id));
      micros += (usage.inputTokens ?? 0) * (price?.inputTokenMicros ?? 0);
      micros += (usage.outputTokens ?? 0) * (price?.outputTokenMicros ?? 0);
      micros += (usage.characters ?? 0) * (price?.characterMicros ?? 0);
      micros += ((usage.audioUs ?? 0) / 1e6) * (price?.audioSecondMicros ?? 0);
    }
    return Math.round(micros);
  }
}

function latenciesOf(turns: readonly Turn[]): SessionSummary["latencies"] {
  const pairs: Readonly<
    Record<(typeof latencyNames)[number], (turn: Turn) => readonly [number | null, number | null]>
  > = {
    turn_open_ms: ({ proposedNs, openedNs }) => [proposedNs, openedNs],
    voice_to_voice_ms: ({ voicedNs, playedNs }) => [voicedNs, playedNs],
    cancel_fence_ms: ({ cancelNs, fencedNs }) => [cancelNs, fencedNs],
  };
  const found = latencyNames.flatMap((name) => {
    const values = turns
      .map((turn) => pairs[name](turn))
      .flatMap(([from, to]) => (from === null || to === null ? [] : [Math.max(0, (to - from) / 1e6)]))
      .sort((a, b) => a - b);
    const rank = (share: number) => round(values[Math.max(0, Math.ceil(share * values.length) - 1)] ?? 0);
    const told = { turns: values.length, p50_ms: rank(0.5), p95_ms: rank(0.95), max_ms: rank(1) };
    return values.length === 0 ? [] : [[name, told] as const];
  });
  return Object.fromEntries(found);
}

const round = (ms: number): number => Math.round(ms * 1_000) / 1_000;

function contentOf({ canonical }: RecordMessage): unknown {
  const parsed = parseCanonical(canonical, "canonical");
  return parsed.ok ? parsed.value : null;
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}
