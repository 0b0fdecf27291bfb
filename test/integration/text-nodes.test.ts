/** Text nodes through the shipped runtime and the loopback line: digits as words, and a graph of every built-in node. */
import { readFileSync } from "node:fs";
import type { MonoNs } from "@rspp/base/brand";
import type { SignalEvent } from "@rspp/kernel/effect";
import { replayJournal } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { compileSpec } from "@rspp/spec/compile-spec";
import { parseSpec } from "@rspp/spec/parse-spec";
import { formatProblems } from "@rspp/spec/problem";
import { describe, expect, test } from "vitest";
import { sessionConfigOf } from "../../cli/src/pipeline.ts";
import { replaySession } from "../../cli/src/replay-session.ts";
import { createRig, openCall, type Rig, type SimCall, speech } from "./rig.ts";

/** The spec with a simulated provider for each of its own, which keep their settings. */
function simulated(text: string, sessionId: string, transcripts: string[]): SessionConfig {
  const spec = parseSpec(text, "spec.yaml");
  if (!spec.ok) throw new Error(formatProblems(spec.error, text));
  const compiled = compileSpec(spec.value);
  if (!compiled.ok) throw new Error(formatProblems(compiled.error, text));
  const { graph } = compiled.value;
  const nodes = graph.nodes.map((node) => {
    const modality = node.kind === "translator" ? "llm" : node.kind;
    const settings = { ...node.candidates[0]?.settings, ...(modality === "stt" ? { transcripts } : {}) };
    return { ...node, candidates: node.candidates.length === 0 ? [] : [{ provider: `sim/${modality}`, settings }] };
  });
  const authority = { epoch: 1, incarnation: "test-1", deadlineNs: 1e18 as MonoNs };
  const pipeline = { ...compiled.value, graph: { ...graph, nodes } };
  return sessionConfigOf(pipeline, { sessionId, authority, seed: sessionId, recording: "L1" });
}

const shipped = (name: string): string =>
  readFileSync(new URL(`../../pipelines/specs/${name}`, import.meta.url), "utf8");

function saidIn(call: SimCall, turn: number): string {
  return call.sent
    .flatMap((m) => (m.kind === "text" && m.turn === turn && m.role === "assistant" ? [m.text] : []))
    .join("");
}

const playedOf = (call: SimCall, turn: number): boolean =>
  call.line.deliveries().some((d) => d.turn === turn && d.phase === "completed");

async function over(rig: Rig, call: SimCall): Promise<void> {
  call.line.end();
  await rig.until(() => rig.runtime.session(call.session.config) === null);
  expect(replayJournal(call.session.config, call.session.journal())).toMatchObject({ identical: true });
}

describe("the phone menu", () => {
  test("F-010 digits open a turn: a menu's by its words, others as keyed in, after the terminator or a pause", async () => {
    const rig = createRig();
    const call = openCall(rig, simulated(shipped("phone-menu.yaml"), "menu", []));
    call.line.dtmf("1#");
    await rig.until(() => playedOf(call, 1));
    expect(rig.told.get("menu/1")?.at(-1)).toEqual({ role: "user", text: "when do you open" });
    expect(saidIn(call, 1)).toBe("when do you open");
    call.line.dtmf("7");
    call.line.dtmf("3");
    await rig.until(() => playedOf(call, 2));
    expect(rig.told.get("menu/2")?.at(-1)).toEqual({ role: "user", text: "73" });
    await over(rig, call);
  });

  test("F-010 F-153 a journal without payloads holds no digit that was keyed in, and replays identically", async () => {
    const rig = createRig();
    const config = simulated(shipped("phone-menu.yaml"), "kept", []);
    const call = openCall(rig, config);
    call.line.dtmf("7391");
    await rig.until(() => playedOf(call, 1));
    expect(rig.told.get("kept/1")?.at(-1)).toEqual({ role: "user", text: "7391" });
    await over(rig, call);
    const [run] = rig.spool.readSession("kept").runs;
    expect(JSON.stringify([run?.entries, run?.records, run?.signals])).not.toContain("7391");
    expect(JSON.stringify(run?.entries)).toContain('"dtmf.digits":"0000"');
    expect(replayJournal(config, run?.entries ?? [])).toMatchObject({ identical: true, steps: run?.entries.length });
  });

  test("F-010 F-034 a digit cuts the reply that plays; nothing of it is heard after the fence", async () => {
    const rig = createRig();
    const call = openCall(rig, simulated(shipped("phone-menu.yaml"), "cut", ["tell me all there is to know of it"]));
    call.line.speak(speech(400));
    await rig.until(() => call.line.deliveries().some((d) => d.turn === 1 && d.phase === "playing"));
    call.line.dtmf("2");
    await rig.until(() => call.signals.includes("playback_cancelled/1") || call.signals.includes("abort/1"));
    await rig.until(() => playedOf(call, 2));
    expect(rig.told.get("cut/2")?.at(-1)).toEqual({ role: "user", text: "tell me a story" });
    await over(rig, call);
  });
});

const EVERYTHING = `schema: rspp/pipeline/v1
name: everything
version: 1
nodes:
  - {id: caller, kind: ingress}
  - {id: vad, kind: vad}
  - {id: stt, kind: stt, provider: {candidates: [sim/stt], settings: {language: de}}}
  - {id: noise, kind: filter, settings: {drop_words: [uh]}}
  - {id: endpointing, kind: endpointing}
  - {id: keypad, kind: dtmf, settings: {max_digits: 2}}
  - {id: words, kind: merge, settings: {rule: arrival/v1}}
  - {id: context, kind: context}
  - {id: llm, kind: llm, provider: {candidates: [sim/llm]}}
  - id: german
    kind: translator
    settings: {target_language: de}
    provider: {candidates: [sim/llm], settings: {text: "Ihre Karte 4111 1111 1111 1111 ist da."}}
  - {id: pick, kind: select, settings: {choose: ["german: language = de", "llm: otherwise"]}}
  - {id: policy, kind: compliance, settings: {card_numbers: mask}}
  - {id: segmenter, kind: segmenter}
  - {id: breath, kind: filter, settings: {min_chars: 2}}
  - {id: tts, kind: tts, provider: {candidates: [sim/tts]}}
  - {id: output, kind: output}
edges:
  - caller.audio -> vad.audio
  - caller.audio -> stt.audio
  - vad.activity -> endpointing.activity
  - stt.text -> noise.text
  - noise.text -> endpointing.text
  - endpointing.utterance -> words.text
  - keypad.utterance -> words.text
  - words.text -> context.utterance
  - context.messages -> llm.messages
  - llm.text -> german.text
  - llm.text -> pick.text
  - german.text -> pick.text
  - pick.text -> policy.text
  - policy.text -> segmenter.text
  - segmenter.text -> breath.text
  - breath.text -> tts.text
  - tts.audio -> output.audio
`;

test("F-010 F-118 every built-in node in one graph: speech in, speech out, digits too, replayed identically", async () => {
  const rig = createRig();
  const call = openCall(rig, { ...simulated(EVERYTHING, "all", ["wo ist sie", "uh"]), variables: { language: "de" } });
  call.line.speak(speech(400));
  await rig.until(() => playedOf(call, 1));
  call.line.speak(speech(400));
  await rig.pass(3_000);
  call.line.dtmf("42");
  await rig.until(() => playedOf(call, 2));
  expect(call.signals.filter((s) => s.startsWith("turn_open/"))).toEqual(["turn_open/1", "turn_open/2"]);
  expect(call.signals.filter((s) => s.startsWith("commit/"))).toEqual(["commit/1", "commit/2"]);
  expect(saidIn(call, 1)).toBe("Ihre Karte card number removed ist da.");
  expect(call.sent.filter((m) => m.kind === "media" && m.turn === 1).length).toBeGreaterThan(10);
  await over(rig, call);
  const [run] = rig.spool.readSession("all").runs;
  const audits = (run?.signals ?? []) as SignalEvent[];
  const decisions = audits.filter(({ signal }) => signal === "route_decision");
  expect(decisions.map(({ turn, reason, fields }) => [turn, reason, fields.condition ?? fields.rule])).toEqual([
    [1, "condition", "language=de"],
    [1, "policy", "card_number"],
    [2, "policy", "card_number"],
  ]);
  expect(JSON.stringify(audits)).not.toContain("4111");
});

const ROUTED = `schema: rspp/pipeline/v1
name: routed
version: 1
variables:
  language: {type: string, required: true}
nodes:
  - {id: caller, kind: ingress}
  - {id: vad, kind: vad}
  - {id: stt, kind: stt, provider: {candidates: [sim/stt]}}
  - {id: endpointing, kind: endpointing}
  - {id: context, kind: context}
  - {id: llm, kind: llm, provider: {candidates: [sim/llm]}}
  - id: german
    kind: translator
    settings: {target_language: de}
    provider: {candidates: [sim/llm], settings: {text: "Guten Tag."}}
  - {id: both, kind: merge, settings: {rule: arrival/v1}}
  - {id: segmenter, kind: segmenter}
  - {id: tts, kind: tts, provider: {candidates: [sim/tts]}}
  - {id: output, kind: output}
edges:
  - {from: caller.audio, to: vad.audio, buffer: {preset: latency_first, sync: {domain: mic, policy: atomic_drop, scope: plan_wide}}}
  - {from: caller.audio, to: stt.audio, buffer: {preset: accuracy_first, sync: {domain: mic, policy: atomic_drop, scope: plan_wide}}}
  - vad.activity -> endpointing.activity
  - {from: stt.text, to: endpointing.text, buffer: {strategy: coalesce, coalesce_ms: 200}}
  - endpointing.utterance -> context.utterance
  - context.messages -> llm.messages
  - {id: translated, from: llm.text, to: german.text, condition: vars.language == "de"}
  - {id: plain, from: llm.text, to: both.text, condition: vars.language != "de"}
  - german.text -> both.text
  - {from: both.text, to: segmenter.text, buffer: {watermark: {high: 0.8, low: 0.4, action: merge}}}
  - {id: clauses, from: segmenter.text, to: tts.text, buffer: {flow: credit, credits: 2}}
  - tts.audio -> output.audio
`;

test("F-018 F-053 F-145 conditions and buffers of a spec in a call: routed by its variable, granted, replayed identically", async () => {
  for (const [language, said] of [
    ["de", "Guten Tag."],
    ["en", "where is it"],
  ] as const) {
    const rig = createRig();
    const sessionId = `routed-${language}`;
    const config = simulated(ROUTED, sessionId, ["where is it"]);
    const recording = { ...config.recording, ceiling: "L2" as const };
    const call = openCall(rig, { ...config, recording, variables: { language } });
    call.line.speak(speech(400));
    await rig.until(() => playedOf(call, 1));
    expect(saidIn(call, 1)).toContain(said);
    await over(rig, call);
    // With payloads every fact is asked for again, the conditions too.
    expect(replaySession(rig.store, sessionId)).toMatchObject({ identical: true, level: "effects", problems: [] });
    const [run] = rig.spool.readSession(sessionId).runs;
    expect(run?.entries.flatMap(({ facts }) => facts.filter(({ fn }) => fn === "predicate")).length).toBeGreaterThan(1);
    const signals = (run?.signals ?? []) as SignalEvent[];
    const routes = signals.filter(({ signal, turn }) => signal === "route_decision" && turn === 1);
    expect(routes.map(({ fields }) => [fields.edge, fields.taken])).toEqual([
      ["translated", language === "de" ? 1 : 0],
      ["plain", language === "de" ? 0 : 1],
    ]);
    const grants = signals.filter(({ signal }) => signal === "credit_grant");
    expect(grants.map(({ fields }) => [fields.edge, fields.amount])[0]).toEqual(["clauses", 2]);
  }
});
