/** Rules between the settings of a text node, and between them and what feeds the node (F-005, F-006, F-118). */
import { parseReply } from "@rspp/kernel/canned";
import { type Choice, parseChoice } from "@rspp/kernel/choice";
import { FALLBACK_REASONS } from "@rspp/kernel/fallback-state";
import { parseMenuLine } from "@rspp/kernel/keypad";
import { KEYPAD_DIGITS_MAX } from "@rspp/kernel/limits";
import { conditionProblem } from "./cel.ts";
import { CONDITION_HELP } from "./check-edges.ts";
import type { Report } from "./check-graph.ts";
import { looseField, parseEdge } from "./graph-view.ts";
import { suggest } from "./nearest.ts";

type Check = (settings: unknown, path: string, feeders: readonly string[], report: Report) => void;

const checks: Readonly<Record<string, Check>> = {
  translator: checkTranslator,
  merge: checkMerge,
  select: checkSelect,
  compliance: checkCompliance,
  canned: checkCanned,
  dtmf: checkMenu,
};

/** @param document a walked spec; fields that were wrong are absent. */
export function checkTextSettings(node: unknown, path: string, document: unknown, report: Report): void {
  const kind = looseField(node, "kind");
  const settings = looseField(node, "settings");
  if (typeof kind !== "string" || !Object.hasOwn(checks, kind) || settings === undefined) return;
  checks[kind]?.(settings, `${path}.settings`, feedersOf(looseField(node, "id"), document), report);
}

/** Ids of the nodes that feed this one. */
function feedersOf(id: unknown, document: unknown): string[] {
  const edges = looseField(document, "edges");
  if (!Array.isArray(edges)) return [];
  return edges.flatMap((edge: unknown) => {
    const ends = parseEdge(edge);
    return ends?.to.node === id && ends !== undefined ? [ends.from.node] : [];
  });
}

function textsOf(settings: unknown, key: string): string[] {
  const value = looseField(settings, key);
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === "string") : [];
}

function checkTranslator(settings: unknown, path: string, _feeders: readonly string[], report: Report): void {
  const source = looseField(settings, "source_language");
  if (source === undefined || source !== looseField(settings, "target_language")) return;
  report({
    path: `${path}.target_language`,
    code: "not_allowed",
    message: `source and target language are both ${String(source)}`,
    remedy: "name the language to translate into, or remove the node",
  });
}

function checkMerge(settings: unknown, path: string, feeders: readonly string[], report: Report): void {
  if (looseField(settings, "rule") === "arrival/v1" && looseField(settings, "wait_ms") !== undefined)
    report({
      path: `${path}.wait_ms`,
      code: "not_allowed",
      message: "wait_ms has no meaning with rule arrival/v1, under which nothing waits",
      remedy: "remove it, or set rule: timestamp/v1",
    });
  for (const [i, id] of textsOf(settings, "priority").entries())
    if (!feeders.includes(id)) reportFeeder(`${path}.priority[${i}]`, id, feeders, report);
}

function reportFeeder(path: string, id: string, feeders: readonly string[], report: Report): void {
  report({
    path,
    code: "unknown_node",
    message: `no edge leads here from a node "${id}"`,
    remedy: suggest(id, [...feeders], "nodes that feed it"),
  });
}

const FORM = `write "input: attribute = value, value" or "input: when <condition>", e.g. "german: language = de", and last "input: otherwise"`;

function checkSelect(settings: unknown, path: string, feeders: readonly string[], report: Report): void {
  const lines = textsOf(settings, "choose");
  const chosen = new Set<string>();
  for (const [i, line] of lines.entries()) {
    const at = `${path}.choose[${i}]`;
    const choice = parseChoice(line);
    if (choice === null) {
      const message = `${JSON.stringify(line)} is no condition; attributes are language, provider, health and variable.NAME, anything else is said with "when"`;
      report({ path: at, code: "bad_format", message, remedy: FORM });
      continue;
    }
    chosen.add(choice.input);
    if (!feeders.includes(choice.input)) reportFeeder(at, choice.input, feeders, report);
    checkChoice(choice, i === lines.length - 1, at, report);
  }
  for (const id of feeders) {
    if (chosen.has(id) || lines.length === 0) continue;
    report({
      path: `${path}.choose`,
      code: "not_allowed",
      message: `input "${id}" is never chosen`,
      remedy: `add a condition for it, e.g. "${id}: language = en", or remove its edge`,
    });
  }
}

const HEALTH = ["healthy", "degraded"];

function checkChoice(choice: Choice, last: boolean, path: string, report: Report): void {
  const otherwise = choice.attribute === "";
  if (otherwise !== last)
    report({
      path,
      code: "not_allowed",
      message: otherwise ? "nothing after `otherwise` could ever be chosen" : "the last condition may not hold",
      remedy: "end with one `input: otherwise`, and only there",
    });
  const problem = choice.attribute === "when" ? conditionProblem(choice.values[0] ?? "") : null;
  if (problem !== null)
    report({ path, code: "condition", message: `the condition cannot be used: ${problem}`, remedy: CONDITION_HELP });
  const wrong = choice.attribute === "health" ? choice.values.find((value) => !HEALTH.includes(value)) : undefined;
  if (wrong !== undefined)
    report({
      path,
      code: "not_allowed",
      message: `health is never "${wrong}"`,
      remedy: suggest(wrong, HEALTH, "values"),
    });
}

function checkMenu(settings: unknown, path: string, _feeders: readonly string[], report: Report): void {
  const seen = new Set<string>();
  const longest = Number(looseField(settings, "max_digits") ?? KEYPAD_DIGITS_MAX);
  for (const [i, line] of textsOf(settings, "menu").entries()) {
    const at = `${path}.menu[${i}]`;
    const entry = parseMenuLine(line);
    if (entry === null) {
      const message = `${JSON.stringify(line)} is no menu line`;
      report({ path: at, code: "bad_format", message, remedy: 'write "digits: words", e.g. "1: when do you open"' });
    } else if (seen.has(entry.digits) || entry.digits.length > longest) {
      const why = seen.has(entry.digits) ? "stand in the menu already" : `are more than max_digits (${longest})`;
      const message = `the digits ${entry.digits} ${why}`;
      report({
        path: at,
        code: "not_allowed",
        message,
        remedy: "give each line digits of its own that can be keyed in",
      });
    }
    if (entry !== null) seen.add(entry.digits);
  }
}

function checkCanned(settings: unknown, path: string, _feeders: readonly string[], report: Report): void {
  for (const [i, line] of textsOf(settings, "replies").entries()) {
    const at = `${path}.replies[${i}]`;
    const reply = parseReply(line);
    if (reply === null) {
      const message = `${JSON.stringify(line)} is no reply`;
      const remedy = 'write "reason: sentence", e.g. "overload: I am very busy. Please ask me again in a moment."';
      report({ path: at, code: "bad_format", message, remedy });
    } else if (!FALLBACK_REASONS.some((reason) => reason === reply.reason))
      report({
        path: at,
        code: "not_allowed",
        message: `nothing fails for the reason "${reply.reason}"`,
        remedy: suggest(reply.reason, FALLBACK_REASONS, "reasons"),
      });
  }
}

const ACTIONS = ["card_numbers", "emails", "phone_numbers", "words_action"];

function checkCompliance(settings: unknown, path: string, _feeders: readonly string[], report: Report): void {
  const words = looseField(settings, "words") !== undefined;
  const actions = ACTIONS.flatMap((key) => {
    const value = looseField(settings, key);
    return typeof value === "string" && (key !== "words_action" || words) ? [value] : [];
  });
  if (words && looseField(settings, "words_action") === undefined) actions.push("mask");
  if (!words && looseField(settings, "words_action") !== undefined)
    report({
      path: `${path}.words_action`,
      code: "not_allowed",
      message: "words_action has no meaning without words",
      remedy: "add `words: [...]`, or remove it",
    });
  if (!actions.some((value) => value !== "off"))
    report({
      path,
      code: "not_allowed",
      message: "this node would let everything through",
      remedy: "set one of card_numbers, emails, phone_numbers to mask, replace or block, or give words",
    });
  checkUnused(settings, path, "replacement", "replace", actions, report);
  checkUnused(settings, path, "block_sentence", "block", actions, report);
}

function checkUnused(
  settings: unknown,
  path: string,
  key: string,
  action: string,
  actions: readonly string[],
  report: Report,
): void {
  if (looseField(settings, key) === undefined || actions.includes(action)) return;
  report({
    path: `${path}.${key}`,
    code: "not_allowed",
    message: `${key} has no meaning where nothing is set to ${action}`,
    remedy: `remove it, or set an action to ${action}`,
  });
}
