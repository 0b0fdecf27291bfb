/** F1 to F3 of `kernel.md` §14 as named scenarios, in run and in replay, the same. */
import { describe, expect, test } from "vitest";
import type { OutcomeKind } from "./input.ts";
import { checkReplay } from "./testing/checked-replay.ts";
import { assistantGraph, KernelHarness, node, testConfig } from "./testing/harness.ts";

interface Ways {
  llm?: string[];
  retries?: number;
  canned?: boolean;
}

function open({ llm = ["sim/a", "sim/b"], retries = 0, canned = false }: Ways = {}): KernelHarness {
  const plain = assistantGraph({ llm });
  const nodes = plain.nodes.map((n) =>
    n.id === "llm" ? { ...n, ...(retries > 0 ? { retries } : {}), ...(canned ? { fallback: "sorry" } : {}) } : n,
  );
  const sorry = canned ? [node("sorry", "canned", "turn", { text: "Not now, I am afraid." })] : [];
  const h = new KernelHarness(testConfig({ ...plain, nodes: [...nodes, ...sorry] }));
  h.connect();
  return h;
}

function terminals(h: KernelHarness): string[] {
  return [...h.signals("commit"), ...h.signals("abort")];
}

function played(h: KernelHarness, turn: number): void {
  h.deliver(turn, "accepted", 0);
  h.deliver(turn, "started", 0);
  h.advance(2_000);
  h.deliver(turn, "completed", h.state.turns.find((t) => t.number === turn)?.output.sentUs ?? 0);
}

describe("F1 admission overload", () => {
  test.each(["defer", "reject"] as const)(
    "F1 %s at the door: no turn, one refusal, and turns again when there is room",
    (outcome) => {
      const h = open();
      h.feed({ type: "capacity", admit: false, outcome, reason: "overload", evidenceQuotaBytes: -1 });
      h.utter("tell me a story");
      expect(h.signals(outcome)).toEqual([`${outcome}(overload)`]);
      expect(terminals(h)).toEqual([]);
      h.feed({ type: "capacity", admit: true, outcome, reason: "", evidenceQuotaBytes: -1 });
      h.utter("and now");
      h.reply("A fox.");
      expect(terminals(h)).toEqual(["commit#1"]);
      checkReplay(h);
    },
  );

  test("F1 overload in mid-turn leaves the open turn alone", () => {
    const h = open();
    h.utter("tell me a story");
    h.feed({ type: "capacity", admit: false, outcome: "reject", reason: "overload", evidenceQuotaBytes: -1 });
    h.reply("A fox.");
    expect(terminals(h)).toEqual(["commit#1"]);
    checkReplay(h);
  });
});

describe("F2 a host node fails", () => {
  /** The detector is asked about a frame. */
  function askedDetector(h: KernelHarness): number {
    h.advance(20);
    return h.feed(h.frame()).flatMap((e) => (e.type === "node_event" ? [e.command] : []))[0] ?? 0;
  }

  test("F2 it hangs: the warning, then exhausted, then reset; the session is degraded and goes on", () => {
    const h = open();
    askedDetector(h);
    h.advance(1_700);
    expect(h.signals()).toEqual([
      "connected",
      "budget_warning(node_soft)",
      "budget_exhausted(node_soft)",
      "node_error(node_timeout)",
      "degraded(node_timeout)",
    ]);
    expect(terminals(h)).toEqual([]);
    h.utter("tell me a story");
    expect(h.signals("recovered")).toHaveLength(1);
    h.reply("A fox.");
    expect(terminals(h)).toEqual(["commit#1"]);
    checkReplay(h);
  });

  test("F2 it throws: told, and its neighbours hear on", () => {
    const h = open();
    const command = askedDetector(h);
    h.feed({ type: "node_failed", command, reason: "threw" });
    expect(h.signals("node_error")).toEqual(["node_error(threw)"]);
    h.utter("tell me a story");
    h.reply("A fox.");
    expect(terminals(h)).toEqual(["commit#1"]);
    checkReplay(h);
  });
});

describe("F3 a provider fails", () => {
  const KINDS: readonly OutcomeKind[] = ["timeout", "overload", "disconnect", "unauthorized", "empty", "error"];

  function fails(h: KernelHarness, outcome: OutcomeKind): void {
    h.feed({ type: "provider_outcome", invocation: h.open("llm"), outcome, detail: "", usage: null });
  }

  test.each(KINDS)(
    "F3 %s: switched to the next one, the turn commits; the primary is tried again in the next",
    (kind) => {
      const h = open();
      h.utter("tell me a story");
      fails(h, kind);
      expect(h.signals("provider_switch")).toEqual([`provider_switch#1(${kind})`]);
      h.reply("A fox.");
      played(h, 1);
      const next = h.utter("and now");
      expect(next.flatMap((e) => (e.type === "provider_open" && e.modality === "llm" ? [e.provider] : []))).toEqual([
        "sim/a",
      ]);
      h.reply("It sang.");
      expect(terminals(h)).toEqual(["commit#1", "commit#2"]);
      checkReplay(h);
    },
  );

  test.each(KINDS)("F3 %s with no way on left: the fallback, and without one abort(provider_failure), once", (kind) => {
    const h = open({ llm: ["sim/a"], canned: true });
    h.utter("tell me a story");
    fails(h, kind);
    expect(h.signals("fallback")).toEqual([`fallback#1(${kind})`]);
    h.speakPending();
    expect(terminals(h)).toEqual(["commit#1"]);
    const bare = open({ llm: ["sim/a"] });
    bare.utter("tell me a story");
    fails(bare, kind);
    expect(terminals(bare)).toEqual(["abort#1(provider_failure)"]);
    bare.fenceAck(1, 0);
    bare.utter("and now");
    bare.reply("A fox.");
    expect(terminals(bare)).toEqual(["commit#2", "abort#1(provider_failure)"]);
    for (const each of [h, bare]) checkReplay(each);
  });

  test("F3 a timeout is retried, then switched, then replaced, all within the turn", () => {
    const h = open({ retries: 1, canned: true });
    h.utter("tell me a story");
    for (let i = 0; i < 3; i++) fails(h, "timeout");
    const opened = h.log.flatMap(({ effect }) =>
      effect.type === "provider_open" && effect.modality === "llm" ? [`${effect.provider} ${effect.attempt}`] : [],
    );
    expect(opened).toEqual(["sim/a 1", "sim/a 2", "sim/b 3", "sim/b 4"]);
    fails(h, "timeout");
    expect(h.signals("fallback")).toEqual(["fallback#1(timeout)"]);
    h.speakPending();
    expect(terminals(h)).toEqual(["commit#1"]);
    checkReplay(h);
  });

  test("F3 a stream that falls silent in the middle is ended by the canned reply", () => {
    const h = open({ llm: ["sim/a"], canned: true });
    h.utter("tell me a story");
    h.feed(h.textChunk(h.open("llm"), "Once upon a time there was a fox. "));
    h.feed(h.audioChunk(h.open("tts"), 0, 34, { segmentEnd: true }));
    h.advance(5_001);
    expect(h.signals("fallback")).toEqual(["fallback#1(timeout)"]);
    h.speakPending();
    expect(terminals(h)).toEqual(["commit#1"]);
    checkReplay(h);
  });
});
