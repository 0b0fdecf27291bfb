import { describe, expect, test } from "vitest";
import type { OutcomeKind } from "./input.ts";
import { checkReplay } from "./testing/checked-replay.ts";
import { assistantGraph, KernelHarness, testConfig } from "./testing/harness.ts";

function open(breaker = true): KernelHarness {
  const graph = assistantGraph({ llm: ["sim/a", "sim/b"] });
  const h = new KernelHarness(testConfig(breaker ? { ...graph, breaker: { failures: 2, coolMs: 30_000 } } : graph));
  h.connect();
  return h;
}

/** One turn; the first model asked ends so, the next one answers. Tells which were asked. */
function turn(h: KernelHarness, number: number, outcome: OutcomeKind): string[] {
  const from = h.log.length;
  h.utter("tell me a story");
  const invocation = h.open("llm");
  if (outcome !== "success")
    h.feed({ type: "provider_outcome", invocation, outcome, detail: "secret words", usage: null });
  h.reply("A fox.");
  h.deliver(number, "accepted", 0);
  h.deliver(number, "started", 0);
  h.advance(1_000);
  h.deliver(number, "completed", h.state.turns.at(-1)?.output.sentUs ?? 0);
  return h.log
    .slice(from)
    .flatMap(({ effect }) => (effect.type === "provider_open" && effect.modality === "llm" ? [effect.provider] : []));
}

const events = (h: KernelHarness) =>
  h.log.flatMap(({ effect }) =>
    effect.type === "signal" && effect.event.signal === "circuit_event" ? [effect.event] : [],
  );

describe("F-136 circuit breaker of a session", () => {
  test("F-136 F-047 opened after failures in a row, passed over, tried again, closed: told by provider, code, thresholds only", () => {
    const h = open();
    expect(turn(h, 1, "error")).toEqual(["sim/a", "sim/b"]);
    expect(turn(h, 2, "overload")).toEqual(["sim/a", "sim/b"]);
    expect(turn(h, 3, "success")).toEqual(["sim/b"]);
    h.advance(30_000);
    expect(turn(h, 4, "success")).toEqual(["sim/a"]);
    expect(events(h).map(({ reason }) => reason)).toEqual(["circuit_open", "circuit_half_open", "circuit_closed"]);
    expect(events(h)[0]?.fields).toEqual({
      provider: "sim/a",
      invocation: expect.stringMatching(/^inv_1_/),
      code: "overload",
      failures: 2,
      threshold: 2,
      coolMs: 30_000,
    });
    expect(JSON.stringify(events(h))).not.toContain("secret");
    expect(turn(h, 5, "success")).toEqual(["sim/a"]);
    checkReplay(h);
  });

  test("content that was refused is not the provider's fault; where all are open the first is asked", () => {
    const h = open();
    for (let n = 1; n <= 3; n++) turn(h, n, "safety_block");
    expect(events(h)).toEqual([]);
    const all = open();
    all.utter("tell me a story");
    for (let n = 0; n < 2; n++) {
      const fail = (): unknown =>
        all.feed({ type: "provider_outcome", invocation: all.open("llm"), outcome: "error", detail: "", usage: null });
      fail();
      fail();
      all.fenceAck(n + 1, 0);
      all.utter("and now");
    }
    const told = events(all).map(({ fields, reason }) => `${fields.provider} ${reason}`);
    expect(told).toEqual(["sim/a circuit_open", "sim/b circuit_open", "sim/a circuit_half_open"]);
    expect(all.open("llm")).not.toBe(0);
    for (const each of [h, all]) checkReplay(each);
  });

  test("without the setting every turn begins with the first", () => {
    const h = open(false);
    for (let n = 1; n <= 3; n++) expect(turn(h, n, "error")).toEqual(["sim/a", "sim/b"]);
    expect(events(h)).toEqual([]);
    expect(h.state).not.toHaveProperty("circuits");
  });
});
