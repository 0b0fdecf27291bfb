import { expect, test } from "vitest";
import type { GraphDefinition } from "./graph.ts";
import { replayJournal } from "./replay.ts";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "./testing/harness.ts";
import { addendum, conversation, lastMessages, records } from "./testing/scenes.ts";

function graph(commitPoint?: string): GraphDefinition {
  const made = assistantGraph();
  const nodes = made.nodes.map((node) =>
    node.kind === "output" && commitPoint !== undefined ? { ...node, settings: { commit_point: commitPoint } } : node,
  );
  return { ...made, nodes };
}

/** A reply is cut after 400 ms; the line says it has played 100 of them. */
function cut(commitPoint?: string): KernelHarness {
  const h = new KernelHarness(testConfig(graph(commitPoint), { policy: { ...POLICY, holdOnCandidate: false } }));
  h.connect();
  h.utter("tell me");
  h.reply("one two three four five six seven eight nine ten eleven twelve.", 20);
  h.deliver(1, "accepted", 0);
  h.deliver(1, "started", 0);
  h.advance(400);
  h.hear(true, 4);
  h.fenceAck(1, 100_000);
  return h;
}

test("F-039 the commit point of an output says what of a cut reply is kept: what was played, or what was handed out", () => {
  const played = cut();
  const handed = cut("handed_out");
  expect(conversation(played)).toEqual(["user: tell me", "assistant: one"]);
  const kept = conversation(handed)[1] ?? "";
  expect(kept).toMatch(/^assistant: one two three four five six/);
  expect(kept).not.toContain("twelve");
  // What was really heard stands in the evidence either way.
  expect(addendum(handed, 1)).toMatchObject({ playedUs: 100_000, heardChars: addendum(played, 1).heardChars });
  const points = (h: KernelHarness) =>
    records(h, "plan").map((record) => (record.kind === "plan" ? (record.plan as { commitPoints: unknown }) : null));
  expect(points(played)[0]?.commitPoints).toEqual([{ node: "speaker", commitPoint: "played" }]);
  expect(points(handed)[0]?.commitPoints).toEqual([{ node: "speaker", commitPoint: "handed_out" }]);
  expect(cut("played").state.conversation.map(({ chars }) => chars)).toEqual(
    played.state.conversation.map(({ chars }) => chars),
  );
  for (const h of [played, handed]) expect(replayJournal(h.config, h.journal)).toMatchObject({ identical: true });
});

test("F-039 the next turn is told by the same commit point while the cut is not yet acknowledged", () => {
  const h = new KernelHarness(testConfig(graph("handed_out"), { policy: { ...POLICY, holdOnCandidate: false } }));
  h.connect();
  h.utter("tell me");
  h.reply("one two three four five six seven eight nine ten eleven twelve.", 20);
  h.deliver(1, "accepted", 0);
  h.deliver(1, "started", 0);
  h.advance(400);
  h.utter("stop");
  expect(lastMessages(h)[1]).toMatch(/^assistant: one two three four five six/);
});
