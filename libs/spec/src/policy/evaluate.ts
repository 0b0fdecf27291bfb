/**
 * A policy over the facts of a session (F-056, F-060, F-066): pure, the same in registry, runtime and tests. Of each part the
 * first rule that holds and gives it decides. A signal that is missing has a default, and the reason says so.
 */
import type { ProviderCandidate } from "@rspp/kernel/graph";
import type { PolicyCaps } from "@rspp/kernel/policy";
import type {
  CandidateDocument,
  CapsDocument,
  ComplianceDocument,
  PolicyDocument,
  PolicyFacts,
  PolicyResult,
  PolicyRule,
  RuleTrace,
} from "./policy.ts";
import { evaluateRule } from "./policy-cel.ts";
import { POLICY_KINDS, type PolicyKind } from "./policy-schema.ts";

/** Nothing is decided: the pipeline's own candidates in their own order. */
export const NO_POLICY: PolicyResult = {
  candidates: {},
  caps: null,
  degrade: "",
  compliance: [],
  vad: null,
  endpointing: null,
  trace: [],
  reasons: [],
};

interface Deciding {
  candidates: Partial<Record<PolicyKind, readonly ProviderCandidate[]>>;
  caps: PolicyCaps | null;
  degrade: string;
  compliance: ComplianceDocument[];
  vad: PolicyResult["vad"];
  endpointing: PolicyResult["endpointing"];
  trace: RuleTrace[];
  reasons: string[];
}

export function evaluatePolicy({ rules }: PolicyDocument, facts: PolicyFacts): PolicyResult {
  const result: Deciding = { ...NO_POLICY, candidates: {}, compliance: [], trace: [], reasons: [] };
  for (const rule of rules) {
    const held = rule.when === undefined ? { ok: true as const, value: true } : evaluateRule(rule.when, facts);
    if (!held.ok) {
      result.trace.push({ rule: rule.id, held: false, problem: held.error, decides: [] });
      result.reasons.push(`rule ${rule.id} does not hold: ${held.error}`);
      continue;
    }
    const decides = held.value ? decide(rule, facts, result) : [];
    result.trace.push({ rule: rule.id, held: held.value, decides });
  }
  return result;
}

/** The parts that this rule decides, being the first that gives them. */
function decide(rule: PolicyRule, facts: PolicyFacts, into: Deciding): string[] {
  const decides: string[] = [];
  for (const kind of POLICY_KINDS) {
    const listed = rule.candidates?.[kind];
    if (listed === undefined || into.candidates[kind] !== undefined) continue;
    const ordered = orderCandidates(rule, kind, listed.map(candidateOf), facts);
    into.candidates[kind] = ordered.candidates;
    into.reasons.push(...ordered.reasons);
    decides.push(`candidates.${kind}`);
  }
  if (rule.caps !== undefined && into.caps === null) {
    into.caps = capsOf(rule.caps);
    decides.push("caps");
  }
  if (rule.degrade !== undefined && into.degrade === "") {
    into.degrade = rule.degrade;
    decides.push("degrade");
  }
  for (const node of rule.compliance ?? []) {
    if (into.compliance.some(({ id }) => id === node.id)) continue;
    into.compliance.push(node);
    decides.push(`compliance.${node.id}`);
  }
  const { vad, endpointing } = rule.turn_detection ?? {};
  if (vad !== undefined && into.vad === null) {
    into.vad = vad;
    decides.push("turn_detection.vad");
  }
  if (endpointing !== undefined && into.endpointing === null) {
    into.endpointing = endpointing;
    decides.push("turn_detection.endpointing");
  }
  return decides;
}

function candidateOf(document: CandidateDocument): ProviderCandidate {
  return typeof document === "string"
    ? { provider: document, settings: {} }
    : { provider: document.name, settings: document.settings ?? {} };
}

function capsOf({ tokens, audio_seconds, tts_characters, cost_micros, on_exceeded }: CapsDocument): PolicyCaps {
  return {
    onExceeded: on_exceeded ?? "truncate",
    ...(tokens === undefined ? {} : { tokens }),
    ...(audio_seconds === undefined ? {} : { audioMs: audio_seconds * 1_000 }),
    ...(tts_characters === undefined ? {} : { ttsCharacters: tts_characters }),
    ...(cost_micros === undefined ? {} : { costMicros: cost_micros }),
  };
}

/** By the rule's order, then those that are not well behind those that are: they are still there if all else fails. */
function orderCandidates(
  { id, order = "listed" }: PolicyRule,
  kind: PolicyKind,
  listed: readonly ProviderCandidate[],
  { providers }: PolicyFacts,
): { candidates: readonly ProviderCandidate[]; reasons: readonly string[] } {
  const reasons = [`${kind}: rule ${id}, ${order}`];
  const signal = (name: string): number | undefined =>
    order === "price" ? providers[name]?.priceMicros : providers[name]?.latencyMs;
  let ranked = listed;
  if (order !== "listed") {
    const missing = listed.find(({ provider }) => signal(provider) === undefined);
    // Half a comparison would favour whoever says nothing: without all signals the author's order stands.
    if (missing === undefined)
      ranked = stableSort(listed, (a, b) => Number(signal(a.provider)) - Number(signal(b.provider)));
    else reasons.push(`${kind}: no ${order} of ${missing.provider} is known, the order of the list is taken`);
  }
  const away = (name: string): boolean => providers[name]?.available === false || providers[name]?.healthy === false;
  const sick = ranked.filter(({ provider }) => away(provider));
  if (sick.length === 0) return { candidates: ranked, reasons };
  for (const { provider } of sick) {
    const why = providers[provider]?.available === false ? "not available" : "not healthy";
    reasons.push(`${kind}: ${provider} is ${why}, it comes last`);
  }
  return { candidates: [...ranked.filter(({ provider }) => !away(provider)), ...sick], reasons };
}

function stableSort<T>(list: readonly T[], compare: (a: T, b: T) => number): readonly T[] {
  return [...list].sort(compare);
}
