/**
 * Where a replay parts from its recording, and of which class that is (`kernel.md` §12). A rolling digest says only that a
 * step differs. What differs in it is told from the step's summary, where one was recorded; else from what the caller
 * still has of the recording: plans, evidence, signals.
 */
import { digestCreate, digestHex, digestString } from "@rspp/base/digest";
import type { Effect } from "./effect.ts";
import { digestValue } from "./effect-digest.ts";
import type { SealedEvidence } from "./evidence.ts";
import type { Batch } from "./input.ts";

export type DivergenceClass = "PLAN" | "OUTCOME" | "ORDERING" | "AUTHORITY" | "PAYLOAD";

/** What of one step's effects each class looks at, as a digest in hex; free of sequences and instants. */
export interface StepSummary {
  authority: string;
  plan: string;
  outcome: string;
  /** Handles and ranges, in order. */
  payload: string;
  /** The effects' types, in order. */
  shape: string;
}

/** What a recording without summaries still tells. Evidence hashes take in instants: a late end shows as OUTCOME. */
export interface RecordedProof {
  /** Plan hash, evidence hash by turn. */
  plans?: Readonly<Record<number, string>>;
  evidence?: Readonly<Record<number, string>>;
  /** Every signal with the sequence of the input that caused it. */
  signals?: readonly { signal: string; cause: number }[];
}

const AUTHORITY: readonly string[] = [
  "stale_epoch_reject",
  "deauthorized_drain",
  "lease_issued",
  "lease_rotated",
  "migration_start",
  "migration_finish",
  "session_handoff",
];
const OUTCOME: readonly string[] = [
  "turn_open",
  "commit",
  "abort",
  "close",
  "reject",
  "defer",
  "cancel",
  "barge_in",
  "budget_exhausted",
  "provider_error",
  "provider_switch",
  "playback_completed",
  "playback_cancelled",
  "playback_lost",
];

export function summariseStep(effects: readonly Effect[]): StepSummary {
  const of = (part: (effect: Effect) => unknown): string => {
    const d = digestCreate();
    for (const effect of effects) {
      const found = part(effect);
      if (found !== undefined) digestValue(d, found);
    }
    return digestHex(d);
  };
  const shape = digestCreate();
  for (const effect of effects) digestString(shape, effect.type);
  return {
    authority: of(authorityOf),
    plan: of(planOf),
    outcome: of(outcomeOf),
    payload: of(payloadOf),
    shape: digestHex(shape),
  };
}

function authorityOf(effect: Effect): unknown {
  // No epoch of an effect changes without one of these.
  if (effect.type !== "signal" || !AUTHORITY.includes(effect.event.signal)) return undefined;
  const { signal, turn, reason, fields } = effect.event;
  const { epochOld = 0, epochNew = 0 } = fields;
  return { signal, turn, reason, epochOld, epochNew };
}

function planOf(effect: Effect): unknown {
  if (effect.type !== "record") return undefined;
  const { record } = effect;
  return record.kind === "plan" || record.kind === "session_plan" ? record.hash : undefined;
}

function outcomeOf(effect: Effect): unknown {
  if (effect.type === "signal") {
    const { signal, turn, reason } = effect.event;
    return OUTCOME.includes(signal) ? { signal, turn, reason } : undefined;
  }
  if (effect.type !== "record") return undefined;
  const { record } = effect;
  if (record.kind === "refusal") return { outcome: record.outcome, reason: record.reason };
  if (record.kind === "evidence") return decisive(record.manifest as SealedEvidence);
  if (record.kind !== "delivery_addendum") return undefined;
  const { outcome, heardChars, playedUs } = record.addendum as Record<string, string | number>;
  return { outcome, heardChars, playedUs };
}

function decisive({ manifest }: SealedEvidence): unknown {
  const { terminal, cancel, invocations } = manifest;
  return {
    terminal: [terminal?.kind ?? "", terminal?.reason ?? ""],
    cancel: [cancel?.scope ?? "", cancel?.reason ?? ""],
    invocations: invocations.map((inv) => [inv.provider, inv.attempt, inv.outcome]),
  };
}

function payloadOf(effect: Effect): unknown {
  switch (effect.type) {
    case "egress_media":
    case "node_event":
    case "provider_push_audio":
      return { payload: effect.payload, durationUs: effect.durationUs };
    case "egress_text":
    case "provider_push_text":
      return effect.spans;
    case "provider_push_messages":
      return effect.messages;
    case "node_input":
      return effect.body;
    default:
      return undefined;
  }
}

export function classifyBySummary(recorded: StepSummary, effects: readonly Effect[]): DivergenceClass {
  const found = summariseStep(effects);
  if (found.authority !== recorded.authority) return "AUTHORITY";
  if (found.plan !== recorded.plan) return "PLAN";
  if (found.outcome !== recorded.outcome) return "OUTCOME";
  return found.shape === recorded.shape && found.payload !== recorded.payload ? "PAYLOAD" : "ORDERING";
}

export function classifyByProof(proof: RecordedProof, batch: Batch, effects: readonly Effect[]): DivergenceClass {
  if (proof.signals !== undefined && !sameAuthority(proof.signals, batch, effects)) return "AUTHORITY";
  let found: DivergenceClass = "ORDERING";
  for (const effect of effects) {
    if (effect.type !== "record") continue;
    const { record } = effect;
    const plan = record.kind === "plan" ? proof.plans?.[record.turn] : undefined;
    if (plan !== undefined && record.kind === "plan" && plan !== record.hash) return "PLAN";
    const evidence = record.kind === "evidence" && proof.evidence !== undefined;
    if (evidence && proof.evidence?.[record.turn] !== record.hash) found = "OUTCOME";
  }
  return found;
}

function sameAuthority(
  recorded: NonNullable<RecordedProof["signals"]>,
  batch: Batch,
  effects: readonly Effect[],
): boolean {
  const inputs = new Set(batch.inputs.map((input) => input.seq));
  const then = recorded.filter((event) => AUTHORITY.includes(event.signal) && inputs.has(event.cause));
  const now = effects.flatMap((effect) => (effect.type === "signal" ? [effect.event] : []));
  const names = (events: readonly { signal: string; cause: number }[]): string =>
    events
      .filter((event) => AUTHORITY.includes(event.signal) && inputs.has(event.cause))
      .map((event) => event.signal)
      .sort()
      .join(" ");
  return names(then) === names(now);
}
