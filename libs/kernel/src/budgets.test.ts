import { describe, expect, test } from "vitest";
import type { BudgetsDefinition, ScopedBudget } from "./budget-state.ts";
import type { Effect } from "./effect.ts";
import { checkReplay } from "./testing/checked-replay.ts";
import { assistantGraph, KernelHarness, node, testConfig } from "./testing/harness.ts";
import { idle, records, sealed, told } from "./testing/scenes.ts";

type Limit = Partial<ScopedBudget> & Pick<ScopedBudget, "scope">;

const PRICES = [
  { provider: "sim/llm", inputTokenMicros: 3, outputTokenMicros: 15 },
  { provider: "sim/tts", characterMicros: 16 },
  { provider: "sim/stt", audioSecondMicros: 100 },
];

function open(limits: Limit[], more: { llm?: string[]; canned?: boolean } = {}): KernelHarness {
  const plain = assistantGraph(more.llm === undefined ? {} : { llm: more.llm });
  const budgets: BudgetsDefinition = {
    limits: limits.map((limit, i) => ({ id: `b${i}`, target: "", onExhausted: "terminate", ...limit })),
    prices: PRICES,
  };
  const nodes = plain.nodes.map((n) => (n.id === "llm" && more.canned === true ? { ...n, fallback: "sorry" } : n));
  const sorry = more.canned === true ? [node("sorry", "canned", "turn", { text: "Not now." })] : [];
  const h = new KernelHarness(testConfig({ ...plain, nodes: [...nodes, ...sorry], budgets }));
  h.connect();
  h.utter("tell me a story");
  return h;
}

const budgetSignals = (effects: readonly Effect[]) =>
  effects.flatMap((effect) => {
    if (effect.type !== "signal" || !effect.event.signal.startsWith("budget_")) return [];
    const { budget = "", unit = "", budgetLeft = 0 } = effect.event.fields;
    return [`${effect.event.signal} ${budget} ${unit} ${budgetLeft}`];
  });

describe("F-045 compute budgets", () => {
  test("F-045 a node's time: the warning with what is left, then exhausted, then the planned action", () => {
    const h = open([{ scope: "node", target: "llm", softMs: 200, hardMs: 500 }]);
    expect(budgetSignals(h.advance(199))).toEqual([]);
    expect(budgetSignals(h.advance(2))).toEqual(["budget_warning b0 time 300"]);
    const effects = h.advance(300);
    expect(budgetSignals(effects)).toEqual(["budget_exhausted b0 time 0"]);
    expect(told(effects).slice(-2)).toEqual(["abort#1(budget_exhausted)", "close#1"]);
    expect(sealed(h, 1).manifest.terminal).toMatchObject({ kind: "abort", reason: "budget_exhausted" });
    checkReplay(h);
  });

  test("F-045 a node that ends in time has no warning; what is only to be recorded goes on", () => {
    const quick = open([{ scope: "node", target: "llm", hardMs: 500 }]);
    quick.advance(100);
    quick.reply("A fox.");
    quick.advance(900);
    expect(budgetSignals(quick.log.map(({ effect }) => effect))).toEqual([]);
    const h = open([{ scope: "node", target: "llm", hardMs: 400, onExhausted: "continue" }]);
    h.feed(h.textChunk(h.open("llm"), "Once upon a time there was a fox. "));
    h.advance(450);
    h.feed(h.outcome(h.open("llm")));
    h.speakPending();
    expect(h.signals("budget")).toEqual(["budget_warning#1(budget_low)", "budget_exhausted#1(budget_exhausted)"]);
    expect(h.signals("commit")).toEqual(["commit#1"]);
    checkReplay(h);
  });

  test("F-045 one event through one node: each is measured anew, up to what it brings out", () => {
    const h = open([{ scope: "event", target: "tts", hardMs: 400, onExhausted: "continue" }]);
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "Once upon a time there was a fox. "));
    h.advance(350);
    h.feed(h.audioChunk(h.open("tts"), 0, 34, { segmentEnd: true }));
    h.advance(350);
    expect(h.signals("budget")).toEqual(["budget_warning#1(budget_low)"]);
    h.feed(h.textChunk(llm, "It lived in a wood, all alone. "));
    h.advance(401);
    expect(h.signals("budget")).toEqual([
      "budget_warning#1(budget_low)",
      "budget_warning#1(budget_low)",
      "budget_exhausted#1(budget_exhausted)",
    ]);
    checkReplay(h);
  });

  test("F-045 a path, an edge and the turn itself", () => {
    const path = open([{ scope: "path", target: "context..speaker", hardMs: 600 }]);
    path.feed(path.textChunk(path.open("llm"), "Once upon a time there was a fox. "));
    path.advance(450);
    expect(path.signals("budget")).toEqual(["budget_warning#1(budget_low)"]);
    path.feed(path.audioChunk(path.open("tts"), 0, 34));
    path.advance(400);
    expect(path.signals("abort")).toEqual([]);
    const turn = open([{ scope: "turn", hardMs: 600 }]);
    turn.feed(turn.textChunk(turn.open("llm"), "Once upon a time there was a fox. "));
    turn.feed(turn.audioChunk(turn.open("tts"), 0, 34));
    turn.advance(601);
    expect(turn.signals("abort")).toEqual(["abort#1(budget_exhausted)"]);
    const edge = open([{ scope: "edge", target: "e9", hardMs: 300 }]);
    edge.feed(edge.textChunk(edge.open("llm"), "Once upon a time there was a fox. "));
    for (let i = 0; i < 40; i++) edge.feed(edge.audioChunk(edge.open("tts"), 0, 34));
    // Paced output takes the queue's head all the time: what waits long is not its head.
    edge.advance(250);
    expect(edge.signals("budget")).toEqual([]);
    const late = open([{ scope: "edge", target: "e9", hardMs: 16 }]);
    late.feed(late.textChunk(late.open("llm"), "Once upon a time there was a fox. "));
    for (let i = 0; i < 40; i++) late.feed(late.audioChunk(late.open("tts"), 0, 34));
    late.advance(250);
    expect(late.signals("abort")).toEqual(["abort#1(budget_exhausted)"]);
    for (const h of [path, turn, edge, late]) checkReplay(h);
  });

  test("no timer is set or cleared for a frame", () => {
    const h = open([
      { scope: "event", target: "tts", hardMs: 5_000 },
      { scope: "edge", target: "e9", hardMs: 5_000 },
      { scope: "turn", hardMs: 60_000 },
    ]);
    h.feed(h.textChunk(h.open("llm"), "Once upon a time there was a fox. "));
    h.feed(h.audioChunk(h.open("tts"), 0, 34));
    const frames = Array.from({ length: 50 }, () => h.feed(h.audioChunk(h.open("tts"), 0, 34))).flat();
    const timers = frames.filter(
      (effect) => (effect.type === "timer_set" || effect.type === "timer_clear") && effect.id.startsWith("budget:"),
    );
    expect(timers).toEqual([]);
  });
});

describe("F-046 provider budgets", () => {
  test("F-046 F-047 a slow provider is cut at its bound, the next candidate fits the rest of the turn", () => {
    const h = open([{ scope: "provider_invocation", target: "llm", hardMs: 300, onExhausted: "fallback" }], {
      llm: ["sim/slow", "sim/llm"],
    });
    const effects = h.advance(301);
    expect(effects).toContainEqual(expect.objectContaining({ type: "provider_cancel", reason: "timeout" }));
    expect(told(effects)).toEqual([
      "budget_warning#1(budget_low)",
      "budget_exhausted#1(budget_exhausted)",
      "provider_error#1(timeout)",
      "provider_switch#1(timeout)",
    ]);
    h.feed(h.textChunk(h.open("llm"), "A fox."), h.outcome(h.open("llm")));
    h.speakPending();
    expect(h.signals("commit")).toEqual(["commit#1"]);
    expect(h.state.turns[0]?.anchors.terminalNs).toBeLessThan((h.state.turns[0]?.anchors.openNs ?? 0) + 2_000_000_000);
    checkReplay(h);
  });

  test("F-046 without candidate and fallback the cut attempt ends the turn", () => {
    const h = open([{ scope: "provider_invocation", target: "llm", hardMs: 300, onExhausted: "fallback" }]);
    h.advance(301);
    expect(h.signals("abort")).toEqual(["abort#1(provider_failure)"]);
    checkReplay(h);
  });

  test("F-047 a node's budget is spent: its fallback answers, and the node's own provider is cut off", () => {
    const h = open([{ scope: "node", target: "llm", hardMs: 300, onExhausted: "fallback" }], { canned: true });
    const effects = h.advance(301);
    expect(told(effects)).toContain("fallback#1(budget_exhausted)");
    expect(effects).toContainEqual(expect.objectContaining({ type: "provider_cancel", reason: "budget_exhausted" }));
    h.speakPending();
    h.advance(2_000);
    expect(h.signals("commit")).toEqual(["commit#1"]);
    expect(h.signals("abort")).toEqual([]);
    checkReplay(h);
  });

  test("F-047 the turn's first output is overdue: a fallback has that time once more, then T10", () => {
    const h = open([], { canned: true, llm: ["sim/a", "sim/b", "sim/c"] });
    h.advance(2_001);
    expect(h.signals("fallback")).toEqual(["fallback#1(budget_exhausted)"]);
    expect(h.signals("abort")).toEqual([]);
    const again = open([], { canned: true, llm: ["sim/a", "sim/b", "sim/c"] });
    again.advance(2_001);
    again.advance(2_001);
    expect(again.signals("abort")).toHaveLength(1);
    checkReplay(again);
  });

  test("F-046 amounts: characters given to a voice, tokens as they are estimated, audio on an edge", () => {
    const chars = open([{ scope: "node", target: "tts", characters: 60 }]);
    chars.feed(chars.textChunk(chars.open("llm"), "Once upon a time there was a fox, it is said. "));
    expect(budgetSignals(chars.log.map(({ effect }) => effect))).toEqual(["budget_warning b0 characters 0"]);
    chars.feed(chars.textChunk(chars.open("llm"), "It lived in a wood, all alone. "));
    expect(chars.signals("abort")).toEqual(["abort#1(budget_exhausted)"]);
    const tokens = open([{ scope: "provider_invocation", target: "llm", tokens: 20, onExhausted: "terminate" }]);
    tokens.feed(tokens.textChunk(tokens.open("llm"), "x".repeat(60)));
    expect(tokens.signals("budget")).toEqual(["budget_warning#1(budget_low)"]);
    tokens.feed(tokens.textChunk(tokens.open("llm"), "x".repeat(60)));
    expect(tokens.signals("abort")).toEqual(["abort#1(budget_exhausted)"]);
    const audio = open([{ scope: "edge", target: "e9", audioMs: 100, onExhausted: "continue" }]);
    audio.feed(audio.textChunk(audio.open("llm"), "Once upon a time there was a fox. "));
    for (let i = 0; i < 6; i++) audio.feed(audio.audioChunk(audio.open("tts"), 0, 34));
    expect(audio.signals("budget")).toEqual(["budget_warning#1(budget_low)", "budget_exhausted#1(budget_exhausted)"]);
    for (const h of [chars, tokens, audio]) checkReplay(h);
  });
});

describe("NF-017 spend", () => {
  const usage = { inputTokens: 100, outputTokens: 40 };

  test("NF-017 usage takes the place of the estimate; the turn's cost is told with its terminal", () => {
    const h = open([]);
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "A fox."));
    h.feed({ type: "provider_outcome", invocation: llm, outcome: "success", detail: "", usage });
    h.speakPending();
    const cost = h.log.flatMap(({ effect }) =>
      effect.type === "telemetry" && effect.name === "turn_cost_micros" ? [effect.value] : [],
    );
    expect(cost).toEqual([100 * 3 + 40 * 15 + "A fox.".length * 16]);
    checkReplay(h);
  });

  test("NF-017 a spend cap ends what goes beyond it, visibly", () => {
    const h = open([{ scope: "turn", costMicros: 500, onExhausted: "terminate" }]);
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "A fox."));
    const effects = h.feed({ type: "provider_outcome", invocation: llm, outcome: "success", detail: "", usage });
    const exhausted = effects.find((e) => e.type === "signal" && e.event.signal === "budget_exhausted");
    expect(exhausted).toMatchObject({ event: { fields: { unit: "costMicros", budgetCostMicros: 0 } } });
    expect(h.signals("abort")).toEqual(["abort#1(budget_exhausted)"]);
    checkReplay(h);
  });
});

test("F-045 the plan freezes them; a graph without any keeps plan and state as they were", () => {
  const h = open([{ scope: "turn", hardMs: 600 }]);
  const plan = records(h, "plan")[0];
  expect(plan?.kind === "plan" && plan.plan).toMatchObject({
    resilience: { budgets: { limits: [{ id: "b0", hardMs: 600 }] } },
  });
  const plain = idle();
  plain.utter("tell me a story");
  expect(JSON.stringify(records(plain, "plan")[0])).not.toContain("resilience");
  expect(plain.state.turns[0]).not.toHaveProperty("budgets");
});
