/** Every field of a test script: what a scripted caller does to a pipeline, and what is expected of it. */
import * as limits from "../limits.ts";
import { flag, list, type MapSchema, map, may, must, type OpenMapSchema, oneOf, text, whole } from "../schema.ts";
import { candidates, description } from "../spec-schema.ts";
import { variableNames } from "../variable-schema.ts";

/** The first line of every test script. */
export const TEST_SCHEMA = "rspp/test/v1";

/** Latencies between canonical anchors (`kernel.md` §10) that a script may bound. */
export const TEST_LATENCIES = [
  "turn_open_ms",
  "first_output_ms",
  "cancel_fence_ms",
  "voice_to_voice_ms",
  "resolved_turn_plan_build_ms",
  "turn_overhead_ms",
] as const;

export const STEP_ACTIONS = [
  "say",
  "audio",
  "barge_in",
  "dtmf",
  "silence_ms",
  "push_to_talk",
  "network",
  "hang_up",
] as const;

const words = text(limits.TEST_TEXT_CHARS_MAX);
const ms = whole(0, limits.TEST_WAIT_MS_MAX);
const digits = text(64, { pattern: /^[0-9A-D*#]+$/, form: "digits, A to D, * and #" });

const audio = map("what is played into the microphone", {
  /** Beside the script. */
  wav: must(text(limits.TEST_PATH_CHARS_MAX)),
  /** Its words, for sim/stt; by default those of the text file beside the WAV. */
  text: may(words),
});
const speech = { say: may(words), audio: may(audio) };
/** While the agent speaks: so long after the reply began, or once these words of it were heard. */
const moment = { after_ms: may(ms), at_text: may(words) };

/** Exact text, or what must be in it. */
const wording = {
  type: "either",
  text: text(limits.TEST_TEXT_CHARS_MAX, { min: 0 }),
  map: map("what is expected of a text", {
    contains: may(list("texts", words, 1, limits.TEST_ITEMS_MAX)),
    not_contains: may(list("texts", words, 1, limits.TEST_ITEMS_MAX)),
    /** Regular expression over the whole text; `i` may be put before it as `(?i)`. */
    matches: may(words),
  }),
  what: "text, or contains, not_contains and matches",
} as const;

const values: OpenMapSchema = {
  type: "open_map",
  max: limits.TEST_ITEMS_MAX,
  value: { type: "setting" },
  what: "values",
  keys: { pattern: /^[A-Za-z_][A-Za-z0-9_.]{0,63}$/, form: "letters, digits, _ and ." },
};

const tool = map("a tool's call", {
  called: may(text(limits.NAME_CHARS_MAX)),
  not_called: may(text(limits.NAME_CHARS_MAX)),
  /** Arguments it must have been given, among others. */
  with: may({ type: "json", chars: 4_096, what: "arguments" }),
  times: may(whole(1, 1_000)),
});

const signal: MapSchema = map("a signal", {
  signal: must(text(limits.NAME_CHARS_MAX)),
  reason: may(text(limits.NAME_CHARS_MAX)),
  fields: may(values),
  times: may(whole(0, 1_000)),
});

const ofTurn = {
  text: may(wording),
  heard: may(wording),
  caller: may(wording),
  cut: may(flag),
  tools: may(list("calls", tool, 1, limits.TEST_ITEMS_MAX)),
  latency: may(map("the latencies, each at most", Object.fromEntries(TEST_LATENCIES.map((name) => [name, may(ms)])))),
  evidence: may(
    map("the evidence", {
      complete: may(flag),
      terminal: may(oneOf("commit", "abort")),
      reason: may(text(limits.NAME_CHARS_MAX)),
      delivery: may(oneOf("completed", "cancelled", "lost")),
    }),
  ),
  signals: may(
    list("signals", { type: "either", text: text(64), map: signal, what: "a signal" }, 1, limits.TEST_ITEMS_MAX),
  ),
  no_output_after_cancel: may(flag),
};

const step = map("a step", {
  say: may(words),
  audio: may(audio),
  barge_in: may(map("a barge-in", { ...speech, dtmf: may(digits), hang_up: may(flag), ...moment })),
  dtmf: may(digits),
  silence_ms: may(ms),
  /** Speech whose end is told by the caller, not by silence (F-042). */
  push_to_talk: may(map("push to talk", speech)),
  network: may(
    map("network trouble", {
      /** The connection is away so long. */
      cut_ms: may(whole(1, limits.TEST_WAIT_MS_MAX)),
      /** Per cent of audio frames lost, in both directions, from here on. */
      loss_percent: may({ type: "number", min: 0, max: 100, integer: false }),
      /** Frames come up to so much later, in order, from here on. */
      jitter_ms: may(whole(0, 5_000)),
      ...moment,
    }),
  ),
  hang_up: may(flag),
  /** Turns that come of it; by default 1 of what is said or keyed in, or of a step without an action, else 0. */
  turns: may(whole(0, 100)),
  expect: may(map("what is expected of a step", ofTurn)),
});

const scriptedTool = map("a tool's answer", {
  result: may({ type: "json", chars: 16_384, what: "a result" }),
  text: may(words),
  /** The tool fails, with these words for the model. */
  error: may(text(1_000)),
  after_ms: may(ms),
});

export const testScriptSchema = map("a test script", {
  schema: must(oneOf(TEST_SCHEMA)),
  description: may(description),
  /** A file beside the script, or NAME@VERSION of those published on this machine. */
  pipeline: must(text(limits.TEST_PATH_CHARS_MAX)),
  /** Files beside the script that are laid over the pipeline (rspp/overrides/v1). */
  layers: may(list("layers", text(limits.TEST_PATH_CHARS_MAX), 1, 8)),
  time: may(oneOf("virtual", "real")),
  seed: may(text(64)),
  /** The longest wait for one step, of the clock's time. */
  wait_ms: may(whole(1, limits.TEST_WAIT_MS_MAX)),
  variables: may({
    type: "open_map",
    max: limits.VARIABLES_MAX,
    value: { type: "setting" },
    what: "session variables",
    keys: variableNames,
  }),
  /** In the place of a node's own candidates, by node id. */
  providers: may({
    type: "open_map",
    max: limits.LAYER_NODES_MAX,
    value: candidates.item,
    what: "providers",
    declares: true,
  }),
  /** Answers in the place of the tools' own, by tool. */
  tools: may({ type: "open_map", max: limits.TEST_ITEMS_MAX, value: scriptedTool, what: "tools", declares: true }),
  steps: must(list("steps", step, 1, limits.TEST_STEPS_MAX)),
  expect: may(
    map("what is expected of the call", {
      ...ofTurn,
      /** Lines `caller: …` and `agent: …` in this order; others may stand between. `…` at the end: what begins so. */
      order: may(list("lines", words, 1, limits.TEST_ITEMS_MAX)),
      /** All lines, and no other. */
      conversation: may(list("lines", words, 0, limits.TEST_ITEMS_MAX)),
      /** Stands in nothing that was said or told. */
      never: may(list("texts", words, 1, limits.TEST_ITEMS_MAX)),
      turns: may(whole(0, 1_000)),
      ended: may(text(limits.NAME_CHARS_MAX)),
    }),
  ),
});
