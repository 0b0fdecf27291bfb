import { expect, test } from "vitest";
import { replayJournal } from "./replay.ts";
import { assistantGraph, KernelHarness, testConfig } from "./testing/harness.ts";
import type { TurnRate } from "./turn-rate.ts";

const graph = assistantGraph();
const rate = (part: Partial<TurnRate> = {}): TurnRate => ({
  perMinute: 60,
  burst: 2,
  onExceeded: "reject",
  throttleMaxMs: 2_000,
  ...part,
});

function rig(given: TurnRate | null, of = graph) {
  const h = new KernelHarness(testConfig(of));
  h.connect();
  h.feed({ type: "snapshot", refs: h.config.snapshots, usable: true, reason: "", rate: given });
  /** A turn that is proposed and at once cancelled, so that none is in the way of the next. */
  const ask = (key: string) => {
    h.feed({ type: "proposal", origin: "api", key, say: null, reason: "" });
    for (const turn of h.state.turns)
      h.feed({ type: "operator", command: "cancel_turn", turn: turn.number, reason: "test" });
  };
  const opened = () => h.state.lastTurn;
  const identical = () => replayJournal(h.config, h.journal).identical;
  return { h, ask, opened, identical };
}

test("F-050 past its rate a session's turn is refused, and the share comes back with time", () => {
  const { h, ask, opened, identical } = rig(rate());
  for (const key of ["a", "b", "c", "d"]) ask(key);
  expect(opened()).toBe(2);
  expect(h.signals("reject")).toEqual(["reject(rate_limited)", "reject(rate_limited)"]);
  h.advance(1_000);
  ask("e");
  ask("f");
  expect(opened()).toBe(3);
  expect(identical()).toBe(true);
});

test("F-050 a throttled turn waits for its share and then opens; one that would wait too long is refused", () => {
  const { h, ask, opened, identical } = rig(rate({ onExceeded: "throttle", burst: 1 }));
  for (const key of ["a", "b", "c", "d"]) ask(key);
  expect(opened()).toBe(1);
  // One second for b, two for c, three for d: that is too long.
  expect(h.signals("reject")).toEqual(["reject(rate_limited)"]);
  h.advance(999);
  expect(opened()).toBe(1);
  h.advance(2);
  expect(opened()).toBe(2);
  expect(identical()).toBe(true);
});

test("F-050 past its rate a turn may open in the lesser posture", () => {
  const degrade = { postures: [{ id: "brief", nodes: { llm: { max_tokens: 9 } } }], calmMs: 60_000, textOnly: false };
  const { h, ask, opened, identical } = rig(rate({ onExceeded: "degrade", burst: 1 }), { ...graph, degrade });
  ask("a");
  expect(h.state.posture?.level ?? 0).toBe(0);
  ask("b");
  expect(opened()).toBe(2);
  expect(h.state.posture?.level).toBe(1);
  expect(h.signals("degrade")).toHaveLength(1);
  expect(identical()).toBe(true);
});

test("F-050 without a rate, and for what only says a sentence, nothing is counted", () => {
  const free = rig(null);
  for (const key of ["a", "b", "c"]) free.ask(key);
  expect(free.opened()).toBe(3);
  const { h, opened } = rig(rate({ burst: 1 }));
  const say = { spans: [], chars: 0 };
  for (const key of ["a", "b", "c"]) {
    h.feed({ type: "proposal", origin: "api", key, say, reason: "" });
    for (const turn of h.state.turns)
      h.feed({ type: "operator", command: "cancel_turn", turn: turn.number, reason: "test" });
  }
  expect(opened()).toBe(3);
});
