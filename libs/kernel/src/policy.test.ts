import { describe, expect, test } from "vitest";
import type { TimelineRecord } from "./effect.ts";
import type { PolicyResolution } from "./policy.ts";
import { replayJournal } from "./replay.ts";
import { assistantGraph, KernelHarness, testConfig } from "./testing/harness.ts";

const candidate = (provider: string) => ({ provider, settings: { from: "policy" } });
const resolution = (part: Partial<PolicyResolution> = {}): PolicyResolution => ({
  policy: "acme/default@3",
  bindings: { llm: [candidate("p/large"), candidate("p/small")] },
  reasons: ["llm: rule premium, listed"],
  ...part,
});

const give = (h: KernelHarness, to: PolicyResolution | null, policy = "policy@7") =>
  h.feed({
    type: "snapshot",
    refs: { ...h.config.snapshots, policy },
    usable: true,
    reason: "",
    resolution: to,
  });

const records = (h: KernelHarness): TimelineRecord[] =>
  h.log.flatMap(({ effect }) => (effect.type === "record" ? [effect.record] : []));
const plans = (h: KernelHarness) => records(h).flatMap((record) => (record.kind === "plan" ? [record.plan] : []));
const opened = (h: KernelHarness, node: string) =>
  h.log.flatMap(({ effect }) => (effect.type === "provider_open" && effect.node === node ? [effect] : []));

describe("F-056 F-161 a turn is bound by the policy in force as it opens", () => {
  test("the plan names policy, candidates, reasons and snapshot versions; the first candidate is asked", () => {
    const h = new KernelHarness(testConfig(assistantGraph()));
    h.connect();
    give(h, resolution());
    h.utter("tell me a story");
    const [plan] = plans(h) as { bindings: { node: string; candidates: unknown }[]; snapshots: { policy: string } }[];
    expect(plan?.bindings.find(({ node }) => node === "llm")?.candidates).toEqual(resolution().bindings.llm);
    expect(plan).toMatchObject({
      decision: { policy: "acme/default@3", reasons: ["llm: rule premium, listed"] },
      snapshots: { policy: "policy@7" },
    });
    expect(opened(h, "llm")[0]).toMatchObject({ provider: "p/large", settings: { from: "policy" } });
    expect(replayJournal(h.config, h.journal)).toMatchObject({ identical: true, divergences: [] });
  });

  test("a change in mid-turn acts at the next turn: the one that runs falls over to its own second candidate", () => {
    const h = new KernelHarness(testConfig(assistantGraph()));
    h.connect();
    give(h, resolution());
    h.utter("tell me a story");
    const [first] = opened(h, "llm");
    give(h, resolution({ bindings: { llm: [candidate("p/other")] }, policy: "acme/default@4" }), "policy@8");
    h.feed({
      type: "provider_outcome",
      invocation: first?.invocation ?? 0,
      outcome: "overload",
      detail: "",
      usage: null,
    });
    expect(opened(h, "llm").map(({ provider }) => provider)).toEqual(["p/large", "p/small"]);
    h.feed({ type: "operator", command: "cancel_turn", turn: 1, reason: "test" });
    h.advance(200);
    h.utter("and another one");
    expect(opened(h, "llm").at(-1)?.provider).toBe("p/other");
    expect(plans(h).map((plan) => (plan as { decision?: { policy: string } }).decision?.policy)).toEqual([
      "acme/default@3",
      "acme/default@4",
    ]);
    expect(replayJournal(h.config, h.journal)).toMatchObject({ identical: true, divergences: [] });
  });

  test("without one, and after one was taken back, the plan is that of the pipeline alone", () => {
    const plain = new KernelHarness(testConfig(assistantGraph()));
    plain.connect();
    plain.utter("tell me a story");
    const h = new KernelHarness(testConfig(assistantGraph()));
    h.connect();
    give(h, resolution());
    give(h, null, h.config.snapshots.policy);
    h.utter("tell me a story");
    expect(plans(h)).toEqual(plans(plain));
    expect(plans(h)[0]).not.toHaveProperty("decision");
  });

  test("a recogniser keeps its candidates for an utterance, and has the new ones for the next", () => {
    const h = new KernelHarness(testConfig(assistantGraph()));
    h.connect();
    give(h, resolution({ bindings: { stt: [candidate("p/ear")] } }));
    h.utter("tell me a story");
    expect(opened(h, "stt").map(({ provider }) => provider)).toEqual(["p/ear"]);
    expect(records(h).filter(({ kind }) => kind === "session_plan")).toHaveLength(2);
  });
});

test("F-058 caps go along with each invocation, less what the turn has used, and one that is met is told", () => {
  const h = new KernelHarness(testConfig(assistantGraph()));
  h.connect();
  give(h, resolution({ caps: { tokens: 100, ttsCharacters: 500, onExceeded: "truncate" } }));
  h.utter("tell me a story");
  const [first] = opened(h, "llm");
  expect(first?.caps).toEqual({ tokens: 100, ttsCharacters: 500, onExceeded: "truncate" });
  expect(opened(h, "stt")[0]?.caps).toMatchObject({ onExceeded: "truncate" });
  const usage = { inputTokens: 30, outputTokens: 20 };
  h.feed({
    type: "provider_outcome",
    invocation: first?.invocation ?? 0,
    outcome: "overload",
    detail: "",
    usage,
  });
  expect(opened(h, "llm")[1]?.caps?.tokens).toBe(50);
  h.feed({
    type: "provider_outcome",
    invocation: opened(h, "llm")[1]?.invocation ?? 0,
    outcome: "error",
    detail: "cap_reached:tokens",
    usage: null,
  });
  expect(h.signals("budget_exhausted")).toEqual(["budget_exhausted#1(cap_tokens)"]);
  expect(replayJournal(h.config, h.journal)).toMatchObject({ identical: true, divergences: [] });
});

test("F-048 a policy's posture is the one a turn opens with", () => {
  const graph = assistantGraph();
  const degrade = { postures: [{ id: "brief", nodes: { llm: { max_tokens: 40 } } }], calmMs: 1_000, textOnly: false };
  const h = new KernelHarness(testConfig({ ...graph, degrade }));
  h.connect();
  give(h, resolution({ posture: "brief" }));
  h.utter("tell me a story");
  expect(opened(h, "llm")[0]?.settings).toEqual({ from: "policy", max_tokens: 40 });
  expect(plans(h)[0]).toMatchObject({ resilience: { posture: "brief" } });
});
