import { replayJournal } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { KernelHarness, testConfig } from "@rspp/kernel/testing/harness";
import { clauses, decisions, invocationOf } from "@rspp/kernel/testing/said";
import { cancel, records } from "@rspp/kernel/testing/scenes";
import { describe, expect, test } from "vitest";
import { answerPredicate } from "./cel.ts";
import { specFingerprint } from "./compile-spec.ts";
import { compiled, edited, parsed, problemsOf } from "./testing.ts";

/** German goes through a translator, everything else is said back as it was heard. */
const interpreter = `schema: rspp/pipeline/v1
name: one-way
version: 1
nodes:
  - {id: caller, kind: ingress}
  - {id: vad, kind: vad}
  - {id: stt, kind: stt, provider: {candidates: [sim/stt]}}
  - {id: ep, kind: endpointing, settings: {min_speech_ms: 60, endpoint_silence_ms: 100, candidate_silence_ms: 60, speculate_ms: 0}}
  - {id: english, kind: translator, settings: {target_language: en}, provider: {candidates: [sim/llm, sim/llm-b]}}
  - {id: both, kind: merge, settings: {rule: arrival/v1}}
  - {id: segmenter, kind: segmenter}
  - {id: tts, kind: tts, provider: {candidates: [sim/tts]}}
  - {id: output, kind: output}
edges:
  - caller.audio -> vad.audio
  - caller.audio -> stt.audio
  - vad.activity -> ep.activity
  - stt.text -> ep.text
  - from: ep.utterance
    to: english.text
    id: german
    condition: event.language == "de"
  - from: ep.utterance
    to: both.text
    id: plain
    condition: event.language != "de"
  - english.text -> both.text
  - both.text -> segmenter.text
  - segmenter.text -> tts.text
  - tts.audio -> output.audio
`;

function started(text: string, over: Partial<SessionConfig> = {}): KernelHarness {
  const { graph, policy, budgets } = compiled(text);
  const h = new KernelHarness(testConfig(graph, { policy: { ...policy, secondProposal: "queue" }, budgets, ...over }));
  h.predicate = answerPredicate;
  h.connect();
  return h;
}

function turn(h: KernelHarness, text: string, language: string, translated = "Good day."): void {
  h.utter(text, 6, language);
  const model = invocationOf(h, "english");
  if (model !== 0) h.feed(h.textChunk(model, translated), h.outcome(model));
  h.speakPending(5);
  const number = h.state.lastTurn;
  h.deliver(number, "accepted", 0);
  h.deliver(number, "started", 0);
  h.advance(2_000);
  h.deliver(number, "completed", h.state.turns[0]?.output.sentUs ?? 0);
}

describe("conditional edges in a session", () => {
  test("F-018 both branches are taken as predicted; each routing choice is a control event; the replay is equal", () => {
    const h = started(interpreter);
    turn(h, "Hello there.", "en");
    turn(h, "Guten Tag.", "de");
    turn(h, "Good bye.", "en");
    expect(clauses(h)).toEqual(["Hello there.", "Good day.", "Good bye."]);
    expect(h.signals("commit")).toHaveLength(3);
    const told = decisions(h).map((line) => line.replace(/,"event":\d+/, ""));
    const pair = (german: number): string[] => [
      `condition {"edge":"german","taken":${german}}`,
      `condition {"edge":"plain","taken":${1 - german}}`,
    ];
    // One of each edge and turn: a turn has an instance of its own of the graph.
    expect(told).toEqual([...pair(0), ...pair(1), ...pair(0)]);
    // L1: recorded answers are served. L2: asked again, and the same.
    expect(replayJournal(h.config, h.journal).identical).toBe(true);
    expect(h.journal.flatMap(({ facts }) => facts.filter(({ fn }) => fn === "predicate"))).toHaveLength(6);
    const again = started(interpreter);
    again.texts.clear();
    for (const [ref, text] of h.texts) again.texts.set(ref, text);
    expect(replayJournal(h.config, h.journal, { fns: again.fns }).identical).toBe(true);
  });

  test("F-018 an answer that was altered in the recording is found", () => {
    const h = started(interpreter);
    turn(h, "Guten Tag.", "de");
    const altered = structuredClone(h.journal);
    const fact = altered.flatMap(({ facts }) => facts).find(({ fn }) => fn === "predicate");
    if (fact !== undefined) fact.answer = false;
    expect(replayJournal(h.config, altered).identical).toBe(false);
  });

  test("F-018 the plan names condition and evaluator; a graph without conditions has neither", () => {
    const plan = (h: KernelHarness) => records(h, "plan")[0] as unknown as { plan: Record<string, never> };
    const with_ = started(interpreter);
    turn(with_, "Hello.", "en");
    expect(plan(with_).plan).toMatchObject({ determinism: { evaluator: "text/v1+cel/1" } });
    const edges = plan(with_).plan.edges as unknown as { edge: string; condition?: string }[];
    expect(edges.flatMap(({ edge, condition }) => (condition === undefined ? [] : [[edge, condition]]))).toEqual([
      ["german", 'event.language == "de"'],
      ["plain", 'event.language != "de"'],
    ]);
    const plainSpec = edited(interpreter, '    condition: event.language == "de"\n', "");
    const without = started(edited(plainSpec, '    condition: event.language != "de"\n', ""));
    turn(without, "Hello.", "en");
    expect(plan(without).plan).toMatchObject({ determinism: { evaluator: "text/v1" } });
    expect(JSON.stringify(plan(without).plan)).not.toContain("condition");
    expect(JSON.stringify(without.state)).not.toContain("route");
  });

  test("X-02 F-018 a session variable decides; one that was not given leaves its reason and routes nothing", () => {
    const gold = edited(interpreter, 'condition: event.language == "de"', 'condition: vars.tier == "gold"');
    const said = (variables: Record<string, string>): [string[], string[]] => {
      const h = started(gold, { variables });
      turn(h, "Hello.", "de");
      return [clauses(h), decisions(h).filter((line) => line.includes("german"))];
    };
    expect(said({ tier: "gold" })[0]).toEqual(["Good day."]);
    expect(said({ tier: "tin" })[0]).toEqual([]);
    const [spoken, told] = said({});
    expect(spoken).toEqual([]);
    expect(told).toHaveLength(1);
    expect(told[0]).toContain("condition_failed");
  });

  test("F-018 provider health, as this session saw it last, routes by name", () => {
    const failing = edited(interpreter, 'event.language == "de"', 'providers["sim/llm"].healthy');
    const h = started(edited(failing, 'event.language != "de"', 'providers["sim/llm"].healthy == false'));
    turn(h, "One.", "en");
    // A cancel says nothing about the provider.
    h.utter("Never mind.");
    h.feed(cancel(2));
    h.fenceAck(2, 0);
    h.advance(6_000);
    h.utter("Two.");
    h.feed(h.outcome(invocationOf(h, "english"), "error"));
    const other = invocationOf(h, "english");
    h.feed(h.textChunk(other, "Dos."), h.outcome(other));
    h.speakPending(5);
    h.advance(2_000);
    h.deliver(3, "completed", h.state.turns[0]?.output.sentUs ?? 0);
    turn(h, "Three.", "en");
    expect(clauses(h)).toEqual(["Good day.", "Dos.", "Three."]);
  });

  test("F-018 a choice that flips at each event is told so many times a turn, the rest counted", () => {
    const flapping = edited(
      interpreter,
      "  - both.text -> segmenter.text\n",
      "  - {from: both.text, to: segmenter.text, id: flap, condition: event.chars > 9}\n",
    );
    const h = started(flapping);
    h.utter("Guten Tag.", 6, "de");
    const model = invocationOf(h, "english");
    for (let i = 0; i < 40; i++) h.feed(h.textChunk(model, i % 2 === 0 ? "Well, well. " : "No. "));
    h.feed(h.outcome(model));
    const told = decisions(h).filter((line) => line.includes("flap"));
    expect(told).toHaveLength(16);
    expect(
      h.state.turns[0]?.run.edges.find((edge) => edge?.route !== undefined && edge.route.untold > 0)?.route?.untold,
    ).toBe(24);
    expect(
      clauses(h)
        .join("")
        .match(/Well, well\./g),
    ).toHaveLength(20);
    expect(clauses(h).join("")).not.toContain("No.");
    expect(replayJournal(h.config, h.journal).identical).toBe(true);
  });
});

describe("conditional edges of the session", () => {
  const ears = edited(
    interpreter,
    "  - stt.text -> ep.text\n",
    "  - {from: stt.text, to: ep.text, id: ears, condition: event.final}\n",
  );
  const told = (h: KernelHarness) => decisions(h).filter((line) => line.includes('"ears"'));

  test("F-018 a choice that stays is told once, however many turns there are", () => {
    const h = started(ears);
    turn(h, "Hello there.", "en");
    turn(h, "Good bye.", "en");
    expect(h.signals("commit")).toHaveLength(2);
    expect(told(h)).toHaveLength(1);
  });

  test("F-018 flips are bounded by the turn there too, and told again in the next", () => {
    const h = started(ears);
    const flap = (): void => {
      h.hear(true, 6);
      const stt = h.open("stt");
      for (let i = 0; i < 20; i++) {
        h.feed(h.textChunk(stt, "a", { final: false, segment: i, revision: 1 }));
        h.feed(h.textChunk(stt, "a ", { final: true, segment: i, revision: 2 }));
      }
      h.hear(false, 6);
      const done = Object.values(h.state.invocations).find((inv) => inv.modality === "stt" && inv.finished)?.id ?? 0;
      h.feed(h.outcome(done));
      h.speakPending(1);
      h.advance(2_000);
      h.deliver(h.state.lastTurn, "completed", h.state.turns[0]?.output.sentUs ?? 0);
    };
    flap();
    expect(told(h)).toHaveLength(16);
    flap();
    expect(told(h)).toHaveLength(32);
    expect(told(h)[16]).toContain('"untold":');
  });
});

describe("conditions in a spec", () => {
  test("F-018 an error names file, line, field and remedy", () => {
    const bad = edited(interpreter, 'event.language == "de"', "event.langauge == 3");
    expect(problemsOf(bad)).toMatchObject([
      {
        file: "bad.yaml",
        line: 22,
        path: "edges[4].condition",
        code: "condition",
        message: expect.stringContaining('event has no "langauge"'),
        remedy: expect.stringContaining("event.language"),
      },
    ]);
  });

  test("F-018 a condition is part of what executes: another one, another fingerprint", () => {
    const print = (text: string) => specFingerprint(parsed(text));
    expect(print(interpreter)).toEqual(print(`${interpreter}# a comment\n`));
    expect(print(interpreter)).not.toEqual(print(edited(interpreter, '== "de"', '== "fr"')));
  });

  test("F-006 a select chooses by `when` conditions, the first that holds; a flip leaves an audit event", () => {
    const select = edited(
      interpreter,
      "{id: both, kind: merge, settings: {rule: arrival/v1}}",
      `{id: both, kind: select, settings: {choose: ['english: when session.language == "de" && event.chars > 3', 'ep: otherwise']}}`,
    );
    const open = edited(
      edited(select, '    condition: event.language == "de"\n', ""),
      '    condition: event.language != "de"\n',
      "",
    );
    const h = started(open);
    turn(h, "Hello.", "en");
    turn(h, "Guten Tag.", "de");
    turn(h, "Bye.", "en");
    expect(clauses(h)).toEqual(["Hello.", "Good day.", "Bye."]);
    expect(decisions(h).map((line) => /"input":"(\w+)"/.exec(line)?.[1])).toEqual(["ep", "english", "ep"]);
    expect(problemsOf(edited(open, "event.chars > 3", "event.chars"))).toMatchObject([
      { path: "nodes[5].settings.choose[0]", code: "condition" },
    ]);
  });
});
