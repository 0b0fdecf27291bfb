/**
 * The seven safety gates (NF-024 to NF-029, NF-038). Pure: from facts to verdicts. An anchor that should be there and is
 * not, or that cannot be, fails its gate, and so do fewer samples than a percentile needs: nothing passes by absence.
 */
import { spreadOf } from "./percentile.ts";
import type { AnchorName, Check, GateFacts, GateTurn, SafetyGateName, SafetyResult } from "./types.ts";

/** A percentile of 95 over fewer is the largest of them by another name. */
export const SAMPLES_MIN = 20;

const reasonsMax = 8;

/** From one anchor to another, of the turns that `applies` names. */
interface LatencyGate {
  readonly gate: SafetyGateName;
  readonly feature: string;
  readonly from: AnchorName;
  readonly to: AnchorName;
  readonly applies: (turn: GateTurn) => boolean;
  readonly bars: readonly { readonly name: "p50_ms" | "p95_ms"; readonly bar: number }[];
}

const latencyGates: readonly LatencyGate[] = [
  {
    gate: "turn_open",
    feature: "NF-024",
    from: "turn_open_proposed_ingress_accepted",
    to: "turn_open_emitted",
    applies: () => true,
    bars: [{ name: "p95_ms", bar: 120 }],
  },
  {
    gate: "first_output",
    feature: "NF-025",
    from: "turn_open_emitted",
    to: "first_datalane_output_emitted",
    applies: ({ hasOutput, anchors }) => hasOutput || anchors.first_datalane_output_emitted !== undefined,
    bars: [{ name: "p95_ms", bar: 1_500 }],
  },
  {
    gate: "cancel_fence",
    feature: "NF-026",
    from: "cancel_accepted",
    to: "cancel_fence_applied",
    applies: ({ wasCancelled, anchors }) =>
      wasCancelled || anchors.cancel_accepted !== undefined || anchors.cancel_fence_applied !== undefined,
    bars: [{ name: "p95_ms", bar: 150 }],
  },
  {
    gate: "end_to_end",
    feature: "NF-038",
    from: "audio_input_ingress",
    to: "assistant_audio_playback_started",
    // Without its turn_open nobody knows whether somebody spoke: the anchors then have to be there all the same.
    applies: ({ origin, wasPlayed, anchors }) =>
      (origin === "endpoint" || origin === "") && (wasPlayed || anchors.assistant_audio_playback_started !== undefined),
    bars: [
      { name: "p50_ms", bar: 1_500 },
      { name: "p95_ms", bar: 2_000 },
    ],
  },
];

/** All seven, in the order of `quality.md`. */
export function safetyGates(facts: GateFacts): SafetyResult[] {
  const [open, output, fence, whole] = latencyGates.map((gate) => latencyResult(gate, facts));
  const counted = [staleEpoch(facts), completeEvidence(facts), oneTerminal(facts)];
  return [open, output, fence, ...counted, whole].filter((result) => result !== undefined);
}

function latencyResult({ gate, feature, from, to, applies, bars }: LatencyGate, facts: GateFacts): SafetyResult {
  const turns = facts.turns.filter(applies);
  const found: number[] = [];
  const reasons = new Reasons(facts.damage);
  for (const turn of turns) {
    const ms = latencyMs(turn, from, to);
    if (typeof ms === "number") found.push(ms);
    else reasons.add(`${nameOf(turn)}: ${ms}`);
  }
  if (found.length < SAMPLES_MIN) reasons.add(tooFew(found.length, gate));
  const spread = found.length === 0 ? null : spreadOf(found);
  const values = { p50_ms: spread?.p50 ?? null, p95_ms: spread?.p95 ?? null };
  const checks = bars.map(({ name, bar }) => atMost(name, bar, values[name]));
  for (const check of checks) if (!check.ok && check.found !== null) reasons.add(over(check));
  const figures =
    spread === null ? {} : { p50_ms: spread.p50, p95_ms: spread.p95, p99_ms: spread.p99, max_ms: spread.max };
  const counts = { turns: facts.turns.length, samples: found.length, faulty_anchors: turns.length - found.length };
  return result(gate, feature, checks, { ...counts, ...figures }, reasons);
}

/** Milliseconds, or what is wrong with the anchors. */
function latencyMs({ anchors, anchorFaults }: GateTurn, from: AnchorName, to: AnchorName): number | string {
  if (anchorFaults.length > 0) return anchorFaults.join("; ");
  for (const name of [from, to]) {
    const atNs = anchors[name];
    if (atNs === undefined) return `anchor ${name} is missing`;
    if (!Number.isFinite(atNs) || atNs <= 0) return `anchor ${name} is impossible: ${atNs} ns`;
  }
  const ns = (anchors[to] ?? 0) - (anchors[from] ?? 0);
  return ns < 0 ? `anchor ${to} is impossible: ${-ns / 1e6} ms before ${from}` : ns / 1e6;
}

/** NF-027: an output taken under an epoch that was no longer in force. */
function staleEpoch({ staleOutputs, outputs, damage }: GateFacts): SafetyResult {
  const reasons = new Reasons(damage);
  for (const stale of staleOutputs) reasons.add(stale);
  if (outputs < SAMPLES_MIN) reasons.add(tooFew(outputs, "stale_epoch"));
  const checks = [exactly("stale_outputs", 0, staleOutputs.length)];
  return result("stale_epoch", "NF-027", checks, { outputs, stale_outputs: staleOutputs.length }, reasons);
}

/** NF-028: declared loss is counted apart; it is neither complete nor a reason to fail. */
function completeEvidence({ turns, damage }: GateFacts): SafetyResult {
  const reasons = new Reasons(damage);
  const lost = turns.filter(({ declaredLost }) => declaredLost).length;
  const asked = turns.filter(({ declaredLost }) => !declaredLost);
  const gaps = asked.filter(({ evidenceGaps }) => evidenceGaps.length > 0);
  for (const turn of gaps) reasons.add(`${nameOf(turn)}: ${turn.evidenceGaps.join(", ")}`);
  if (asked.length < SAMPLES_MIN) reasons.add(tooFew(asked.length, "complete_evidence"));
  const complete = asked.length - gaps.length;
  const checks = [exactly("complete_percent", 100, asked.length === 0 ? null : (100 * complete) / asked.length)];
  return result("complete_evidence", "NF-028", checks, { turns: asked.length, complete, declared_lost: lost }, reasons);
}

/** NF-029. */
function oneTerminal({ turns, damage }: GateFacts): SafetyResult {
  const reasons = new Reasons(damage);
  const asked = turns.filter(({ endingLost }) => !endingLost);
  const wrong = asked.filter(({ ending }) => !/^(commit|abort) close$/.test(ending.join(" ")));
  for (const turn of wrong) reasons.add(`${nameOf(turn)}: ends with ${turn.ending.join(", ") || "nothing"}`);
  if (asked.length < SAMPLES_MIN) reasons.add(tooFew(asked.length, "one_terminal"));
  const right = asked.length - wrong.length;
  const checks = [exactly("right_percent", 100, asked.length === 0 ? null : (100 * right) / asked.length)];
  const figures = { turns: asked.length, right, declared_lost: turns.length - asked.length };
  return result("one_terminal", "NF-029", checks, figures, reasons);
}

function result(
  gate: SafetyGateName,
  feature: string,
  checks: readonly Check[],
  figures: Readonly<Record<string, number>>,
  reasons: Reasons,
): SafetyResult {
  const passed = reasons.count === 0 && checks.length > 0 && checks.every(({ ok }) => ok);
  return { gate, feature, verdict: passed ? "pass" : "fail", checks, figures, reasons: reasons.list() };
}

const atMost = (name: string, bar: number, found: number | null): Check => ({
  ...{ name, op: "<=" as const, bar, found },
  ok: found !== null && found <= bar,
});

const exactly = (name: string, bar: number, found: number | null): Check => ({
  ...{ name, op: "=" as const, bar, found },
  ok: found === bar,
});

const nameOf = ({ session, turn, epoch }: GateTurn): string => `${session} turn ${turn} (epoch ${epoch})`;
const over = ({ name, bar, found }: Check): string => `${name} is ${(found ?? 0).toFixed(1)}, the bar is ${bar}`;

const what: Readonly<Record<SafetyGateName, string>> = {
  turn_open: "accepted turns",
  first_output: "turns with output",
  cancel_fence: "cancelled turns",
  stale_epoch: "accepted outputs",
  complete_evidence: "accepted turns",
  one_terminal: "accepted turns",
  end_to_end: "spoken turns that were answered",
};

const tooFew = (found: number, gate: SafetyGateName): string =>
  `too few samples: ${found} of ${SAMPLES_MIN} ${what[gate]}`;

/** Bounded: what is left out is counted. Damage of a recording stands first in every gate. */
class Reasons {
  readonly #kept: string[] = [];
  count = 0;

  constructor(damage: readonly string[]) {
    for (const one of damage) this.add(`damaged: ${one}`);
  }

  add(reason: string): void {
    this.count += 1;
    if (this.#kept.length < reasonsMax) this.#kept.push(reason);
  }

  list(): string[] {
    const more = this.count - this.#kept.length;
    return more === 0 ? [...this.#kept] : [...this.#kept, `and ${more} more`];
  }
}
