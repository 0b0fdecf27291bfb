import { assistantGraph, KernelHarness, POLICY, testConfig } from "@rspp/kernel/testing/harness";
import { describe, expect, test } from "vitest";
import { type DivergenceReport, diffTimelines } from "./diff.ts";
import { type Declaration, parseExpected } from "./expected.ts";
import { Playback } from "./playback.ts";
import { runToEnd } from "./replay-run.ts";
import type { RunTimeline } from "./run-timeline.ts";
import { sourceOfJournal } from "./source.ts";

interface Plan {
  text?: string;
  llmMs?: number;
  failsFirst?: boolean;
}

/** One question and its answer, played by hand. */
function run({ text = "It is noon.", llmMs = 100, failsFirst = false }: Plan = {}): RunTimeline {
  const h = new KernelHarness(testConfig(assistantGraph({ llm: ["sim/llm", "sim/llm-b"] }), { policy: POLICY }));
  h.connect();
  h.utter("what time is it");
  if (failsFirst) h.feed(h.outcome(h.open("llm"), "error"));
  h.advance(llmMs);
  h.reply(text, 40);
  h.deliver(1, "accepted", 0);
  h.deliver(1, "started", 0);
  h.advance(3_000);
  h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
  return runToEnd(new Playback(sourceOfJournal(h.config, h.journal, new Map(h.texts)))).replayed;
}

const a = run();
const classes = ({ divergences }: DivergenceReport) => [...new Set(divergences.map((one) => one.class))].sort();
const because = (kind: Declaration["class"], where: Declaration["where"] = {}): Declaration => ({
  class: kind,
  where,
  reason: "the new version does so",
});

describe("F-077 two runs are compared", () => {
  test("F-077 equal runs do not differ, whatever they are called", () => {
    expect(diffTimelines(a, { ...run(), mode: "resimulate" })).toMatchObject({
      ok: true,
      verdict: "same",
      divergences: [],
    });
  });

  test("F-077 F-127 a slower node is found as TIMING, and fails past the threshold alone", () => {
    const slow = run({ llmMs: 400 });
    const report = diffTimelines(a, slow);
    expect(report).toMatchObject({ ok: true, verdict: "explained" });
    expect(classes(report)).toEqual(["TIMING"]);
    expect(report.divergences).toContainEqual(
      expect.objectContaining({ node: "llm", what: "first_result_ms", deltaMs: 300, withinTolerance: false, turn: 1 }),
    );
    expect(report.latencies).toContainEqual(
      expect.objectContaining({ metric: "first_output_ms", worstRegressionMs: 300 }),
    );
    expect(diffTimelines(a, slow, [], { maxLatencyRegressionMs: 250 }).ok).toBe(false);
    expect(diffTimelines(a, slow, [], { maxLatencyRegressionMs: 350 }).ok).toBe(true);
    expect(diffTimelines(slow, a, [], { maxLatencyRegressionMs: 0 }).ok).toBe(true);
    expect(diffTimelines(a, slow, [because("TIMING")], { maxLatencyRegressionMs: 250 }).ok).toBe(true);
    const near = diffTimelines(a, run({ llmMs: 110 }));
    expect(near.divergences.every((one) => one.withinTolerance === true)).toBe(true);
  });

  test("F-077 F-127 another text is found as PAYLOAD and fails unless it is declared", () => {
    const report = diffTimelines(a, run({ text: "It is late!" }));
    expect(classes(report)).toContain("PAYLOAD");
    expect(report.divergences).toContainEqual(
      expect.objectContaining({
        class: "PAYLOAD",
        what: "output_text",
        a: "It is noon.",
        b: "It is late!",
        fails: true,
      }),
    );
    expect(diffTimelines(a, run({ text: "It is late!" }), [because("PAYLOAD")]).verdict).toBe("explained");
    expect(diffTimelines(a, run({ text: "It is late!" }), [because("PAYLOAD", { turn: 2 })]).ok).toBe(false);
  });

  test("F-077 another provider is found as PROVIDER_CHOICE, with the outcome that led to it", () => {
    const report = diffTimelines(a, run({ failsFirst: true }));
    expect(report.divergences).toContainEqual(
      expect.objectContaining({
        class: "PROVIDER_CHOICE",
        node: "llm",
        a: "sim/llm",
        b: "sim/llm, sim/llm-b",
        fails: true,
      }),
    );
    expect(report.divergences).toContainEqual(
      expect.objectContaining({ class: "OUTCOME", what: "call_outcome", a: "success", b: "error" }),
    );
    expect(report.ok).toBe(false);
  });

  test("F-077 a dropped event is found as ORDERING, a swapped pair too", () => {
    const dropped = structuredClone(a);
    const at = dropped.events.findIndex(({ kind }) => kind === "playback_started");
    const [gone] = dropped.events.splice(at, 1);
    expect(gone).toBeDefined();
    expect(diffTimelines(a, dropped).divergences).toEqual([
      expect.objectContaining({
        class: "ORDERING",
        what: "event:playback_started",
        a: "1 ×",
        b: "absent",
        fails: true,
      }),
    ]);
    const swapped = structuredClone(a);
    const commit = swapped.events.findIndex(({ kind }) => kind === "commit");
    const [terminal] = swapped.events.splice(commit, 1);
    if (terminal === undefined) throw new Error("no commit");
    swapped.events.splice(swapped.events.findLastIndex(({ turn }) => turn === 1) + 1, 0, terminal);
    expect(diffTimelines(a, swapped).divergences).toEqual([
      expect.objectContaining({ class: "ORDERING", what: "event_order" }),
    ]);
  });

  test("F-077 a turn that did not open, another end and another plan are OUTCOME and PLAN", () => {
    expect(diffTimelines(a, { ...a, turns: [] }).divergences[0]).toMatchObject({
      class: "OUTCOME",
      b: "no turn",
      turn: 1,
    });
    const other = structuredClone(a);
    Object.assign(other.turns[0] ?? {}, { terminal: "abort", reason: "timeout", planHash: "0".repeat(64) });
    const report = diffTimelines(a, other);
    expect(classes(report)).toEqual(["OUTCOME", "PLAN"]);
    expect(report.counts).toMatchObject({ OUTCOME: 1, PLAN: 1, AUTHORITY: 0 });
    expect(diffTimelines(a, other, [because("PLAN"), because("OUTCOME", { what: "terminal" })]).ok).toBe(true);
  });

  test("F-077 a declared divergence that does not occur fails", () => {
    const report = diffTimelines(a, run(), [because("PROVIDER_CHOICE", { node: "llm" })]);
    expect(report).toMatchObject({ ok: false, verdict: "failed", divergences: [] });
    expect(report.unmet).toEqual([because("PROVIDER_CHOICE", { node: "llm" })]);
  });

  test("F-077 a difference of authority fails even where it was declared", () => {
    const other = structuredClone(a);
    Object.assign(other.turns[0] ?? {}, { epochs: [1, 2] });
    const report = diffTimelines(a, other, [because("AUTHORITY")]);
    expect(report.ok).toBe(false);
    expect(report.divergences[0]).toMatchObject({ class: "AUTHORITY", declared: null, fails: true });
    const stale = structuredClone(a);
    stale.events.push({ atNs: 1, lane: "control", kind: "stale_epoch_reject", turn: 0, node: "", reason: "" });
    expect(diffTimelines(a, stale).divergences[0]).toMatchObject({ class: "AUTHORITY", fails: true });
  });

  test("F-073 F-077 redacted recordings declare PAYLOAD by themselves, and nothing else", () => {
    const redacted = { ...run({ text: "It is ████." }), redacted: true };
    const report = diffTimelines({ ...a, redacted: false }, redacted);
    expect(report).toMatchObject({ ok: true, verdict: "explained" });
    expect(report.divergences[0]?.declared?.by).toBe("redaction");
    expect(diffTimelines(a, { ...redacted, turns: [] }).ok).toBe(false);
  });
});

describe("F-077 declarations", () => {
  test("F-077 are read from YAML, with a reason each", () => {
    const text =
      "schema: rspp/divergences/v1\nexpected:\n  - {class: PAYLOAD, where: {turn: 1, what: output_text}, reason: new prompt}\n";
    expect(parseExpected(text, "e.yaml")).toEqual({
      ok: true,
      value: [{ class: "PAYLOAD", where: { turn: 1, what: "output_text" }, reason: "new prompt" }],
    });
  });

  test.each([
    ["expected: []", /schema: write/],
    ["schema: rspp/divergences/v1", /a list of declarations is needed/],
    ["schema: rspp/divergences/v1\nexpected: [{class: PLAN}]", /expected\[0\]\.reason: say why/],
    ["schema: rspp/divergences/v1\nexpected: [{class: COLOUR, reason: x}]", /expected\[0\]\.class: one of PLAN/],
    ["schema: rspp/divergences/v1\nexpected: [{class: AUTHORITY, reason: x}]", /always a failure/],
    ["schema: rspp/divergences/v1\nexpected: [{class: PLAN, reason: x, where: {turn: one}}]", /where\.turn/],
    ["schema: rspp/divergences/v1\nexpected: [{class: PLAN, reason: x, were: {}}]", /were: unknown/],
    ["schema: [", /e\.yaml/],
  ])("F-077 %j is refused with what to write", (text, problem) => {
    const read = parseExpected(text, "e.yaml");
    expect(read.ok ? "" : read.error).toMatch(problem);
  });
});
