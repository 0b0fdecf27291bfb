import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import { classOfAbort, classOfOutcome, ERROR_CLASSES, ERROR_TAXONOMY } from "./error-taxonomy.ts";
import type { GraphDefinition } from "./graph.ts";
import { checkReplay } from "./testing/checked-replay.ts";
import { assistantGraph, KernelHarness, testConfig } from "./testing/harness.ts";
import { idle, records, speaking, told } from "./testing/scenes.ts";

function open(more: Partial<GraphDefinition>, llm = ["sim/a", "sim/b"], retries = 0): KernelHarness {
  const plain = assistantGraph({ llm });
  const nodes = plain.nodes.map((n) => (n.id === "llm" && retries > 0 ? { ...n, retries } : n));
  const h = new KernelHarness(testConfig({ ...plain, nodes, ...more }));
  h.connect();
  h.utter("tell me a story");
  return h;
}

const opens = (effects: readonly Effect[]): string[] =>
  effects.flatMap((e) => (e.type === "provider_open" ? [`${e.provider} ${e.attempt}`] : []));

describe("F-131 one taxonomy of errors", () => {
  test("F-131 every class has its default actions and its evidence", () => {
    expect(ERROR_CLASSES).toHaveLength(10);
    expect(ERROR_TAXONOMY.schema_validation_error.actions).toEqual(["reject"]);
    expect(ERROR_TAXONOMY.authority_epoch_mismatch.actions).toEqual(["reject"]);
    expect(ERROR_TAXONOMY.provider_timeout.actions).toEqual(["retry", "switch", "fallback", "abort"]);
    expect(ERROR_TAXONOMY.provider_overload.actions.slice(0, 3)).toEqual(["retry", "switch", "degrade"]);
    expect(ERROR_TAXONOMY.runtime_internal_error.actions).toEqual(["isolate", "abort"]);
    expect([classOfOutcome("timeout"), classOfOutcome("overload"), classOfOutcome("empty")]).toEqual([
      "provider_timeout",
      "provider_overload",
      "provider_failure",
    ]);
    expect([classOfAbort("provider_failure"), classOfAbort("?")]).toEqual([
      "provider_failure",
      "runtime_internal_error",
    ]);
  });

  test("F-131 schema_validation_error: rejected, with its evidence; the session goes on as it was", () => {
    const h = open({ deadLetters: { max: 8 } });
    const before = h.state.lifecycle.phase;
    const effects = h.feed(h.control("turn_open", { fields: {} }));
    expect(effects).toContainEqual(expect.objectContaining({ type: "error", code: "schema_validation_error" }));
    expect(records(h, "dead_letter")).toHaveLength(1);
    expect([h.state.lifecycle.phase, h.state.turns.length]).toEqual([before, 1]);
    checkReplay(h);
  });

  test("F-131 authority_epoch_mismatch: rejected, told with both epochs", () => {
    const h = idle();
    const body = h.control("mute", { lastMediaSequence: 0 });
    const effects = h.feed({ ...body, epoch: 0 } as never);
    expect(told(effects)).toEqual(["stale_epoch_reject(stale_epoch_mute)"]);
    expect(h.state.prelude.muted).toBe(false);
    checkReplay(h);
  });

  test("F-059 F-131 provider_timeout: asked again, then the next one, each in its budget", () => {
    const h = open({}, ["sim/a", "sim/b"], 1);
    const first = h.advance(1_000);
    expect(opens(first)).toEqual(["sim/a 2"]);
    expect(told(first)).toEqual(["provider_error#1(timeout)"]);
    // Attempts share what is left of the turn's time, each after a wait, and stop when it is out (F-059).
    const none = open({}, ["sim/a"], 3);
    const tried: Effect[] = [...none.advance(1_000)];
    for (let ms = 0; ms < 990; ms += 10) tried.push(...none.advance(10));
    const again = tried.flatMap((e) => (e.type === "provider_open" ? [e] : []));
    expect(again.length).toBeGreaterThan(1);
    expect(again.length).toBeLessThan(4);
    for (const { afterMs = 0, attemptTimeoutMs } of again) {
      expect(attemptTimeoutMs).toBeGreaterThanOrEqual(250);
      expect(attemptTimeoutMs).toBeLessThan(500);
      expect(afterMs).toBeGreaterThan(0);
    }
    const [firstWaitMs = 0, secondWaitMs = 0] = again.map(({ afterMs = 0 }) => afterMs);
    expect(firstWaitMs).toBeLessThanOrEqual(60);
    expect(secondWaitMs).toBeGreaterThanOrEqual(60);
    none.advance(20);
    expect(none.signals("abort")).toEqual(["abort#1(provider_failure)"]);
    const quick = open({}, ["sim/a", "sim/b"], 1);
    const gone = (): Effect[] =>
      quick.feed({
        type: "provider_outcome",
        invocation: quick.open("llm"),
        outcome: "disconnect",
        detail: "",
        usage: null,
      });
    expect(opens(gone())).toEqual(["sim/a 2"]);
    const second = gone();
    expect(opens(second)).toEqual(["sim/b 3"]);
    expect(told(second)).toEqual(["provider_error#1(disconnect)", "provider_switch#1(disconnect)"]);
    for (const each of [h, none, quick]) checkReplay(each);
  });

  test("F-131 other failures are not asked again: a refusal of the content is no timeout", () => {
    const h = open({}, ["sim/a", "sim/b"], 2);
    expect(opens(h.feed(h.outcome(h.open("llm"), "error")))).toEqual(["sim/b 2"]);
    checkReplay(h);
  });

  test("F-131 provider_overload: switched, and a step down where one is declared", () => {
    const postures = [{ id: "brief", nodes: { llm: { max_tokens: 40 } } }];
    const h = open({ degrade: { postures, calmMs: 1_000, textOnly: false } });
    const outcome = { type: "provider_outcome", invocation: h.open("llm"), outcome: "overload" } as const;
    const effects = h.feed({ ...outcome, detail: "", usage: null });
    expect(told(effects)).toEqual([
      "provider_error#1(overload)",
      "degrade#1(provider_overload)",
      "provider_switch#1(overload)",
    ]);
    const reopened = effects.find((e) => e.type === "provider_open");
    expect(reopened).toMatchObject({ provider: "sim/b", settings: { max_tokens: 40 } });
    checkReplay(h);
  });
});

describe("F-135 spoken error responses", () => {
  const errors = { provider_failure: "I am sorry, that did not work.", default: "Something went wrong." };

  test("F-135 a failed turn is told of in a turn of its own, marked; the next turn works", () => {
    const h = open({ errors }, ["sim/a"]);
    const effects = h.feed(h.outcome(h.open("llm"), "error"));
    expect(told(effects)).toEqual([
      "provider_error#1(error)",
      "abort#1(provider_failure)",
      "close#1",
      "turn_open_proposed(error_response)",
      "turn_open#2",
    ]);
    const opened = effects.find((e) => e.type === "signal" && e.event.signal === "turn_open");
    expect(opened).toMatchObject({ event: { fields: { errorOf: 1, errorClass: "provider_failure" } } });
    const spoken = effects.flatMap((e) => (e.type === "provider_push_text" ? [h.text(e.spans)] : []));
    expect(spoken.join("")).toBe("I am sorry, that did not work.");
    h.fenceAck(1, 0);
    h.speakPending();
    h.deliver(2, "accepted", 0);
    h.deliver(2, "started", 0);
    h.advance(2_000);
    h.deliver(2, "completed", h.state.turns.at(-1)?.output.sentUs ?? 0);
    h.utter("and now");
    h.reply("A fox.");
    expect(h.signals("commit")).toEqual(["commit#2", "commit#3"]);
    checkReplay(h);
  });

  test("F-135 another class has its own sentence, or silence; a cancel has none", () => {
    const late = open({ errors: { default: "Something went wrong." } }, ["sim/a", "sim/b", "sim/c"]);
    late.advance(2_001);
    expect(late.signals("turn_open_proposed")).toContain("turn_open_proposed(error_response)");
    const silent = open({ errors: { ...errors, provider_failure: "" } }, ["sim/a"]);
    silent.feed(silent.outcome(silent.open("llm"), "error"));
    expect(silent.signals("turn_open#2")).toEqual([]);
    const cut = open({ errors }, ["sim/a"]);
    cut.feed({ type: "operator", command: "cancel_turn", turn: 1, reason: "operator" });
    expect(cut.signals("turn_open#2")).toEqual([]);
    for (const h of [late, silent, cut]) checkReplay(h);
  });

  test("F-135 one that fails, too, is not answered in turn", () => {
    const h = open({ errors }, ["sim/a"]);
    h.feed(h.outcome(h.open("llm"), "error"));
    h.feed(h.outcome(h.open("tts"), "error"));
    expect(h.signals("abort")).toEqual(["abort#1(provider_failure)", "abort#2(provider_failure)"]);
    expect(h.signals("turn_open#3")).toEqual([]);
    checkReplay(h);
  });
});

describe("F-132 dead letters", () => {
  test("F-132 what cannot be processed is kept by kind, reason and handle, never with what it said", () => {
    const h = open({ deadLetters: { max: 2 } });
    const llm = h.open("llm");
    h.feed(h.audioChunk(llm, 0, 4));
    h.feed(h.control("no_such_signal", { reason: "secret words" }));
    h.feed(h.control("no_such_signal"));
    const letters = records(h, "dead_letter").map((r) => (r.kind === "dead_letter" ? r.letter : null));
    expect(letters).toEqual([
      expect.objectContaining({ number: 1, what: "provider_chunk", turn: 1, payloadBytes: 640, payloadHash: "" }),
      expect.objectContaining({
        number: 2,
        what: "control",
        reason: "schema_validation_error",
        source: "no_such_signal",
      }),
    ]);
    expect(JSON.stringify(letters)).not.toContain("secret");
    // Bounded: the third is counted.
    expect(h.log.at(-1)?.effect).toMatchObject({ type: "error" });
    expect(h.log.map(({ effect }) => effect)).toContainEqual(
      expect.objectContaining({ type: "telemetry", name: "dead_letters_dropped", value: 1 }),
    );
    checkReplay(h);
  });

  test("F-132 an event that a node throws at is kept as well; without the setting nothing is", () => {
    const h = open({ deadLetters: { max: 4 } });
    h.advance(20);
    const command = h.feed(h.frame()).flatMap((e) => (e.type === "node_event" ? [e.command] : []))[0] ?? 0;
    h.feed({ type: "node_failed", command, reason: "threw" });
    expect(records(h, "dead_letter")).toMatchObject([
      { letter: { what: "node_event", reason: "threw", source: "vad" } },
    ]);
    const plain = speaking();
    plain.feed(plain.control("no_such_signal"));
    expect(records(plain, "dead_letter")).toEqual([]);
    checkReplay(h);
  });
});
