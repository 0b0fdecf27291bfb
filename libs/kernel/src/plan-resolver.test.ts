import type { MonoNs } from "@rspp/base/brand";
import { canonicalJson } from "@rspp/base/canonical-json";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import { describe, expect, test } from "vitest";
import type { TimelineRecord } from "./effect.ts";
import { type PlanInputs, type ResolvedTurnPlan, resolveTurnPlan } from "./plan-resolver.ts";
import { replayJournal } from "./replay.ts";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "./testing/harness.ts";

const inputs = (over: Partial<PlanInputs> = {}): PlanInputs => ({
  config: testConfig(assistantGraph(), {
    provenance: { "budgets.providerAttemptMs": "defaulting_source=execution_profile/simple/v1" },
    variables: { city: "Bern" },
  }),
  graphHash: "g",
  turn: 1,
  epoch: 1,
  snapshots: testConfig(assistantGraph()).snapshots,
  recordingLevel: "L0",
  admissionOutcome: "admit",
  origin: "endpoint",
  say: false,
  ...over,
});

/** With the graph's hash as a session computes it, where the case names no other. */
function resolved(of: PlanInputs): { plan: ResolvedTurnPlan; hash: string } {
  const graphHash = of.graphHash === "g" ? sha256Utf8Hex(canonicalJson(of.config.graph)) : of.graphHash;
  const result = resolveTurnPlan({ ...of, graphHash });
  if (!result.ok) throw new Error(result.error);
  return result.value;
}

describe("F-149 the resolved turn plan", () => {
  test("same inputs, same hash, whatever the order of their keys; the hash is over the canonical bytes", () => {
    const { plan, hash } = resolved(inputs());
    expect(resolved(inputs()).hash).toBe(hash);
    const reversed = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(reversed);
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([k, v]) => [k, reversed(v)]),
      );
    };
    expect(resolved(reversed(inputs()) as PlanInputs).hash).toBe(hash);
    expect(sha256Utf8Hex(canonicalJson(plan))).toBe(hash);
  });

  const base = inputs();
  const { config } = base;
  const graph = config.graph;
  const withConfig = (over: Partial<PlanInputs["config"]>): PlanInputs => inputs({ config: { ...config, ...over } });
  const withNode = (id: string, over: object): PlanInputs =>
    withConfig({ graph: { ...graph, nodes: graph.nodes.map((n) => (n.id === id ? { ...n, ...over } : n)) } });
  const withBuffer = (over: object): PlanInputs =>
    withConfig({
      graph: {
        ...graph,
        edges: graph.edges.map((e, i) => (i === 0 ? { ...e, buffer: { ...e.buffer, ...over } } : e)),
      },
    });

  test.each<[string, PlanInputs]>([
    ["turn", inputs({ turn: 2 })],
    ["epoch", inputs({ epoch: 2 })],
    ["graph", inputs({ graphHash: "h" })],
    ["recording level", inputs({ recordingLevel: "L1" })],
    ["admission outcome", inputs({ admissionOutcome: "degraded" })],
    ["origin", inputs({ origin: "api" })],
    ...(Object.keys(base.snapshots) as (keyof PlanInputs["snapshots"])[]).map((name): [string, PlanInputs] => [
      `snapshot ${name}`,
      inputs({ snapshots: { ...base.snapshots, [name]: "other" } }),
    ]),
    ["pipeline version", withConfig({ graph: { ...graph, pipelineVersion: "p@2" } })],
    ["profile", withConfig({ profile: "simple/v2" })],
    ["policy", withConfig({ policy: { ...POLICY, bargeIn: false } })],
    ["budget", withConfig({ budgets: { ...config.budgets, providerAttemptMs: 1 } })],
    ["recording ceiling", withConfig({ recording: { ...config.recording, ceiling: "L2" } })],
    ["recording policy", withConfig({ recording: { ...config.recording, policyId: "r@2" } })],
    ["seed", withConfig({ seed: "other" })],
    ["behaviours", withConfig({ behaviours: [1] })],
    ["variables", withConfig({ variables: { city: "Basel" } })],
    ["provenance", withConfig({ provenance: {} })],
    ["output lead", withConfig({ outputLeadMs: 100 })],
    ["system prompt", withConfig({ systemPrompt: [{ ref: -7, from: 0, to: 3 }] })],
    ["provider", withNode("tts", { candidates: [{ provider: "other/tts", settings: {} }] })],
    [
      "provider order",
      withNode("llm", { candidates: [{ provider: "b", settings: {} }, ...(graph.nodes[5]?.candidates ?? [])] }),
    ],
    ["provider settings", withNode("tts", { candidates: [{ provider: "sim/tts", settings: { voice: "x" } }] })],
    ["node settings", withNode("segmenter", { settings: { max_chars: 99 } })],
    ["buffer strategy", withBuffer({ strategy: "block" })],
    ["buffer items", withBuffer({ maxItems: 9 })],
    ["buffer bytes", withBuffer({ maxBytes: 9 })],
    ["buffer queue time", withBuffer({ maxQueueMs: 9 })],
    ["buffer block time", withBuffer({ maxBlockMs: 9 })],
    ["buffer source", withBuffer({ source: "spec" })],
  ])("another %s, another hash", (_name, changed) => {
    expect(resolved(changed).hash).not.toBe(resolved(base).hash);
  });

  test("F-078 values carry where they come from", () => {
    const { plan } = resolved(base);
    expect(plan.provenance["budgets.providerAttemptMs"]).toBe("defaulting_source=execution_profile/simple/v1");
    expect(plan.edges.map((e) => e.source)).toEqual(graph.edges.map((e) => e.buffer.source));
    expect(plan.snapshots).toEqual(base.snapshots);
  });

  test.each([
    ["no_candidate", withNode("tts", { candidates: [] })],
    [
      "no_speech_path",
      { ...withConfig({ graph: { ...graph, nodes: graph.nodes.filter((n) => n.kind !== "tts") } }), say: true },
    ],
  ])("%s is an answer, not a plan", (reason, of) => {
    const result = resolveTurnPlan(of);
    expect(result.ok ? "" : result.error).toMatch(new RegExp(`^${reason}: `));
  });
});

const records = (h: KernelHarness): TimelineRecord[] =>
  h.log.flatMap(({ effect }) => (effect.type === "record" ? [effect.record] : []));

test("F-149 each turn records its plan, and the replay resolves the same", () => {
  const h = new KernelHarness(testConfig(assistantGraph()));
  h.connect();
  h.utter("tell me a story");
  const plan = records(h).find((r) => r.kind === "plan");
  const open = h.log.find(({ effect }) => effect.type === "signal" && effect.event.signal === "turn_open")?.effect;
  expect(open).toMatchObject({ event: { fields: { planHash: plan?.hash } } });
  expect(plan?.kind === "plan" && sha256Utf8Hex(canonicalJson(plan.plan))).toBe(plan?.hash);
  const again: TimelineRecord[] = [];
  const replay = replayJournal(h.config, JSON.parse(JSON.stringify(h.journal)), {
    onStep: (_batch, effects) => again.push(...effects.flatMap((e) => (e.type === "record" ? [e.record] : []))),
  });
  expect(replay.identical).toBe(true);
  expect(again).toEqual(records(h));
});

test("T5a a turn without a provider for one of its nodes is refused, with evidence and without abort or close", () => {
  const h = new KernelHarness(testConfig(assistantGraph({ tts: [] })));
  h.connect();
  const quota = structuredClone(h.state.recording);
  h.utter("tell me a story");
  expect(h.signals("turn_open")).toEqual(["turn_open_proposed"]);
  expect(h.signals("reject")[0]).toMatch(/^reject\(no_candidate: node tts/);
  expect([...h.signals("abort"), ...h.signals("close")]).toEqual([]);
  expect(records(h).filter((r) => r.kind === "refusal")).toMatchObject([{ outcome: "reject" }]);
  expect(h.state.recording).toEqual(quota);
  expect(h.state.turns).toEqual([]);
});

describe("the session plan", () => {
  const plans = (h: KernelHarness) => records(h).filter((r) => r.kind === "session_plan");
  const snapshot = (h: KernelHarness, routing: string) =>
    h.feed({ type: "snapshot", refs: { ...h.config.snapshots, routing }, usable: true, reason: "" });

  test("is re-resolved between utterances only", () => {
    const h = new KernelHarness(testConfig(assistantGraph()));
    h.connect();
    expect(plans(h)).toHaveLength(1);
    h.hear(true, 4);
    const during = h.state.prelude.planHash;
    snapshot(h, "routing@2");
    h.hear(true, 4);
    expect(h.state.prelude.planHash).toBe(during);
    h.hear(false, 6);
    h.hear(true, 4);
    expect(plans(h)).toHaveLength(2);
    expect(h.state.prelude.planHash).not.toBe(during);
    expect(new Set(plans(h).map((p) => (p.kind === "session_plan" ? p.planId : ""))).size).toBe(2);
  });

  test("stays the same plan, id and all, where nothing that matters has changed", () => {
    const h = new KernelHarness(testConfig(assistantGraph()));
    h.connect();
    const before = [h.state.prelude.planId, h.state.prelude.planHash];
    snapshot(h, h.config.snapshots.routing);
    h.hear(true, 4);
    expect([h.state.prelude.planId, h.state.prelude.planHash]).toEqual(before);
    expect(plans(h)).toHaveLength(1);
  });

  test("a new epoch is a new plan", () => {
    const h = new KernelHarness(testConfig(assistantGraph()));
    h.connect();
    h.feed({ type: "authority", kind: "rotated", epoch: 2, deadlineNs: h.config.authority.deadlineNs });
    h.hear(true, 4);
    expect(plans(h)).toHaveLength(2);
  });

  test("a turn keeps the plan it opened with when a snapshot changes under it", () => {
    const h = new KernelHarness(testConfig(assistantGraph()));
    h.connect();
    h.utter("tell me a story");
    const hash = h.state.turns[0]?.planHash;
    snapshot(h, "routing@2");
    h.advance(10);
    expect(h.state.turns[0]?.planHash).toBe(hash);
    expect(h.state.turns[0]?.snapshots.routing).toBe("routing@1");
    h.feed({ type: "timer", id: "none" });
    expect(h.state.authority.deadlineNs).toBe(h.config.authority.deadlineNs as MonoNs);
  });
});
