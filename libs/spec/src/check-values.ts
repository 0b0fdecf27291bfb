/** Rules between values, after defaults: what is in range alone and wrong together. */
import type { NodeKind } from "@rspp/kernel/graph";
import { type ExecutionProfile, resolveProfile } from "@rspp/kernel/profile";
import { checkBuffers } from "./check-buffer.ts";
import { checkDialogue } from "./check-dialogue.ts";
import { checkCondition, variableTypes } from "./check-edges.ts";
import type { Report } from "./check-graph.ts";
import { checkTextSettings } from "./check-text-settings.ts";
import { checkTools } from "./check-tools.ts";
import { looseField } from "./graph-view.ts";
import { checkVocabulary } from "./vocabulary.ts";

export const PROFILE_DEFAULT = "simple/v1";

/** The profile of the spec; null, and reported, where it does not run. */
export function checkProfile(document: unknown, report: Report): ExecutionProfile | null {
  const given = looseField(document, "profile");
  const found = resolveProfile(typeof given === "string" ? given : PROFILE_DEFAULT);
  if (found.ok) return found.value;
  const { error } = found;
  report(
    error.kind === "refused"
      ? {
          path: "profile",
          code: "profile_refused",
          message: `profile ${error.name} is known but refused: ${error.refused}`,
          remedy: error.remedy,
        }
      : {
          path: "profile",
          code: "profile_unknown",
          message: `unknown profile ${JSON.stringify(error.name)}`,
          remedy: error.remedy,
        },
  );
  return null;
}

/** A pair of settings of which the first must not exceed the second. */
interface Order {
  low: string;
  high: string;
  why: string;
}

const settingOrders: Readonly<Partial<Record<NodeKind, readonly Order[]>>> = {
  endpointing: [
    { low: "candidate_silence_ms", high: "endpoint_silence_ms", why: "a candidate pause comes before the endpoint" },
    { low: "speculate_ms", high: "endpoint_silence_ms", why: "speculation starts before the endpoint" },
    { low: "min_speech_ms", high: "max_utterance_ms", why: "no utterance could ever be long enough" },
  ],
  segmenter: [
    { low: "first_min_chars", high: "max_chars", why: "no first clause could ever be long enough" },
    { low: "min_chars", high: "max_chars", why: "no clause could ever be long enough" },
  ],
  translator: [{ low: "min_chars", high: "max_chars", why: "no clause could ever be long enough" }],
};

export function checkValues(document: unknown, profile: ExecutionProfile, report: Report): void {
  checkBudgets(document, profile, report);
  checkDialogue(document, report);
  checkVocabulary(document, report);
  const nodes = looseField(document, "nodes");
  if (Array.isArray(nodes)) {
    for (const [i, node] of nodes.entries()) {
      checkNode(node, `nodes[${i}]`, profile, report);
      checkTools(node, `nodes[${i}]`, report);
      checkTextSettings(node, `nodes[${i}]`, document, report);
    }
  }
  const edges = looseField(document, "edges");
  if (!Array.isArray(edges)) return;
  checkBuffers(document, report);
  const declared = variableTypes(document);
  for (const [i, edge] of edges.entries()) {
    checkCondition(edge, `edges[${i}]`, report, declared);
  }
}

function looseNumber(value: unknown, key: string): number | undefined {
  const field = looseField(value, key);
  return typeof field === "number" ? field : undefined;
}

function checkBudgets(document: unknown, profile: ExecutionProfile, report: Report): void {
  const budgets = looseField(document, "budgets");
  const attempt = looseNumber(budgets, "provider_attempt_ms");
  const turn = looseNumber(budgets, "turn_first_output_ms");
  const attemptMs = attempt ?? profile.budgets.providerAttemptMs;
  const turnMs = turn ?? profile.budgets.turnFirstOutputMs;
  if (attemptMs <= turnMs) return;
  report({
    path: attempt === undefined ? "budgets.turn_first_output_ms" : "budgets.provider_attempt_ms",
    code: "out_of_range",
    message: `provider_attempt_ms (${attemptMs}) exceeds turn_first_output_ms (${turnMs}): the turn would end before its first attempt`,
    remedy: `set provider_attempt_ms to ${turnMs} or less, or raise turn_first_output_ms`,
  });
}

/** Where nobody releases anything, only silence can end what is said. */
function checkSilenceEnds(node: unknown, path: string, report: Report): void {
  const settings = looseField(node, "settings");
  if (looseField(settings, "silence_ends") !== false || looseField(settings, "mode") === "push_to_talk") return;
  report({
    path: `${path}.settings.silence_ends`,
    code: "not_allowed",
    message: "silence_ends: false has a meaning with mode: push_to_talk alone",
    remedy: "remove it, or set mode: push_to_talk",
  });
}

function checkNode(node: unknown, path: string, profile: ExecutionProfile, report: Report): void {
  const kind = looseField(node, "kind");
  checkSilenceEnds(node, path, report);
  if (typeof kind !== "string" || !Object.hasOwn(settingOrders, kind)) return;
  const settings = looseField(node, "settings");
  const defaults = profile.nodeSettings[kind as NodeKind];
  for (const { low, high, why } of settingOrders[kind as NodeKind] ?? []) {
    const lowValue = looseNumber(settings, low) ?? looseNumber(defaults, low);
    const highValue = looseNumber(settings, high) ?? looseNumber(defaults, high);
    if (lowValue === undefined || highValue === undefined || lowValue <= highValue) continue;
    const given = looseNumber(settings, low) === undefined ? high : low;
    report({
      path: `${path}.settings.${given}`,
      code: "out_of_range",
      message: `${low} (${lowValue}) exceeds ${high} (${highValue}): ${why}`,
      remedy: `set ${low} to ${highValue} or less, or raise ${high}`,
    });
  }
}
