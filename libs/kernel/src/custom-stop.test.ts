import { describe, expect, test } from "vitest";
import { replayJournal } from "./replay.ts";
import { AUDIO_PORTS, CustomHost, custom, echo, shout, silent, TEXT_PORTS } from "./testing/custom-host.ts";
import {
  EAR_EDGES,
  EAR_NODES,
  graphOf,
  guardedGraph,
  MODEL_NODES,
  VOICE_EDGES,
  VOICE_NODES,
} from "./testing/graphs.ts";
import { testConfig } from "./testing/harness.ts";

function start(graph = guardedGraph([custom("shout", "turn", TEXT_PORTS)]), turnFirstOutputMs = 2_000): CustomHost {
  const budgets = { turnFirstOutputMs, nodeSoftMs: 800, providerAttemptMs: 1_000, cancelGraceMs: 75 };
  const host = new CustomHost(testConfig(graph, { budgets }));
  host.behaviour = { shout };
  host.feed(host.control("connected"));
  return host;
}

/** A side branch of the caller's audio, so that the session hears whatever becomes of it. */
function tapped(limits = {}): CustomHost {
  return start(
    graphOf(
      [
        ...EAR_NODES,
        custom("meter", "session", { ...AUDIO_PORTS, outputs: [] }, limits),
        ...MODEL_NODES,
        ...VOICE_NODES,
      ],
      [
        ...EAR_EDGES,
        "caller.audio -> meter.audio",
        "stt.text -> endpointing.text",
        "endpointing.utterance -> context.utterance",
        "context.messages -> llm.messages",
        "llm.text -> segmenter.text",
        ...VOICE_EDGES,
      ],
    ),
  );
}

function same(host: CustomHost): void {
  expect(replayJournal(host.config, host.journal)).toMatchObject({ identical: true, divergences: [] });
}

/** The model has answered and its words lie with the node. */
function asked(host: CustomHost): void {
  host.utter("hello there");
  host.feed(host.textChunk(host.open("llm"), "Good morning."), host.outcome(host.open("llm")));
}

describe("F2 a node that times out, throws, hangs or dies (kernel.md §14)", () => {
  test("a hanging event: warning, exhausted with its hook, cancel, grace, then its end and abort(node_timeout_or_failure)", () => {
    const host = start();
    host.behaviour.shout = silent;
    host.hanging.cancel = true;
    asked(host);
    host.advance(300);
    expect(host.signals("budget_")).toEqual(["budget_warning#1(node_event)"]);
    host.advance(100);
    expect(host.signals("budget_")).toEqual(["budget_warning#1(node_event)", "budget_exhausted#1(node_event)"]);
    expect(host.of("node_hook")).toMatchObject([{ hook: "budget_exhausted" }]);
    expect(host.of("node_cancel")).toMatchObject([{ command: host.last, reason: "node_timeout" }]);
    expect(host.of("node_stop")).toEqual([]);
    host.advance(75);
    expect(host.of("node_stop")).toMatchObject([{ kill: true, reason: "node_timeout" }]);
    expect(host.signals("node_error")).toEqual(["node_error#1(node_timeout)"]);
    expect(host.signals("abort")).toEqual(["abort#1(node_timeout_or_failure)"]);
    // The session goes on: the next turn has an instance of its own and is answered.
    host.behaviour.shout = shout;
    host.hanging.cancel = false;
    host.utter("once again");
    host.reply("Of course.");
    expect(host.signals("commit")).toEqual(["commit#2"]);
    same(host);
  });

  test("with a fallback the turn goes on by it (F-133)", () => {
    const shouting = { ...custom("shout", "turn", TEXT_PORTS), fallback: "sorry" };
    const plain = guardedGraph([shouting]);
    const sorry = { id: "sorry", kind: "canned", scope: "turn", settings: { text: "Sorry." }, candidates: [] } as const;
    const host = start({ ...plain, nodes: [...plain.nodes, sorry] });
    host.behaviour.shout = silent;
    asked(host);
    host.feed({ type: "node_failed", command: host.last, reason: "threw" });
    expect(host.signals("node_error")).toEqual(["node_error#1(threw)"]);
    expect(host.signals("fallback")).toEqual(["fallback#1(threw)"]);
    expect(host.of("provider_push_text").map(({ spans }) => host.text(spans))).toEqual(["Sorry."]);
    host.speakPending();
    expect(host.signals("commit")).toEqual(["commit#1"]);
    expect(host.signals("abort")).toEqual([]);
    same(host);
  });

  test("an answer within the grace of an exhausted budget still counts", () => {
    const host = start();
    host.behaviour.shout = silent;
    host.hanging.cancel = true;
    asked(host);
    host.advance(410);
    host.behaviour.shout = shout;
    host.finish(host.last, host.said("SHORT."));
    expect(host.signals("node_error")).toEqual([]);
    expect(host.of("provider_push_text").map(({ spans }) => host.text(spans))).toEqual(["SHORT."]);
    same(host);
  });

  test.each([
    ["throws", { type: "node_failed", reason: "threw" }, "threw", 1],
    [
      "runs out of memory",
      { type: "node_stopped", node: "shout", reason: "out_of_memory", instance: 1 },
      "out_of_memory",
      0,
    ],
  ] as const)("F-134 a node that %s is named; its turn aborts, the session goes on", (_, answer, reason, stops) => {
    const host = start();
    host.behaviour.shout = silent;
    asked(host);
    host.feed(answer.type === "node_failed" ? { ...answer, command: host.last } : answer);
    expect(host.signals("node_error")).toEqual([`node_error#1(${reason})`]);
    expect(host.signals("abort")).toEqual(["abort#1(node_timeout_or_failure)"]);
    expect(host.of("node_stop")).toHaveLength(stops);
    expect(host.state.customs?.instances).toEqual({});
    host.behaviour.shout = shout;
    host.utter("once again");
    host.reply("Of course.");
    expect(host.signals("commit")).toEqual(["commit#2"]);
    same(host);
  });

  test("F-134 a session's node that dies is opened again, ever later, and given up in the end; turns go on", () => {
    const host = tapped();
    const opens = (): number => host.opened.length;
    for (let death = 1; death <= 6; death++) {
      host.feed({ type: "node_stopped", node: "meter", reason: "threw", instance: death });
      host.advance(100 * 2 ** (death - 1) - 1);
      expect(opens()).toBe(death);
      host.advance(1);
      expect(opens()).toBe(death === 6 ? 6 : death + 1);
    }
    expect(host.signals("node_error")).toEqual([...Array(6).fill("node_error(threw)"), "node_error(restart_limit)"]);
    expect(host.state.degradedBy).toEqual(["meter"]);
    host.utter("hello there");
    host.reply("Good morning.");
    expect(host.signals("commit")).toEqual(["commit#1"]);
    same(host);
  });

  test("a session's node that failed is marked degraded until it answers again", () => {
    const host = tapped();
    host.behaviour.meter = (_, { command }) => [{ type: "node_failed", command, reason: "threw" }];
    host.hear(false, 2);
    expect(host.signals("degraded")).toEqual(["degraded(threw)"]);
    host.behaviour.meter = echo;
    host.hear(false, 2);
    expect(host.signals("recovered")).toEqual(["recovered(node_answers_again)"]);
    expect(host.state.degraded).toBe(false);
    same(host);
  });
});

describe("cancel (kernel.md §6)", () => {
  test("F-036 barge-in: hook, cancel, acknowledgement, stop; nothing of the old turn shows in the new one", () => {
    const host = start();
    host.behaviour.shout = silent;
    asked(host);
    host.hear(true, 6);
    const order = host.log.flatMap(({ effect }) =>
      effect.type.startsWith("node_") && effect.type !== "node_event" ? [effect.type] : [],
    );
    expect(order).toEqual(["node_open", "node_input", "node_hook", "node_cancel", "node_stop"]);
    expect(host.of("node_hook")).toMatchObject([{ hook: "barge_in" }]);
    expect(host.signals("cancel_ack")).toEqual(["cancel_ack(cancelled)"]);
    expect(host.state.degraded).toBe(false);
    // Late all the same: refused and counted.
    host.finish(host.last, host.said("TOO LATE"));
    expect(host.of("provider_push_text")).toEqual([]);
    same(host);
  });

  test("F-037 a node that ignores its cancel is ended after the grace, and the session marked degraded", () => {
    const host = start();
    host.behaviour.shout = silent;
    host.hanging.cancel = true;
    asked(host);
    host.feed(host.control("cancel", { turn: 1, reason: "user_cancel" }));
    host.advance(74);
    expect(host.of("node_stop")).toEqual([]);
    host.advance(1);
    expect(host.of("node_stop")).toMatchObject([{ kill: true, reason: "cancel_ignored" }]);
    expect(host.signals("node_stopped")).toEqual(["node_stopped(cancel_ignored)"]);
    expect(host.state.degradedBy).toEqual(["shout"]);
    // Its next instance answers: recovered.
    host.behaviour.shout = shout;
    host.utter("once again");
    host.reply("Of course.");
    expect(host.signals("recovered")).toEqual(["recovered(node_answers_again)"]);
    same(host);
  });

  test("F-037 a later cancel does not renew the grace of what was told to end before", () => {
    const host = start();
    host.behaviour.shout = silent;
    host.hanging.cancel = true;
    asked(host);
    host.advance(400);
    expect(host.of("node_cancel")).toMatchObject([{ reason: "node_timeout" }]);
    host.advance(60);
    host.feed(host.control("cancel", { turn: 1, reason: "user_cancel" }));
    host.advance(14);
    expect(host.of("node_stop")).toEqual([]);
    host.advance(1);
    expect(host.of("node_stop")).toMatchObject([{ kill: true, reason: "cancel_ignored" }]);
    same(host);
  });

  test("F-037 cancelled again and again by name, a session's node has the grace of its oldest cancel", () => {
    const host = tapped({ maxInFlight: 2 });
    host.behaviour.meter = silent;
    host.hanging.cancel = true;
    const cancel = () =>
      host.feed(host.control("cancel", { turn: 0, reason: "operator", fields: { scope: "node", node: "meter" } }));
    host.hear(false, 1);
    cancel();
    for (let n = 0; n < 3; n++) {
      host.hear(false, 1);
      expect(host.of("node_stop")).toEqual([]);
      cancel();
    }
    host.advance(14);
    expect(host.of("node_stop")).toEqual([]);
    host.advance(1);
    expect(host.of("node_stop")).toMatchObject([{ kill: true, reason: "cancel_ignored" }]);
    same(host);
  });

  test("F-034 a cancel of the node alone ends its stream; its turn goes on with what it has", () => {
    const host = start();
    host.behaviour.shout = silent;
    asked(host);
    host.feed(host.control("cancel", { turn: 1, reason: "user_cancel", fields: { scope: "node", node: "shout" } }));
    expect(host.of("node_cancel")).toMatchObject([{ command: host.last, reason: "user_cancel" }]);
    expect(host.signals("abort")).toEqual([]);
    expect(host.signals("commit")).toEqual(["commit#1"]);
    same(host);
  });
});

describe("F-012 hooks have their time", () => {
  test("init that hangs ends in init_timeout: the turn aborts, the next one goes on", () => {
    const host = start(undefined, 20_000);
    host.hanging.init = true;
    asked(host);
    host.advance(3_699);
    expect(host.signals("node_error")).toEqual([]);
    host.advance(1);
    expect(host.signals("node_error")).toEqual(["node_error#1(init_timeout)"]);
    expect(host.of("node_stop")).toMatchObject([{ kill: true, reason: "init_timeout" }]);
    expect(host.signals("abort")).toEqual(["abort#1(node_timeout_or_failure)"]);
    same(host);
  });

  test("a stop hook that hangs is ended after its time with stop_timeout, and holds up nothing", () => {
    const host = start();
    host.hanging.stop = true;
    host.utter("hello there");
    host.reply("Good morning.");
    expect(host.signals("commit")).toEqual(["commit#1"]);
    host.advance(400);
    expect(host.signals("node_error")).toEqual(["node_error(stop_timeout)"]);
    expect(host.of("node_stop").map(({ kill }) => kill)).toEqual([false, true]);
    same(host);
  });

  test("the session's end waits for stop hooks, within a bound, and is orderly", () => {
    const quick = tapped();
    quick.feed({ type: "operator", command: "end", turn: 0, reason: "bye" });
    expect(quick.of("status").at(-1)).toMatchObject({ phase: "ended" });
    expect(quick.of("node_stop")).toMatchObject([{ kill: false, reason: "session_end" }]);
    const slow = tapped({ hookTimeoutMs: 5_000 });
    slow.hanging.stop = true;
    slow.feed({ type: "operator", command: "end", turn: 0, reason: "bye" });
    slow.advance(599);
    expect(slow.of("status").at(-1)).not.toMatchObject({ phase: "ended" });
    slow.advance(1);
    expect(slow.signals("node_error")).toEqual(["node_error(stop_timeout)"]);
    expect(slow.of("status").at(-1)).toMatchObject({ phase: "ended", reason: "bye" });
    same(slow);
  });
});
