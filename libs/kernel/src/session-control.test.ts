import { describe, expect, test } from "vitest";
import type { InputBody } from "./input.ts";
import { assistantGraph, KernelHarness, testConfig } from "./testing/harness.ts";
import {
  asked,
  cancel,
  capacity,
  committed,
  conversation,
  idle,
  lastMessages,
  records,
  say,
  sealed,
  speaking,
  told,
} from "./testing/scenes.ts";

const fresh = () => new KernelHarness(testConfig(assistantGraph()));
const operator = (command: "drain" | "end" | "cancel_session", turn = 0): InputBody => ({
  type: "operator",
  command,
  turn,
  reason: "",
});
const phases = (h: KernelHarness) =>
  h.log.flatMap(({ effect }) => (effect.type === "status" ? [`${effect.phase}(${effect.reason})`] : []));

describe("F-138 session moves", () => {
  const illegal: [string, (h: KernelHarness) => InputBody, (h: KernelHarness) => void][] = [
    ["drain while CONNECTING", () => operator("drain"), () => {}],
    ["end while CONNECTING", () => operator("end"), () => {}],
    ["disconnected while CONNECTING", (h) => h.control("disconnected"), () => {}],
    ["connected while ACTIVE", (h) => h.control("connected"), (h) => h.connect()],
    [
      "disconnected twice",
      (h) => h.control("reconnecting"),
      (h) => {
        h.connect();
        h.feed(h.control("disconnected"));
      },
    ],
    [
      "drain while DRAINING",
      () => operator("drain"),
      (h) => {
        h.connect();
        h.utter("hello");
        h.feed(operator("drain"));
      },
    ],
    [
      "connected while DRAINING",
      (h) => h.control("connected"),
      (h) => {
        h.connect();
        h.utter("hello");
        h.feed(operator("drain"));
      },
    ],
  ];
  for (const [name, make, before] of illegal)
    test(`${name} is refused, leaves a marker and changes nothing`, () => {
      const h = fresh();
      before(h);
      const { lifecycle, ending } = structuredClone(h.state);
      const effects = h.feed(make(h));
      expect(effects).toContainEqual(expect.objectContaining({ type: "error", code: "illegal_session_move" }));
      expect(h.state.lifecycle).toEqual(lifecycle);
      expect(h.state.ending).toBe(ending);
    });

  test("F-106 drain: what runs may finish, nothing new opens, then ENDED", () => {
    const h = asked();
    h.feed(operator("drain"));
    h.feed(say(h, "one more"));
    expect(h.signals("reject")).toEqual(["reject(session_draining)"]);
    h.reply("Fine.");
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    h.advance(300);
    h.deliver(1, "completed", 100_000);
    expect(h.state.lifecycle.phase).toBe("ended");
    expect(phases(h).at(-1)).toBe("ended(drained)");
    expect(h.state.timers).toEqual({});
    expect(h.feed(say(h, "late"))).toEqual([]);
  });

  test("a drain that does not come to its end is ended by its deadline", () => {
    const h = asked();
    h.feed(operator("drain"));
    for (let i = 0; i < 11; i++) {
      h.feed(h.textChunk(h.open("llm"), "word "));
      if (h.open("tts") !== 0) h.feed(h.audioChunk(h.open("tts"), 0, 5));
      h.advance(1_000);
    }
    expect(h.state.lifecycle.phase).toBe("ended");
  });

  test("end: Active turns abort, committed ones settle as lost; evidence and addenda are whole", () => {
    for (const make of [asked, speaking, committed]) {
      const h = make();
      h.feed(operator("end"));
      expect(h.state.lifecycle.phase).toBe("ended");
      expect(sealed(h, 1).missing).toEqual([]);
      expect(records(h, "delivery_addendum")).toMatchObject([{ turn: 1, addendum: { outcome: "lost" } }]);
      expect([h.state.turns, h.state.invocations, h.state.timers]).toEqual([[], {}, {}]);
    }
  });

  test("F-091 a disconnect is ridden out to its deadline, then abort(transport_disconnect_or_stall)", () => {
    const h = speaking();
    h.feed(h.control("disconnected"));
    const at = h.nowNs;
    h.feed(h.textChunk(h.open("llm"), "And so on. "));
    h.advance(4_900);
    expect(h.state.lifecycle.phase).toBe("active");
    h.advance(100);
    expect((h.nowNs - at) / 1e6).toBe(5_000);
    expect(h.signals("abort")).toEqual(["abort#1(transport_disconnect_or_stall)"]);
    expect(phases(h).at(-1)).toBe("ended(reconnect_timeout)");
  });

  test("F-091 back in time: the deadline is off", () => {
    const h = committed();
    h.feed(h.control("disconnected"));
    h.advance(3_000);
    h.feed(h.control("connected"));
    h.advance(20_000);
    expect(h.state.lifecycle).toEqual({ phase: "active", reconnectingSinceNs: null });
  });

  test("F-034 a session cancel reaches turns, what is queued and speculation; the session lives on", () => {
    const h = speaking();
    h.feed(say(h, "queued"));
    h.feed(operator("cancel_session"));
    expect(h.signals("abort")).toEqual(["abort#1(cancelled)"]);
    expect(h.signals("reject")).toEqual(["reject(session_cancelled)"]);
    h.fenceAck(1, 0);
    h.utter("hello again");
    expect(h.signals("turn_open#2")).toEqual(["turn_open#2"]);
  });
});

describe("F-034 F-035 cancels from the transport", () => {
  const controls = (h: KernelHarness, scope: string, over: Record<string, string | number>, turn = 0) =>
    h.feed(h.control("cancel", { turn, reason: "user_cancel", fields: { scope, ...over } }));

  test("scope node ends that node's stream only; the turn goes on with what it has", () => {
    const h = speaking();
    const tts = h.open("tts");
    const effects = controls(h, "node", { node: "llm" });
    expect(told(effects)).toEqual(["cancel(user_cancel)"]);
    expect(h.open("tts")).toBe(tts);
    expect(h.open("llm")).toBe(0);
    expect(h.state.turns[0]?.phase).toBe("active");
    const clauses = h.state.invocations[tts]?.clauses.map((clause) => h.text(clause.spans).trim());
    expect(clauses?.join(" ")).toBe("Once upon a time there was a fox. It lived in a wood.");
    h.feed(h.audioChunk(tts, clauses?.length === 1 ? 0 : 1, 20, { segmentEnd: true }), h.outcome(tts));
    expect(h.signals("commit")).toEqual(["commit#1"]);
    expect(sealed(h, 1).manifest.invocations).toMatchObject([
      { modality: "stt" },
      { outcome: "cancelled" },
      { outcome: "success" },
    ]);
  });

  test("scope provider_invocation ends that one only", () => {
    const h = speaking();
    const name = h.state.invocations[h.open("tts")]?.name ?? "";
    controls(h, "provider_invocation", { invocation: name });
    expect(h.open("tts")).toBe(0);
    expect(h.signals("commit")).toEqual(["commit#1"]);
  });

  test("scope node on the recogniser leaves the turn alone", () => {
    const h = speaking({ bargeIn: false, holdOnCandidate: false });
    h.hear(true, 6);
    controls(h, "node", { node: "stt" });
    expect(h.open("stt")).toBe(0);
    expect(h.signals("abort")).toEqual([]);
    h.hear(false, 6);
    expect(h.state.prelude.utterance.phase).toBe("none");
  });

  test("an unknown node, invocation or turn reaches nothing", () => {
    const h = speaking();
    controls(h, "node", { node: "nobody" });
    controls(h, "provider_invocation", {});
    controls(h, "turn", {}, 9);
    expect(h.state.turns[0]?.phase).toBe("active");
    expect(h.state.counters.lateDropped).toBe(3);
  });

  test("a cancel of one turn leaves another", () => {
    const h = committed();
    h.feed(cancel(1));
    h.feed(say(h, "hello"));
    h.feed(h.control("stop", { turn: 1 }));
    expect(h.state.turns.map((turn) => `${turn.number} ${turn.phase}`)).toEqual(["1 closed_commit", "2 active"]);
  });

  test("reasons: the one given, or user_cancel", () => {
    const h = speaking();
    h.feed(h.control("stop", { turn: 1 }));
    expect(h.log.find(({ effect }) => effect.type === "egress_fence")?.effect).toMatchObject({ reason: "user_cancel" });
    expect(sealed(h, 1).manifest.cancel).toMatchObject({ reason: "user_cancel", scope: "turn" });
  });

  test("F-038 nothing of the cancelled turn shows in the next", () => {
    const h = speaking();
    const [llm, tts] = [h.open("llm"), h.open("tts")];
    h.feed(cancel(1));
    h.fenceAck(1, 0);
    h.utter("something else");
    const before = h.log.length;
    h.feed(h.textChunk(llm, "old words. "), h.audioChunk(tts, 1, 10), h.outcome(tts));
    expect(
      h.log.slice(before).filter(({ effect }) => effect.type !== "release" && effect.type !== "timer_clear"),
    ).toEqual([]);
    h.reply("New words.");
    const spoken = h.log.flatMap(({ effect }) =>
      effect.type === "egress_text" && effect.turn === 2 ? [h.text(effect.spans)] : [],
    );
    expect(spoken).toEqual(["New words."]);
    expect(lastMessages(h)).toEqual(["user: tell me a story", "user: something else"]);
  });
});

describe("NF-013 what comes from outside cannot break a step", () => {
  test("delivery as a mere signal is refused: it would bypass the fence", () => {
    const h = speaking();
    const effects = h.feed(h.control("playback_completed", { turn: 1, fields: { mediaUs: 5 } }));
    expect(effects).toMatchObject([{ type: "error", code: "schema_validation_error" }]);
    expect(h.state.turns[0]?.delivery.phase).toBe("playing");
  });

  test("fields cannot claim a scope; dtmf passes with its namespaced fields, forced or not", () => {
    const h = speaking();
    h.feed(h.control("silence", { fields: { scope: "bogus" } }));
    h.feed(h.control("dtmf", { turn: 1, fields: { "telephony.digit": "5" } }));
    h.feed(
      h.control("dtmf", { controlClass: "positioned", lastMediaSequence: 999, fields: { "telephony.digit": "6" } }),
    );
    h.advance(50);
    expect(h.signals("dtmf")).toEqual(["dtmf#1", "dtmf"]);
  });

  test("a node that fails or stops without saying why", () => {
    const h = idle();
    h.advance(20);
    const asked = h.feed(h.frame()).find((effect) => effect.type === "node_event");
    if (asked?.type !== "node_event") throw new Error("no VAD command");
    h.feed(
      { type: "node_failed", command: asked.command, reason: "" },
      { type: "node_stopped", node: "vad", reason: "" },
    );
    expect(h.signals("node_")).toEqual(["node_error(unspecified)", "node_stopped(unspecified)"]);
  });
});

describe("proposals", () => {
  test("a proposal that would be refused preempts nobody", () => {
    const h = speaking({ secondProposal: "preempt" });
    h.feed(capacity(false), say(h, "hello"));
    expect(h.signals("reject")).toEqual(["reject(no_capacity)"]);
    expect(h.state.turns[0]?.phase).toBe("active");
  });

  test("F-140 policies: preempt, queue, drop", () => {
    const preempt = speaking({ secondProposal: "preempt" });
    preempt.feed(say(preempt, "hello"));
    expect(preempt.signals("abort")).toEqual(["abort#1(cancelled)"]);
    expect(preempt.state.turns.map((turn) => turn.phase)).toEqual(["closed_abort", "active"]);
    const queue = speaking();
    queue.feed(say(queue, "hello"));
    expect(queue.state.proposals.size).toBe(1);
    queue.feed(cancel(1));
    expect(queue.signals("turn_open#2")).toEqual(["turn_open#2"]);
    const drop = speaking({ secondProposal: "drop" });
    drop.feed(say(drop, "hello"));
    expect(drop.signals("reject")).toEqual(["reject(overlap)"]);
    for (const h of [preempt, queue, drop]) expect(conversation(h)[0]).toBe("user: tell me a story");
  });

  test("the queue is bounded", () => {
    const h = speaking();
    for (let i = 0; i < 6; i++) h.feed(say(h, "hello"));
    expect(h.state.proposals.size).toBe(4);
    expect(h.signals("reject")).toEqual(["reject(proposal_queue_full)", "reject(proposal_queue_full)"]);
  });

  test("F-158 the same key opens one turn, over reconnect too", () => {
    const h = idle();
    h.feed(say(h, "hello", "k1"), say(h, "hello", "k1"));
    h.feed(h.control("disconnected"));
    h.feed(h.control("connected"));
    h.feed(say(h, "hello", "k1"));
    expect(h.state.lastTurn).toBe(1);
    expect(h.state.counters.duplicates).toBe(2);
  });

  test("F-158 a deferred key may be tried again", () => {
    const h = idle();
    h.feed(capacity(false, "defer"), say(h, "hello", "k1"));
    h.feed(capacity(true), say(h, "hello", "k1"));
    expect(h.signals("turn_open#")).toEqual(["turn_open#1"]);
  });

  test("F-158 frames and controls resent after a reconnect are taken once", () => {
    const h = idle();
    const frame = h.frame();
    const stop = h.control("dtmf", { key: "d1", fields: { "telephony.digit": "5" } });
    h.feed(frame, stop);
    const before = h.log.length;
    h.feed(frame, stop, { ...h.control("dtmf", { key: "d1", fields: { "telephony.digit": "5" } }) });
    const after = h.log.slice(before).filter(({ effect }) => effect.type !== "telemetry");
    expect(after).toEqual([]);
    expect(h.state.counters.duplicates).toBe(3);
    expect(h.log.slice(before).map(({ effect }) => effect)).toMatchObject([
      { type: "telemetry", name: "duplicate_dropped", value: expect.any(Number) },
    ]);
  });
});
