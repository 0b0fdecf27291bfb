/**
 * Compliance (F-118): card numbers, e-mail addresses, phone numbers and configured words are masked, replaced or blocked
 * before they are said. Streaming-safe: only text that a pattern may still need is held back. What goes on is what is
 * spoken, so that heard text and evidence carry what was really said; the audit event names rule and action, never the text.
 */
import type { KernelEvent, TextBody, TextSpan } from "./event.ts";
import type { Settings } from "./graph.ts";
import { SCREEN_AUDITS_PER_TURN_MAX } from "./limits.ts";
import { SCREEN_RULES, type ScreenRule } from "./pure-functions.ts";
import { sliceSpans, spansLength } from "./rope.ts";
import type { GraphRun, NodeRun } from "./state.ts";
import { ask, type StepContext, signal } from "./step-context.ts";
import { listSetting } from "./text-filter.ts";
import type { ScreenRun } from "./text-node-state.ts";
import { countDropped, emitText, literalText, textRun } from "./text-out.ts";

export type ComplianceAction = "mask" | "replace" | "block";

/** The setting that says what is done about each rule; absent or `off`: nothing. */
export const COMPLIANCE_SETTINGS: Readonly<Record<ScreenRule, string>> = {
  words: "words_action",
  email: "emails",
  card_number: "card_numbers",
  phone_number: "phone_numbers",
};

/** What a mask says in the place of the text: speakable words, since a voice follows. */
const MASKS: Readonly<Record<ScreenRule, string>> = {
  words: "removed",
  email: "e-mail address removed",
  card_number: "card number removed",
  phone_number: "phone number removed",
};
const REPLACEMENT = "removed";
const BLOCK_SENTENCE = "I cannot say that.";

function actionOf(settings: Settings, rule: ScreenRule): ComplianceAction | null {
  if (rule === "words" && listSetting(settings, "words").length === 0) return null;
  const value = settings[COMPLIANCE_SETTINGS[rule]] ?? (rule === "words" ? "mask" : "off");
  return value === "mask" || value === "replace" || value === "block" ? value : null;
}

function screenRun(node: NodeRun): ScreenRun {
  const run = textRun(node);
  run.screen ??= {
    spans: [],
    context: 0,
    blocked: false,
    literals: {},
    audits: 0,
    untold: 0,
    language: "",
  };
  return run.screen;
}

export function onComplianceText(
  cx: StepContext,
  run: GraphRun,
  index: number,
  node: NodeRun,
  event: KernelEvent,
  body: TextBody,
): void {
  const state = screenRun(node);
  if (state.blocked) return countDropped(cx, run, index, node, "compliance_dropped");
  state.spans.push(...body.spans);
  state.language = body.language;
  screenOn(cx, run, index, state, event, body, false);
}

export function onComplianceEnd(
  cx: StepContext,
  run: GraphRun,
  index: number,
  node: NodeRun,
  event: KernelEvent,
): void {
  const state = screenRun(node);
  if (!state.blocked) screenOn(cx, run, index, state, event, null, true);
  if (state.untold === 0) return;
  const fields = { node: nodeId(cx, index), action: "untold", count: state.untold };
  signal(cx, "route_decision", "executor", run.turn, "policy", fields, false);
}

const nodeId = (cx: StepContext, index: number): string => cx.s.config.graph.nodes[index]?.id ?? "";

/** Lets through what is decided, and keeps the rest with the one character before it. */
function screenOn(
  cx: StepContext,
  run: GraphRun,
  index: number,
  state: ScreenRun,
  event: KernelEvent,
  body: TextBody | null,
  final: boolean,
): void {
  const total = spansLength(state.spans);
  if (total === state.context) return;
  const settings = cx.s.config.graph.nodes[index]?.settings ?? {};
  const rules = SCREEN_RULES.filter((rule) => actionOf(settings, rule) !== null);
  const words = listSetting(settings, "words");
  const { spans, context } = state;
  const [held = 0, ...found] = ask(cx, { fn: "screen", spans, context, rules, words, final }) as readonly number[];
  const out = through(cx, run, index, state, settings, held, found);
  const keep = Math.max(0, held - 1);
  state.context = held > 0 ? 1 : 0;
  state.spans = state.blocked ? [] : sliceSpans(spans, keep, total);
  const chars = spansLength(out);
  if (chars === 0) return;
  const { segment = 0, revision = 1, confidence = 1, language = state.language } = body ?? {};
  const told = { type: "text", spans: out, chars, segment, revision, final: true, confidence, language } as const;
  emitText(cx, run, index, told, event);
}

/** The text up to `held`, with each match as its rule's action leaves it. */
function through(
  cx: StepContext,
  run: GraphRun,
  index: number,
  state: ScreenRun,
  settings: Settings,
  held: number,
  found: readonly number[],
): TextSpan[] {
  const out: TextSpan[] = [];
  const counts = new Map<ScreenRule, number>();
  let at = state.context;
  for (let i = 0; i + 2 < found.length && !state.blocked; i += 3) {
    const from = found[i] as number;
    const rule = SCREEN_RULES[found[i + 2] as number] as ScreenRule;
    const action = actionOf(settings, rule) ?? "mask";
    counts.set(rule, (counts.get(rule) ?? 0) + 1);
    out.push(...sliceSpans(state.spans, at, from));
    out.push(literal(cx, run, state, wordsFor(settings, rule, action, from > 0)));
    at = found[i + 1] as number;
    state.blocked = action === "block";
  }
  if (!state.blocked) out.push(...sliceSpans(state.spans, at, held));
  for (const [rule, count] of counts) audit(cx, run, index, state, rule, actionOf(settings, rule) ?? "mask", count);
  return out;
}

/** `after`: something was said before it, which a sentence must be parted from. */
function wordsFor(settings: Settings, rule: ScreenRule, action: ComplianceAction, after: boolean): string {
  if (action === "mask") return MASKS[rule];
  if (action === "replace") return textSetting(settings, "replacement", REPLACEMENT);
  return `${after ? " " : ""}${textSetting(settings, "block_sentence", BLOCK_SENTENCE)} `;
}

function textSetting(settings: Settings, name: string, fallback: string): string {
  const value = settings[name];
  return typeof value === "string" ? value : fallback;
}

function literal(cx: StepContext, run: GraphRun, state: ScreenRun, text: string): TextSpan {
  const known = Object.hasOwn(state.literals, text) ? state.literals[text] : undefined;
  if (known !== undefined) return known;
  const made = literalText(cx, run.turn, text);
  state.literals[text] = made;
  return made;
}

function audit(
  cx: StepContext,
  run: GraphRun,
  index: number,
  state: ScreenRun,
  rule: ScreenRule,
  action: ComplianceAction,
  count: number,
): void {
  state.audits += 1;
  if (state.audits > SCREEN_AUDITS_PER_TURN_MAX && action !== "block") {
    state.untold += count;
    return;
  }
  const fields = { node: nodeId(cx, index), action, rule, count };
  signal(cx, "route_decision", "executor", run.turn, "policy", fields, false);
}
