/**
 * What a recording offers another run of the same session: the recorded journal is run once through the recorded pipeline,
 * and everything that answered its effects is filed under a key that another run has, too: which turn and node asked, and
 * for the how-manieth time. Numbers of invocations and commands are not the same in both.
 */
import { type Digest, digestCreate, digestHex } from "@rspp/base/digest";
import type { Effect } from "@rspp/kernel/effect";
import { digestEffects } from "@rspp/kernel/effect-digest";
import type { Batch, Input, InputBody } from "@rspp/kernel/input";
import { createSession } from "@rspp/kernel/state";
import { step } from "@rspp/kernel/step";
import { spanText } from "../re-execute.ts";
import { computeFrom, FactBook, RecordedFacts } from "./facts.ts";
import { collectorCreate, collectStep, timelineSoFar } from "./run-collector.ts";
import type { RunTimeline } from "./run-timeline.ts";
import type { ReplaySource } from "./source.ts";

/** One recorded answer to an effect. */
export interface Emission {
  readonly batch: number;
  readonly atNs: number;
  readonly body: InputBody;
}

/** One effect that was answered, with what came. */
export interface RecordedCall {
  readonly key: string;
  readonly openBatch: number;
  readonly openNs: number;
  readonly provider: string;
  readonly emissions: Emission[];
  cancelled: boolean;
}

export interface Script {
  readonly batches: readonly Batch[];
  readonly calls: ReadonlyMap<string, RecordedCall>;
  /** Key of the call that an input answers, by `kind:number`. */
  readonly keyOf: ReadonlyMap<string, string>;
  /** Rolling digest behind each batch, as run here. */
  readonly digests: readonly string[];
  /** Due instants of the timers that fired, by `batch/id`; absent where the kernel had set none. */
  readonly dueNs: ReadonlyMap<string, number>;
  /** Last batch in which a timer of this id and instant fired. */
  readonly fires: ReadonlyMap<string, number>;
  /** Media and fences by batch and turn. */
  readonly output: ReadonlyMap<number, ReadonlyMap<number, string>>;
  readonly reports: ReadonlyMap<number, readonly Emission[]>;
  readonly firstMediaNs: ReadonlyMap<number, number>;
  readonly fencedNs: ReadonlyMap<number, number>;
  readonly book: FactBook;
  /** Keyed hashes of the texts that were cut. */
  readonly hashes: ReadonlyMap<string, string>;
  /** Every text of the recording, those that were cut included. */
  readonly texts: ReadonlyMap<number, string>;
  readonly timeline: RunTimeline;
  /** First batch whose digest is not the recorded one; 0 for none. */
  readonly partedAt: number;
}

type Building = Omit<{ -readonly [K in keyof Script]: Script[K] }, "reports"> & {
  batches: Batch[];
  calls: Map<string, RecordedCall>;
  keyOf: Map<string, string>;
  digests: string[];
  dueNs: Map<string, number>;
  fires: Map<string, number>;
  output: Map<number, ReadonlyMap<number, string>>;
  reports: Map<number, Emission[]>;
  firstMediaNs: Map<number, number>;
  fencedNs: Map<number, number>;
};

/** The key of each effect that is answered, the same in every run; counts opens, so ask once per effect and in order. */
export class CallKeys {
  readonly counts: Record<string, number>;
  readonly instances: Record<string, string>;

  constructor(counts: Record<string, number> = {}, instances: Record<string, string> = {}) {
    this.counts = counts;
    this.instances = instances;
  }

  /** `id` is what an input would answer it by; null for effects that nothing answers. */
  of(effect: Effect): { key: string; id: string } | null {
    switch (effect.type) {
      case "provider_open": {
        const tool = effect.tool === undefined ? "" : `/${effect.tool.name}`;
        const key = this.#counted(`call/${effect.turn}/${effect.node}/${effect.modality}${tool}`);
        return { key, id: `invocation:${effect.invocation}` };
      }
      case "node_event":
        return { key: this.#counted(`event/${effect.node}/${effect.mediaUs}`), id: `command:${effect.command}` };
      case "node_open": {
        const key = this.#counted(`instance/${effect.turn}/${effect.node}`);
        this.instances[effect.instance] = key;
        return { key, id: `instance:${effect.instance}` };
      }
      case "node_input": {
        const key = this.#counted(`input/${this.instances[effect.instance] ?? effect.node}/${effect.port}`);
        return { key, id: `command:${effect.command}` };
      }
      case "node_cancel": {
        const key = this.#counted(`cancel/${this.instances[effect.instance] ?? ""}`);
        return { key, id: `command:${effect.command}` };
      }
      default:
        return null;
    }
  }

  #counted(key: string): string {
    const count = (this.counts[key] ?? 0) + 1;
    this.counts[key] = count;
    return `${key}/${count}`;
  }
}

/** What an input answers; null for those that come by themselves. */
export function answeredId(body: InputBody): string | null {
  switch (body.type) {
    case "provider_chunk":
    case "provider_outcome":
      return `invocation:${body.invocation}`;
    case "node_emitted":
    case "node_done":
    case "node_failed":
    case "cancel_acked":
      return `command:${body.command}`;
    case "node_ready":
      return `instance:${body.instance}`;
    case "node_stopped":
      return body.instance === undefined ? null : `instance:${body.instance}`;
    default:
      return null;
  }
}

/** @throws Error where the recorded journal cannot be run by this build. */
export function scriptOf(source: ReplaySource): Script {
  const { config, entries, redacted } = source;
  const texts = new Map(source.texts ?? []);
  const hashes = new Map<string, string>();
  const compute = source.texts === null ? null : computeFrom(texts, hashes);
  const textOf = source.texts === null ? null : (spans: Parameters<typeof spanText>[1]) => spanText(texts, spans);
  const script = building(texts, hashes);
  const collector = collectorCreate(config, "live", { level: config.recording.ceiling, redacted });
  const state = createSession(config);
  const digest: Digest = digestCreate();
  const keys = new CallKeys();
  const timers = new Map<string, number>();
  for (const entry of entries) {
    const { batch } = entry;
    if (batch.index !== state.batchIndex + 1 || entry.digest === "") break;
    const facts = new RecordedFacts(entry, compute, (question, answer) => script.book.note(question, answer));
    for (const input of batch.inputs) fileInput(script, timers, batch, input);
    const { effects } = step(state, batch, { fns: facts });
    digestEffects(digest, effects);
    const found = digestHex(digest);
    if (found !== entry.digest && script.partedAt === 0) script.partedAt = batch.index;
    script.digests.push(found);
    script.batches.push(batch);
    for (const effect of effects) fileEffect(script, keys, timers, batch, effect);
    const outputs = outputsOf(effects);
    if (outputs.size > 0) script.output.set(batch.index, outputs);
    collectStep(collector, batch, effects, textOf);
  }
  script.timeline = timelineSoFar(collector);
  return script;
}

function building(texts: Map<number, string>, hashes: Map<string, string>): Building {
  return {
    batches: [],
    calls: new Map(),
    keyOf: new Map(),
    digests: [],
    dueNs: new Map(),
    fires: new Map(),
    output: new Map(),
    reports: new Map(),
    firstMediaNs: new Map(),
    fencedNs: new Map(),
    book: new FactBook(),
    hashes,
    texts,
    timeline: null as unknown as RunTimeline,
    partedAt: 0,
  };
}

function fileInput(script: Building, timers: Map<string, number>, batch: Batch, { body, monoNs }: Input): void {
  const emission: Emission = { batch: batch.index, atNs: monoNs, body };
  if (body.type === "timer") {
    const due = timers.get(body.id);
    if (due === undefined) return;
    timers.delete(body.id);
    script.dueNs.set(`${batch.index}/${body.id}`, due);
    script.fires.set(`${body.id}@${due}`, batch.index);
  } else if (body.type === "delivery" || body.type === "fence_ack") {
    const known = script.reports.get(body.turn);
    if (known === undefined) script.reports.set(body.turn, [emission]);
    else known.push(emission);
  } else {
    const id = answeredId(body);
    const key = id === null ? undefined : script.keyOf.get(id);
    if (key !== undefined) script.calls.get(key)?.emissions.push(emission);
  }
}

function fileEffect(script: Building, keys: CallKeys, timers: Map<string, number>, batch: Batch, effect: Effect): void {
  if (effect.type === "timer_set") timers.set(effect.id, effect.atNs);
  else if (effect.type === "timer_clear") timers.delete(effect.id);
  else if (effect.type === "egress_media" && effect.payload !== null) {
    if (!script.firstMediaNs.has(effect.turn)) script.firstMediaNs.set(effect.turn, batch.monoNs);
  } else if (effect.type === "egress_fence") {
    if (!script.fencedNs.has(effect.turn)) script.fencedNs.set(effect.turn, batch.monoNs);
  } else if (effect.type === "provider_cancel") {
    const call = script.calls.get(script.keyOf.get(`invocation:${effect.invocation}`) ?? "");
    if (call !== undefined) call.cancelled = true;
  } else {
    const found = keys.of(effect);
    if (found === null) return;
    const provider = effect.type === "provider_open" ? effect.provider : "";
    script.keyOf.set(found.id, found.key);
    const { index: openBatch, monoNs: openNs } = batch;
    script.calls.set(found.key, { key: found.key, openBatch, openNs, provider, emissions: [], cancelled: false });
  }
}

/** What a step gave out of each turn, as text to compare; payload numbers are not in it. */
export function outputsOf(effects: readonly Effect[]): Map<number, string> {
  const found = new Map<number, string>();
  for (const effect of effects) {
    if (effect.type !== "egress_media" && effect.type !== "egress_fence") continue;
    const told =
      effect.type === "egress_fence"
        ? `fence ${effect.generation} ${effect.all}`
        : `media ${effect.offsetUs} ${effect.durationUs} ${effect.end}`;
    found.set(effect.turn, `${found.get(effect.turn) ?? ""};${told}`);
  }
  return found;
}
