/** Tools of a language model. */
import { describe, expect, test } from "vitest";
import { replayJournal } from "./replay.ts";
import { KernelHarness } from "./testing/harness.ts";
import { clauses } from "./testing/said.ts";
import { authority, cancel, conversation, records, sealed } from "./testing/scenes.ts";
import {
  answers,
  askedWith,
  callChunk,
  calls,
  cancels,
  offered,
  opens,
  openTools,
  TOOLS,
  tool,
  toolCall,
} from "./testing/tool-scenes.ts";

function same(h: KernelHarness): void {
  expect(replayJournal(h.config, h.journal)).toMatchObject({ identical: true });
}

function played(h: KernelHarness, turn: number): void {
  h.advance(1_000);
  const { sentUs = 0 } = h.state.turns.find(({ number }) => number === turn)?.output ?? {};
  h.deliver(turn, "accepted", 0);
  h.deliver(turn, "started", 0);
  h.deliver(turn, "completed", sentUs);
}

describe("a round", () => {
  test("X-03 a call that an answer names twice is made once, and told once", () => {
    const h = toolCall();
    h.utter("order a pizza");
    const llm = h.open("llm");
    h.feed(callChunk(h, "order"));
    h.feed(callChunk(h, "order"));
    h.feed(h.outcome(llm));
    expect(opens(h)).toEqual(["order session-1/tool/1/1"]);
    answers(h, h.open("tool"), '{"ordered":1}');
    expect(askedWith(h)).toEqual([
      "user order a pizza",
      "assistant call_order:order({})",
      'tool call_order {"ordered":1}',
    ]);
    same(h);
  });

  test("X-03 a tool-call-only answer is no empty one: the tool runs, its result is told, the answer is spoken", () => {
    const h = toolCall();
    h.utter("how much do I have");
    expect(offered(h)).toEqual(["balance", "order", "lookup"]);
    calls(h, "balance");
    expect(opens(h)).toEqual(["balance session-1/tool/1/1"]);
    expect(h.signals("provider_error")).toEqual([]);
    answers(h, h.open("tool"), '{"amount":5}');
    expect(askedWith(h)).toEqual([
      "user how much do I have",
      'assistant call_balance_0:balance({"n":0})',
      'tool call_balance_0 {"amount":5}',
    ]);
    h.reply("You have five.");
    expect(clauses(h)).toEqual(["You have five."]);
    expect(h.signals("commit")).toEqual(["commit#1"]);
    const { invocations } = sealed(h, 1).manifest;
    expect(invocations.map((inv) => `${inv.modality} ${inv.tool ?? ""} ${inv.outcome}`)).toEqual([
      "stt  success",
      "llm  success",
      "tool balance success",
      "llm  success",
      "tts  success",
    ]);
    expect(JSON.stringify(sealed(h, 1))).not.toContain("amount");
    same(h);
  });

  test("X-03 calls run side by side up to the bound; results are told in the order of the calls", () => {
    const h = toolCall();
    h.utter("all of it");
    calls(h, "balance", "lookup", "order");
    const [first = 0, second = 0] = openTools(h);
    expect(openTools(h)).toHaveLength(2);
    answers(h, second, "two");
    expect(openTools(h)).toHaveLength(2);
    answers(h, openTools(h).find((id) => id !== first) ?? 0, "three");
    expect(askedWith(h)).toHaveLength(1);
    answers(h, first, "one");
    expect(askedWith(h).slice(-3)).toEqual([
      "tool call_balance_0 one",
      "tool call_lookup_1 two",
      "tool call_order_2 three",
    ]);
    same(h);
  });

  test("X-03 rounds are bounded: the last answer is offered no tools, and one that calls all the same ends the turn", () => {
    const h = toolCall({ roundsMax: 2 });
    h.utter("again and again");
    calls(h, "balance");
    answers(h, h.open("tool"), "1");
    expect(offered(h)).toEqual(["balance", "order", "lookup"]);
    calls(h, "balance");
    answers(h, h.open("tool"), "2");
    expect(offered(h)).toEqual([]);
    calls(h, "balance");
    expect(opens(h)).toHaveLength(2);
    expect(h.signals("abort")).toEqual(["abort#1(tool_rounds)"]);
    same(h);
  });

  test("X-03 calls of a turn are bounded, an unknown tool is never run: the model is told an error", () => {
    const h = toolCall({ perTurnMax: 2, parallelMax: 4 });
    h.utter("everything");
    calls(h, "balance", "hack", "lookup", "order");
    expect(opens(h).map((open) => open.split(" ")[0])).toEqual(["balance"]);
    answers(h, h.open("tool"), "ok");
    expect(askedWith(h).slice(-4)).toEqual([
      "tool call_balance_0 ok",
      'tool call_hack_1 {"error":"unknown_tool"}',
      'tool call_lookup_2 {"error":"too_many_tool_calls"}',
      'tool call_order_3 {"error":"too_many_tool_calls"}',
    ]);
    same(h);
  });

  test("X-03 a model without tools that calls one is as good as silent", () => {
    const h = toolCall({}, []);
    h.utter("hello");
    const llm = h.open("llm");
    h.feed(callChunk(h, "balance"));
    expect(opens(h)).toEqual([]);
    expect(h.state.invocations[llm]?.chunks).toBe(0);
  });

  test("X-03 a failed tool does not fail the turn: the model is told how it ended", () => {
    const h = toolCall();
    h.utter("how much");
    calls(h, "balance");
    h.feed({ type: "provider_outcome", invocation: h.open("tool"), outcome: "error", detail: "HTTP 500", usage: null });
    expect(askedWith(h).at(-1)).toBe('tool call_balance_0 {"error":"error","detail":"HTTP 500"}');
    expect(h.signals("provider_error")).toEqual(["provider_error#1(error)"]);
    h.reply("Sorry, that did not work.");
    expect(h.signals("commit")).toEqual(["commit#1"]);
    same(h);
  });

  test("X-03 a result beyond its bound is cut", () => {
    const h = toolCall({ resultBytesMax: 10 });
    h.utter("how much");
    calls(h, "balance");
    answers(h, h.open("tool"), "0123456789abcdef");
    expect(askedWith(h).at(-1)).toBe("tool call_balance_0 0123456789");
  });

  test("X-03 the class of each tool is frozen in the plan; without tools the plan is as it was", () => {
    const plan = (h: KernelHarness): unknown => {
      h.utter("hello");
      const [record] = records(h, "plan");
      return record?.kind === "plan" ? (record.plan as { sideEffects: unknown }).sideEffects : null;
    };
    expect(plan(toolCall())).toEqual(["llm.balance=none", "llm.order=side_effecting", "llm.lookup=idempotent"]);
    expect(plan(toolCall({}, []))).toEqual([]);
  });

  test("X-03 a speculation runs no tool; the turn that adopts it does", () => {
    const h = toolCall({}, TOOLS, { speculation: true });
    h.hear(true, 6);
    const stt = h.open("stt");
    h.feed(h.textChunk(stt, "how much do I have", { final: false }));
    h.hear(false, 3);
    h.hear(false, 1);
    const llm = h.open("llm");
    expect(llm).not.toBe(0);
    calls(h, "balance");
    expect(opens(h)).toEqual([]);
    h.hear(false, 4);
    h.feed(h.textChunk(stt, "how much do I have"), h.outcome(stt));
    expect(opens(h)).toEqual(["balance session-1/tool/1/1"]);
    answers(h, h.open("tool"), "5");
    h.reply("You have five.");
    expect(h.signals("commit")).toEqual(["commit#1"]);
    same(h);
  });
});

describe("waiting", () => {
  test("X-03 filler is said once when the result is slow, as part of the turn, and its audio leaves before the result", () => {
    const h = toolCall();
    h.utter("how much");
    calls(h, "balance", "balance");
    h.advance(499);
    expect(clauses(h)).toEqual([]);
    h.advance(1);
    expect(clauses(h)).toEqual(["One moment. "]);
    h.feed(h.audioChunk(h.open("tts"), 0, 12, { segmentEnd: true }));
    expect(h.log.some(({ effect }) => effect.type === "egress_media")).toBe(true);
    h.advance(1_500);
    expect(clauses(h)).toEqual(["One moment. "]);
    for (const id of openTools(h)) answers(h, id, "5");
    h.feed(h.textChunk(h.open("llm"), "You have five."), h.outcome(h.open("llm")));
    h.speakPending();
    expect(clauses(h)).toEqual(["One moment. ", "You have five."]);
    played(h, 1);
    expect(conversation(h).at(-1)).toContain("One moment. You have five.");
    same(h);
  });

  test("X-03 a result that is faster drops the filler", () => {
    const h = toolCall();
    h.utter("how much");
    calls(h, "balance");
    h.advance(400);
    answers(h, h.open("tool"), "5");
    h.advance(900);
    expect(clauses(h)).toEqual([]);
    same(h);
  });

  test("X-03 a slow tool does not exhaust the budget of the first output; the answer after it has it anew", () => {
    const h = toolCall({}, [tool("slow", "none", { deadlineMs: 20_000 })]);
    h.utter("wait for it");
    calls(h, "slow");
    h.advance(15_000);
    expect(h.signals("budget")).toEqual([]);
    answers(h, h.open("tool"), "done");
    h.feed(h.textChunk(h.open("llm"), "It is done."));
    h.advance(2_100);
    expect(h.signals("budget_exhausted")).toEqual(["budget_exhausted#1(turn_first_output)"]);
  });

  test("X-03 what the model said before it calls is spoken while the tool runs", () => {
    const h = toolCall({}, [tool("lookup")]);
    h.utter("how much");
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "Let me look that up."), callChunk(h, "lookup"), h.outcome(llm));
    expect(clauses(h)).toEqual(["Let me look that up. "]);
    answers(h, h.open("tool"), "5");
    expect(askedWith(h).at(-2)).toBe("assistant Let me look that up. call_lookup:lookup({})");
    h.feed(h.textChunk(h.open("llm"), "It is five."), h.outcome(h.open("llm")));
    h.speakPending();
    expect(clauses(h).join("")).toBe("Let me look that up. It is five.");
    same(h);
  });

  test("X-03 the deadline of a tool is a timeout that the model is told; what comes after it is late", () => {
    const h = toolCall({}, [tool("balance"), tool("order", "side_effecting")]);
    h.utter("how much");
    calls(h, "balance", "order");
    const [balance = 0, order = 0] = openTools(h);
    h.advance(2_999);
    expect(cancels(h)).toEqual([]);
    h.advance(1);
    expect(cancels(h)).toEqual([balance, order]);
    expect(askedWith(h).slice(-2)).toEqual([
      'tool call_balance_0 {"error":"timeout","detail":"no result within its deadline"}',
      'tool call_order_1 {"error":"timeout","detail":"no result within its deadline","note":"it may have been done; do not call again"}',
    ]);
    h.feed(h.textChunk(balance, "5"), h.outcome(balance), h.outcome(order));
    h.reply("That took too long.");
    const outcomes = sealed(h, 1).manifest.invocations.filter(({ modality }) => modality === "tool");
    expect(outcomes.map(({ tool: name, outcome }) => `${name} ${outcome}`)).toEqual([
      "balance timeout",
      "order timeout",
    ]);
    expect(h.state.turns[0]?.lateAfterCancel).toBe(1);
    same(h);
  });
});

describe("a cancel", () => {
  const late = (h: KernelHarness): Record<string, unknown>[] =>
    records(h, "late_outcome").map((r) => (r.kind === "late_outcome" ? (r.outcome as Record<string, unknown>) : {}));

  test("X-03 a harmless tool is cancelled with its turn; a side-effecting one finishes, once, and nothing waits for it", () => {
    const h = toolCall();
    h.utter("order it");
    calls(h, "balance", "order");
    const [balance = 0, order = 0] = openTools(h);
    h.feed(cancel(1, "barge_in"));
    expect(cancels(h)).toEqual([balance]);
    expect(h.signals("abort")).toEqual(["abort#1(cancelled)"]);
    expect(sealed(h, 1)).toMatchObject({ missing: [], manifest: { outliving: `inv_1_${order}` } });
    h.fenceAck(1, 0);
    h.feed(h.outcome(balance));
    answers(h, order, '{"ordered":true}');
    expect(late(h)).toMatchObject([
      { tool: "order", outcome: "success", turn: 1, manifestHash: sealed(h, 1).hash, invocationId: `inv_1_${order}` },
    ]);
    expect(h.state.invocations).toEqual({});
    // A later turn knows of it, though nothing of the first was heard; of the harmless call nothing is kept.
    h.utter("did you order it");
    expect(askedWith(h)).toEqual([
      "user order it",
      'assistant call_order_1:order({"n":1})',
      'tool call_order_1 {"ordered":true}',
      "user did you order it",
    ]);
    expect(opens(h)).toHaveLength(2);
    same(h);
  });

  test("X-03 a result that comes after its turn has settled is entered where the conversation waits for it", () => {
    const h = toolCall();
    h.utter("order it");
    calls(h, "order");
    const order = h.open("tool");
    h.feed(cancel(1, "barge_in"));
    h.fenceAck(1, 0);
    expect(h.state.turns).toEqual([]);
    h.utter("hello");
    expect(askedWith(h)[2]).toBe('tool call_order_0 {"status":"not known yet"}');
    h.feed(h.textChunk(order, '{"ordered":true}'));
    h.feed(h.outcome(order));
    h.reply("Hello.");
    played(h, 2);
    h.utter("and now");
    expect(askedWith(h)[2]).toBe('tool call_order_0 {"ordered":true}');
    expect(late(h)).toHaveLength(1);
    same(h);
  });

  test("X-03 by policy a late result has the agent speak of it", () => {
    const h = toolCall({ lateResult: "propose" });
    h.utter("order it");
    calls(h, "order");
    const order = h.open("tool");
    h.feed(cancel(1, "barge_in"));
    h.fenceAck(1, 0);
    answers(h, order, '{"ordered":true}');
    expect(h.signals("turn_open_proposed").at(-1)).toBe("turn_open_proposed(late_tool_result)");
    expect(h.signals("turn_open#2")).toEqual(["turn_open#2"]);
    expect(askedWith(h).at(-1)).toBe('tool call_order_0 {"ordered":true}');
    h.reply("It has been ordered.");
    expect(h.signals("commit#2")).toEqual(["commit#2"]);
    same(h);
  });

  test("X-03 the deadline holds for work that outlives its turn", () => {
    const h = toolCall();
    h.utter("order it");
    calls(h, "order");
    const order = h.open("tool");
    h.feed(cancel(1, "barge_in"));
    h.fenceAck(1, 0);
    h.advance(3_000);
    expect(cancels(h)).toEqual([order]);
    expect(late(h)).toMatchObject([{ tool: "order", outcome: "timeout" }]);
    h.feed(h.outcome(order));
    expect(h.state.invocations).toEqual({});
    same(h);
  });

  test("X-03 a session's end waits for nothing and cuts nothing off that has an effect", () => {
    const h = toolCall();
    h.utter("order it");
    calls(h, "balance", "order");
    const [balance = 0] = openTools(h);
    h.feed({ type: "operator", command: "end", turn: 0, reason: "hang_up" });
    expect(h.state.lifecycle.phase).toBe("ended");
    expect(cancels(h)).toEqual([balance]);
    expect(late(h)).toMatchObject([{ tool: "order", outcome: "disconnect", detail: "session_ended" }]);
    same(h);
  });

  test("X-03 one call cancelled by name is told to the model; a side-effecting one is not cut off", () => {
    const h = toolCall();
    h.utter("both");
    calls(h, "balance", "order");
    const [balance = 0, order = 0] = openTools(h);
    const fields = { scope: "provider_invocation" };
    h.feed(h.control("cancel", { reason: "operator", fields: { ...fields, invocation: `inv_1_${balance}` } }));
    h.feed(h.control("cancel", { reason: "operator", fields: { ...fields, invocation: `inv_1_${order}` } }));
    expect(cancels(h)).toEqual([balance]);
    answers(h, order, "ordered");
    expect(askedWith(h).slice(-2)).toEqual([
      'tool call_balance_0 {"error":"cancelled","detail":"operator"}',
      "tool call_order_1 ordered",
    ]);
    same(h);
  });
});

describe("the conversation", () => {
  test("X-03 calls and results of a heard turn are kept, before what was heard", () => {
    const h = toolCall();
    h.utter("how much");
    calls(h, "balance");
    answers(h, h.open("tool"), "5");
    h.reply("You have five.");
    played(h, 1);
    h.utter("thanks");
    expect(askedWith(h)).toEqual([
      "user how much",
      'assistant call_balance_0:balance({"n":0})',
      "tool call_balance_0 5",
      "assistant You have five.",
      "user thanks",
    ]);
    same(h);
  });

  test("X-03 what is kept of a result is bounded", () => {
    const h = toolCall({ resultBytesMax: 60_000 });
    h.utter("how much");
    calls(h, "balance");
    answers(h, h.open("tool"), "x".repeat(5_000));
    h.reply("You have five.");
    played(h, 1);
    const part = h.state.conversation.find(({ role }) => role === "tools");
    expect(part?.exchanges?.[0]?.result).toMatchObject({ to: 2_000 });
  });
});

describe("authority", () => {
  test("X-03 losing the lease leaves side-effecting work to finish and causes nothing else; a successor repeats no call", () => {
    const h = toolCall();
    h.utter("order it");
    calls(h, "order", "balance");
    const [order = 0, balance = 0] = openTools(h);
    h.feed(authority(h, "granted_elsewhere"));
    expect(h.signals("abort")).toEqual(["abort#1(authority_loss)"]);
    expect(cancels(h)).toEqual([balance]);
    const before = h.log.length;
    answers(h, order, "ordered");
    const after = h.log.slice(before).map(({ effect }) => effect.type);
    expect(after).not.toContain("provider_open");
    expect(after).not.toContain("state_write");
    expect(records(h, "late_outcome")).toHaveLength(1);
    same(h);
    const successor = new KernelHarness({
      ...h.config,
      authority: { ...h.config.authority, epoch: 2 },
      turnsBefore: 1,
    });
    successor.connect();
    successor.utter("order it");
    expect(opens(successor)).toEqual([]);
    calls(successor, "order");
    expect(opens(successor)).toEqual(["order session-1/tool/2/1"]);
  });
});
