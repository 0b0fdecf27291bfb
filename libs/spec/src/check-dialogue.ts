/** Rules between the dialogue's values and the graph. */
import type { Report } from "./check-graph.ts";
import { looseField } from "./graph-view.ts";

export function checkDialogue(document: unknown, report: Report): void {
  const policy = looseField(document, "policy");
  checkCallLength(policy, report);
  checkKey(document, policy, report);
  checkVoice(document, policy, report);
  checkGuards(policy, report);
  checkSummary(document, policy, report);
  checkListened(policy, report);
}

/** Variables are filled into what is said; what is listened for is the same in every session. */
function checkListened(policy: unknown, report: Report): void {
  const hangUp = looseField(policy, "hang_up");
  const lists = [
    ["policy.back_channel.words", looseField(looseField(policy, "back_channel"), "words")],
    ["policy.hang_up.phrases", looseField(hangUp, "phrases")],
    ["policy.hang_up.marker", [looseField(hangUp, "marker")]],
  ] as const;
  for (const [path, texts] of lists) {
    if (!Array.isArray(texts) || !texts.some((text) => typeof text === "string" && text.includes("{{"))) continue;
    const message = "session variables are filled into what is said, not into what is listened for";
    report({ path, code: "not_allowed", message, remedy: "write the words themselves" });
  }
}

/** Summaries are written by a language model of the graph. */
function checkSummary(document: unknown, policy: unknown, report: Report): void {
  const summary = looseField(looseField(policy, "history"), "summary");
  const nodes = looseField(document, "nodes");
  if (summary === undefined || !Array.isArray(nodes)) return;
  const models = nodes.filter((node) => looseField(node, "kind") === "llm").map((node) => looseField(node, "id"));
  const named = looseField(summary, "node");
  if (named === undefined ? models.length > 0 : models.includes(named)) return;
  report({
    path: named === undefined ? "policy.history.summary" : "policy.history.summary.node",
    code: "unknown_node",
    message: named === undefined ? "the pipeline has no llm node" : `${JSON.stringify(named)} is no llm node`,
    remedy: models.length > 0 ? `name one of: ${models.join(", ")}` : "add an llm node, or remove the summary",
  });
}

/** What keeps speech from interrupting means nothing where it never does. */
function checkGuards(policy: unknown, report: Report): void {
  if (looseField(policy, "barge_in") !== false) return;
  for (const field of ["min_speech_ms", "back_channel", "echo_guard"]) {
    if (looseField(policy, field) === undefined) continue;
    report({
      path: `policy.${field}`,
      code: "not_allowed",
      message: `${field} has no meaning where barge_in is false`,
      remedy: "remove it, or set barge_in: true",
    });
  }
}

function checkCallLength(policy: unknown, report: Report): void {
  const maxMs = looseField(policy, "max_call_ms");
  const warning = looseField(policy, "max_call_warning");
  if (warning === undefined) return;
  if (maxMs === undefined) {
    report({
      path: "policy.max_call_warning",
      code: "missing_field",
      message: "a warning before the end of the call needs max_call_ms",
      remedy: "add max_call_ms, or remove the warning",
    });
    return;
  }
  const beforeMs = looseField(warning, "before_ms");
  if (typeof beforeMs !== "number" || typeof maxMs !== "number" || beforeMs < maxMs) return;
  report({
    path: "policy.max_call_warning.before_ms",
    code: "out_of_range",
    message: `before_ms (${beforeMs}) is not below max_call_ms (${maxMs}): the warning would come before the call`,
    remedy: `set before_ms below ${maxMs}`,
  });
}

/** The key that ends a number cannot end the call as well. */
function checkKey(document: unknown, policy: unknown, report: Report): void {
  const key = looseField(looseField(policy, "hang_up"), "key");
  const nodes = looseField(document, "nodes");
  if (key === undefined || !Array.isArray(nodes)) return;
  const dtmf = nodes.find((node) => looseField(node, "kind") === "dtmf");
  const terminator = dtmf === undefined ? "none" : (looseField(looseField(dtmf, "settings"), "terminator") ?? "#");
  if (terminator !== key) return;
  report({
    path: "policy.hang_up.key",
    code: "not_allowed",
    message: `${JSON.stringify(key)} ends what the caller keys in already`,
    remedy: "take the other key, or give the dtmf node another terminator",
  });
}

/** Sentences of the spec need a voice. */
function checkVoice(document: unknown, policy: unknown, report: Report): void {
  const nodes = looseField(document, "nodes");
  if (!Array.isArray(nodes) || nodes.some((node) => looseField(node, "kind") === "tts")) return;
  for (const [path, part, field] of [
    ["silence", "silence", "prompts"],
    ["hang_up.say", "hang_up", "say"],
    ["max_call_warning", "max_call_warning", "say"],
  ] as const) {
    if (looseField(looseField(policy, part), field) === undefined) continue;
    report({
      path: `policy.${path}`,
      code: "not_allowed",
      message: "the pipeline has no tts node that could say it",
      remedy: "add a tts node, or remove the sentence",
    });
  }
}
