/** Tools in a call, in real time: a webhook and an MCP server on loopback. */
import type { SealedEvidence } from "@rspp/kernel/evidence";
import { replayJournal } from "@rspp/kernel/replay";
import { held, says } from "@rspp/provider-gateway/testing/tool-servers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openCall, recordsOf, type SimCall, speech } from "./rig.ts";
import { createToolRig, type ToolRig } from "./tool-rig.ts";

let rig: ToolRig;
beforeAll(async () => {
  rig = await createToolRig();
});
afterAll(() => rig.close());
beforeEach(() => {
  rig.hook.hits.length = 0;
  rig.hook.aborted = 0;
});

const saidIn = (call: SimCall, turn: number): string =>
  call.sent
    .flatMap((m) => (m.kind === "text" && m.turn === turn && m.role === "assistant" ? [m.text] : []))
    .join("")
    .trim();
const playedOf = (call: SimCall, turn: number): boolean =>
  call.line.deliveries().some((d) => d.turn === turn && d.phase === "completed");
const toolOutcomes = (sessionId: string, turn: number): string[] => {
  const sealed = recordsOf<SealedEvidence>(rig, sessionId, "evidence", "manifest").get(turn);
  return (sealed?.manifest.invocations ?? []).flatMap(({ tool, outcome }) =>
    tool === undefined ? [] : [`${tool} ${outcome}`],
  );
};

function ask(sessionId: string, ...transcripts: string[]): SimCall {
  const call = openCall(rig, rig.config(sessionId, transcripts));
  call.line.speak(speech(300));
  return call;
}

async function over(call: SimCall): Promise<void> {
  call.line.end();
  await rig.until(() => rig.runtime.session(call.session.config) === null);
  expect(replayJournal(call.session.config, call.session.journal())).toMatchObject({ identical: true });
}

describe("a tool in a call", () => {
  test("X-03 answers: its result is spoken and the next turn knows of it", async () => {
    rig.hook.answer = says({ opens: "nine" });
    const call = ask("quick", "when do you open", "go left two meters");
    await rig.until(() => playedOf(call, 1));
    expect(saidIn(call, 1)).toBe("We open at nine.");
    call.line.speak(speech(300));
    await rig.until(() => playedOf(call, 2));
    expect(saidIn(call, 2)).toBe("Going left two meters.");
    expect(rig.told.get("quick/2")?.map(({ role }) => role)).toEqual([
      "user",
      "assistant",
      "tool",
      "assistant",
      "user",
      "assistant",
      "tool",
    ]);
    await over(call);
    expect(toolOutcomes("quick", 1)).toEqual(["opening_hours success"]);
    const [run] = rig.spool.readSession("quick").runs;
    const evidence = run?.records.filter(({ kind }) => kind === "evidence" || kind === "delivery_addendum");
    expect(JSON.stringify([evidence, run?.signals, run?.entries])).not.toMatch(/"nine\b|\btoday\b/);
  });

  test("X-03 filler is heard while it is slow, before its result is there", async () => {
    const waiting = held();
    rig.hook.answer = waiting.answer;
    const call = ask("slow", "when do you open");
    await rig.until(() => call.sent.some((m) => m.kind === "media" && m.turn === 1));
    expect(saidIn(call, 1)).toBe("One moment please.");
    waiting.release({ opens: "ten" });
    await rig.until(() => playedOf(call, 1));
    expect(saidIn(call, 1)).toBe("One moment please. We open at ten.");
    await over(call);
  });

  test("X-03 a deadline that passes and an error are spoken of; the turn goes on", async () => {
    rig.hook.answer = held().answer;
    const late = openCall(rig, rig.config("late", ["when do you open"], 300));
    late.line.speak(speech(300));
    await rig.until(() => playedOf(late, 1));
    expect(saidIn(late, 1)).toBe("I cannot look that up now.");
    await over(late);
    expect(toolOutcomes("late", 1)).toEqual(["opening_hours timeout"]);
    rig.hook.answer = says({ why: "no" }, 500);
    const broken = ask("broken", "when do you open");
    await rig.until(() => playedOf(broken, 1));
    expect(saidIn(broken, 1)).toBe("I cannot look that up now.");
    await over(broken);
    expect(toolOutcomes("broken", 1)).toEqual(["opening_hours error"]);
  });
});

describe("a barge-in", () => {
  test("X-03 cuts off a harmless tool", async () => {
    rig.hook.answer = held().answer;
    const call = ask("harmless", "when do you open", "go left two meters");
    await rig.until(() => rig.hook.hits.length === 1);
    call.line.speak(speech(300));
    await rig.until(() => rig.hook.aborted === 1);
    await rig.until(() => playedOf(call, 2));
    expect(call.signals).toContain("abort/1");
    await over(call);
    expect(toolOutcomes("harmless", 1)).toEqual(["opening_hours cancelled"]);
  });

  test("X-03 leaves a side-effecting one to finish, once; its late result has the agent speak", async () => {
    const waiting = held();
    rig.hook.answer = waiting.answer;
    const call = ask("booked", "book a visit on monday", "go left two meters");
    await rig.until(() => rig.hook.hits.length === 1);
    call.line.speak(speech(300));
    await rig.until(() => playedOf(call, 2));
    expect(call.signals).toContain("abort/1");
    expect(rig.hook.aborted).toBe(0);
    expect(rig.told.get("booked/2")?.find(({ role }) => role === "tool")?.text).toBe('{"status":"not known yet"}');
    waiting.release({ day: "monday" });
    await rig.until(() => playedOf(call, 3));
    await over(call);
    expect(rig.hook.hits.map(({ body }) => body)).toEqual(['{"day":"monday"}']);
    const late = recordsOf<{ tool: string; outcome: string }>(rig, "booked", "late_outcome", "outcome");
    expect([...late]).toMatchObject([[1, { tool: "book_visit", outcome: "success" }]]);
    expect(rig.told.get("booked/3")?.find(({ role }) => role === "tool")?.text).toBe('{"day":"monday"}');
  });

  test("X-03 the end of a call does not cut off a side-effecting tool", async () => {
    const waiting = held();
    rig.hook.answer = waiting.answer;
    const call = ask("hung-up", "book a visit on friday");
    await rig.until(() => rig.hook.hits.length === 1);
    call.line.end();
    await rig.until(() => rig.runtime.session(call.session.config) === null);
    waiting.release({ day: "friday" });
    await rig.pass(50);
    expect(rig.hook.aborted).toBe(0);
  });
});
