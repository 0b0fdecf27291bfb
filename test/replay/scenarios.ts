/** Named conversations for golden recordings, each played by the kernel's own test harness. Simulated throughout. */
import type { Effect } from "@rspp/kernel/effect";
import type { GraphDefinition } from "@rspp/kernel/graph";
import { type JournalEntry, replayJournal } from "@rspp/kernel/replay";
import { type StepSummary, summariseStep } from "@rspp/kernel/replay-classes";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { EAR_EDGES, EAR_NODES, graphOf, MODEL_NODES, VOICE_EDGES, VOICE_NODES } from "@rspp/kernel/testing/graphs";
import { assistantGraph, KernelHarness, node, POLICY, testConfig } from "@rspp/kernel/testing/harness";

export interface Golden {
  scenario: string;
  /** Signals of the run, for whoever reads the file. */
  told: string[];
  config: SessionConfig;
  entries: JournalEntry[];
}

function started(tts: string[] = ["sim/tts"]): KernelHarness {
  const h = new KernelHarness(testConfig(assistantGraph({ tts, llm: ["sim/llm", "sim/llm-b"] }), { policy: POLICY }));
  h.connect();
  return h;
}

function play(h: KernelHarness, turn: number): void {
  h.deliver(turn, "accepted", 0);
  h.deliver(turn, "started", 0);
}

function question(): KernelHarness {
  const h = started();
  h.utter("what time is it");
  h.reply("It is noon.", 40);
  play(h, 1);
  h.advance(600);
  h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
  return h;
}

/** T13: the turn has committed, its reply plays, the caller speaks. */
function bargeIn(): KernelHarness {
  const h = started();
  h.utter("tell me a story");
  h.reply("Once upon a time there was a fox. ", 40);
  play(h, 1);
  h.advance(300);
  h.hear(true, 4);
  h.fenceAck(1, 280_000);
  return h;
}

function greeting(): KernelHarness {
  const h = started();
  const text = "Good day.";
  const spans = [{ ref: h.ref(text), from: 0, to: text.length }];
  h.feed({ type: "proposal", origin: "api", key: "hello", say: { spans, chars: text.length }, reason: "greeting" });
  h.speakPending(40);
  play(h, 1);
  h.advance(500);
  h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
  return h;
}

/** The first language model fails before its first word, the second answers. */
function providerSwitch(): KernelHarness {
  const h = started();
  h.utter("what time is it");
  h.feed(h.outcome(h.open("llm"), "error"));
  h.reply("Noon.", 40);
  play(h, 1);
  h.advance(400);
  h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
  return h;
}

/** T7: the caller hangs on a button while the language model is still being asked. */
function abort(): KernelHarness {
  const h = started();
  h.utter("tell me a story");
  const llm = h.open("llm");
  h.feed(h.textChunk(llm, "Once upon a time. "));
  h.feed(h.control("stop", { turn: 1, reason: "user_stop" }));
  h.feed(h.outcome(llm, "error"));
  h.fenceAck(1, 0);
  h.advance(100);
  return h;
}

/** Every kind of text node in one graph (F-010): digits or speech in, a reply that is joined, screened and translated. */
function textGraph(): GraphDefinition {
  const words = { words: ["fox"], words_action: "replace", replacement: "bear", card_numbers: "mask" };
  return graphOf(
    [
      ...EAR_NODES,
      node("noise", "filter", "session", { drop_words: ["uh"] }),
      node("keypad", "dtmf", "session", { max_digits: 4, menu: ["1: tell me a story"] }),
      ...MODEL_NODES,
      node("german", "translator", "turn", { target_language: "de" }, ["sim/llm"]),
      node("pick", "select", "turn", { choose: ["german: language = de", "llm: otherwise"] }),
      node("join", "merge", "turn", { rule: "timestamp/v1", wait_ms: 40, priority: ["pick"] }),
      node("policy", "compliance", "turn", words),
      ...VOICE_NODES,
    ],
    [
      ...EAR_EDGES,
      "stt.text -> noise.text",
      "noise.text -> endpointing.text",
      "endpointing.utterance -> context.utterance",
      "keypad.utterance -> context.utterance",
      "context.messages -> llm.messages",
      "llm.text -> german.text",
      "llm.text -> pick.text",
      "german.text -> pick.text",
      "pick.text -> join.text",
      "german.text -> join.text",
      "join.text -> policy.text",
      "policy.text -> segmenter.text",
      ...VOICE_EDGES,
    ],
  );
}

function answered(h: KernelHarness, turn: number): void {
  const [llm = 0] = [h.open("llm")];
  h.feed(h.textChunk(llm, "Once upon a time there was a fo"), h.textChunk(llm, "x. It had 4111 1111 "));
  h.feed(h.textChunk(llm, "1111 1111 coins. "), h.outcome(llm));
  for (let german = h.open("llm"); german !== 0; german = h.open("llm"))
    h.feed(h.textChunk(german, "Es war einmal. "), h.outcome(german));
  h.speakPending(10);
  play(h, turn);
}

function textNodes(): KernelHarness {
  const h = new KernelHarness(testConfig(textGraph(), { policy: POLICY }));
  h.connect();
  h.utter("uh");
  h.utter("tell me a story");
  answered(h, 1);
  h.advance(300);
  h.feed(
    h.control("dtmf", { fields: { "telephony.digit": "1" } }),
    h.control("dtmf", { fields: { "dtmf.digits": "#" } }),
  );
  h.fenceAck(1, 280_000);
  answered(h, 2);
  h.advance(5_000);
  h.deliver(2, "completed", h.state.turns[0]?.output.sentUs ?? 0);
  return h;
}

export const SCENARIOS: Readonly<Record<string, () => KernelHarness>> = {
  question,
  "barge-in": bargeIn,
  greeting,
  "provider-switch": providerSwitch,
  abort,
};

/** Recorded once there were such nodes; no earlier behaviour had them. */
export const TEXT_SCENARIOS: Readonly<Record<string, () => KernelHarness>> = { "text-nodes": textNodes };

/** The scenario as a recording: configuration, journal with facts, digests and summaries. */
export function record(scenario: string): Golden {
  const all = { ...SCENARIOS, ...TEXT_SCENARIOS };
  const h = all[scenario]?.();
  if (h === undefined) throw new Error(`no scenario ${scenario}; there are ${Object.keys(all).join(", ")}`);
  const summaries: StepSummary[] = [];
  const onStep = (_batch: unknown, effects: readonly Effect[]) => summaries.push(summariseStep(effects));
  replayJournal(h.config, h.journal, { onStep });
  const entries = h.journal.map((entry, i) => ({ ...entry, ...(summaries[i] ? { summary: summaries[i] } : {}) }));
  return JSON.parse(JSON.stringify({ scenario, told: h.signals(), config: h.config, entries })) as Golden;
}
