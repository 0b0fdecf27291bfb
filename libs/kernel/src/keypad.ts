/**
 * DTMF (F-010): digits the caller keys in, from the adapter's `dtmf` control. They are collected up to the terminator, the
 * greatest length or a pause, and are then the caller's words of a turn, or stand for those of a menu. The first one cuts a reply that is under way, as
 * speech does. Digits are personal data: each is a payload, and neither state nor signals hold one.
 */
import type { MonoNs } from "@rspp/base/brand";
import { cutText } from "./conversation.ts";
import type { TextSpan } from "./event.ts";
import type { GraphDefinition, Settings } from "./graph.ts";
import { releaseText } from "./hearing.ts";
import type { Batch } from "./input.ts";
import { KEYPAD_DIGITS_MAX, KEYPAD_FIELD_CHARS_MAX } from "./limits.ts";
import { cutTurnsInFlight } from "./prelude.ts";
import { spansLength } from "./rope.ts";
import { numberSetting } from "./state.ts";
import { ask, clearTimer, type StepContext, setTimerIn, signal } from "./step-context.ts";
import { listSetting } from "./text-filter.ts";
import { literalText } from "./text-out.ts";

const TIMER = "keypad";
const TIMEOUT_MS = 3_000;
const DIGITS_MAX = 16;
const DIGITS_FIELD = /\.digits?$/;
const KEYS = /^[0-9A-D*#]$/;

/** Whether this session's graph takes digits as words. */
export function takesDigits(cx: StepContext): boolean {
  return (cx.s.topology.words?.keypad ?? -1) !== -1;
}

/** `telephony.digit: "5"` or `dtmf.digits: "42#"`; every other field is the transport's own. */
export function onDtmf(cx: StepContext, fields: Readonly<Record<string, string | number>>): void {
  if (!takesDigits(cx)) return;
  for (const key of keysOf(fields)) press(cx, key);
}

/** The keys of one `dtmf` control, in order. */
export function keysOf(fields: Readonly<Record<string, string | number>>): string[] {
  const keys: string[] = [];
  for (const [name, value] of Object.entries(fields)) {
    if (!DIGITS_FIELD.test(name)) continue;
    for (const key of String(value).slice(0, KEYPAD_FIELD_CHARS_MAX).toUpperCase()) if (KEYS.test(key)) keys.push(key);
  }
  return keys;
}

function press(cx: StepContext, key: string): void {
  const settings: Settings = cx.s.config.graph.nodes[cx.s.topology.words?.keypad ?? -1]?.settings ?? {};
  const terminator = settings.terminator ?? "#";
  const keypad = cx.s.keypad ?? { spans: [], firstNs: cx.atNs, lastNs: cx.atNs };
  if (keypad.spans.length === 0) {
    if (cx.s.config.policy.bargeIn) cutTurnsInFlight(cx, cx.atNs, { scope: "turn", by: "dtmf" });
    if (key === terminator) return;
  } else if (key === terminator) return proposeDigits(cx);
  cx.s.keypad = { ...keypad, spans: [...keypad.spans, literalText(cx, 0, key)], lastNs: cx.atNs };
  const max = Math.min(numberSetting(settings, "max_digits", DIGITS_MAX), KEYPAD_DIGITS_MAX);
  if (cx.s.keypad.spans.length >= max) return proposeDigits(cx);
  setTimerIn(cx, TIMER, numberSetting(settings, "timeout_ms", TIMEOUT_MS));
}

/** No further digit came in time, or none is awaited: what was keyed in is what the caller says. */
export function proposeDigits(cx: StepContext): void {
  const keypad = cx.s.keypad;
  clearTimer(cx, TIMER);
  delete cx.s.keypad;
  const entry = cx.s.topology.words?.keypad ?? -1;
  if (keypad === undefined || entry === -1) return;
  const digits = cutText(cx, keypad.spans);
  releaseText(cx, keypad.spans);
  const meant = menuWords(cx, digits, keypad.spans.length);
  if (meant !== null) releaseText(cx, [digits]);
  const spans = [meant ?? digits];
  const node = cx.s.config.graph.nodes[entry]?.id ?? "";
  signal(cx, "turn_open_proposed", "prelude", 0, "", { origin: "endpoint", node });
  cx.proposals.push({
    id: 0,
    origin: "endpoint",
    utterance: 0,
    spans,
    chars: spansLength(spans),
    say: null,
    key: "",
    reason: "dtmf",
    proposedNs: cx.atNs,
    cause: cx.inputSeq,
    firstVoicedNs: keypad.firstNs as MonoNs,
    lastVoicedNs: keypad.lastNs as MonoNs,
    speculation: 0,
    invocations: [],
    entry,
  });
}

/** One line of a menu: digits, and the words they stand for. Null for a line of another form. */
export function parseMenuLine(line: string): { digits: string; words: string } | null {
  const match = /^\s*([0-9]{1,8})\s*:\s*(.*\S)\s*$/.exec(line);
  return match === null ? null : { digits: match[1] ?? "", words: match[2] ?? "" };
}

/** The words a menu has for these digits; null where it has none. */
function menuWords(cx: StepContext, digits: TextSpan, count: number): TextSpan | null {
  const settings = cx.s.config.graph.nodes[cx.s.topology.words?.keypad ?? -1]?.settings ?? {};
  for (const line of listSetting(settings, "menu")) {
    const entry = parseMenuLine(line);
    if (entry === null || entry.digits.length !== count) continue;
    if (ask(cx, { fn: "has_words", spans: [digits], words: [entry.digits] }) === true)
      return literalText(cx, 0, entry.words);
  }
  return null;
}

/**
 * The batch as it may be kept where no payloads are (L1): each digit is a zero, terminators stand. A replay of it does the
 * same, since what depends on the digits themselves is answered by the recorded facts. For graphs with a `dtmf` node alone.
 */
export function withoutDigits(batch: Batch): Batch {
  if (!batch.inputs.some(({ body }) => body.type === "control" && body.signal === "dtmf")) return batch;
  const inputs = batch.inputs.map((input) => {
    const { body } = input;
    if (body.type !== "control" || body.signal !== "dtmf" || body.fields === null) return input;
    const fields = Object.entries(body.fields).map(([name, value]) => [
      name,
      DIGITS_FIELD.test(name) ? String(value).replace(/[0-9A-D]/gi, "0") : value,
    ]);
    return { ...input, body: { ...body, fields: Object.fromEntries(fields) as typeof body.fields } };
  });
  return { ...batch, inputs };
}

/** Whether the graph makes words of digits. */
export function graphTakesDigits(graph: GraphDefinition): boolean {
  return graph.nodes.some(({ kind }) => kind === "dtmf");
}

/** Nobody here may act on them any more, e.g. without the lease. */
export function abandonDigits(cx: StepContext): void {
  const keypad = cx.s.keypad;
  if (keypad === undefined) return;
  delete cx.s.keypad;
  clearTimer(cx, TIMER);
  releaseText(cx, keypad.spans);
}
