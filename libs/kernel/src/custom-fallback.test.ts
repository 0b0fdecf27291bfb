/** A custom node that another custom node takes over from, in the same turn and on the same edges (F-007, F-133). */
import { describe, expect, test } from "vitest";
import { replayJournal } from "./replay.ts";
import { type Behaviour, CustomHost, custom, shout, silent, TEXT_PORTS } from "./testing/custom-host.ts";
import { guardedGraph } from "./testing/graphs.ts";
import { testConfig } from "./testing/harness.ts";

/** Says each text with a mark, so that it is seen who said it. */
const marked: Behaviour = (host, { command, port, body }) =>
  body.type !== "text"
    ? [{ type: "node_done", command }]
    : [
        { type: "node_emitted", command, index: 0, port, body: host.said(`<${host.text(body.spans)}>`) },
        { type: "node_done", command },
      ];

function start(behaviour: Behaviour = silent, limits = {}): CustomHost {
  const main = { ...custom("shout", "turn", TEXT_PORTS, limits), fallback: "spare" };
  const plain = guardedGraph([main]);
  const graph = { ...plain, nodes: [...plain.nodes, custom("spare", "turn", TEXT_PORTS)] };
  const budgets = { turnFirstOutputMs: 5_000, nodeSoftMs: 800, providerAttemptMs: 4_000, cancelGraceMs: 75 };
  const host = new CustomHost(testConfig(graph, { budgets }));
  host.behaviour = { shout: behaviour, spare: marked };
  host.feed(host.control("connected"));
  return host;
}

/** Texts of the model; its end follows. */
function asked(host: CustomHost, ...texts: string[]): void {
  host.utter("hello there");
  for (const text of texts) host.feed(host.textChunk(host.open("llm"), text));
  host.feed(host.outcome(host.open("llm")));
}

const said = (host: CustomHost): string =>
  host
    .of("provider_push_text")
    .map(({ spans }) => host.text(spans))
    .join("");
const given = (host: CustomHost, node: string): string[] =>
  host.asked
    .filter((one) => one.node === node)
    .map(({ body }) => (body.type === "text" ? host.text(body.spans) : body.type));

function over(host: CustomHost, ...turns: string[]): void {
  if (turns.some((turn) => turn.startsWith("commit"))) host.speakPending();
  expect(host.signals().filter((signal) => /^(commit|abort)/.test(signal))).toEqual(turns);
  expect(replayJournal(host.config, host.journal)).toMatchObject({ identical: true, divergences: [] });
}

describe("F-133 a custom node as the fallback of another", () => {
  test("F-133 one that throws: what it had not answered, and all that follows, is the other's; the turn commits", () => {
    const host = start();
    asked(host, "Good morning to you. ", "How are you today? ");
    host.feed({ type: "node_failed", command: host.last, reason: "threw" });
    expect(host.signals("fallback")).toEqual(["fallback#1(threw)"]);
    expect(given(host, "shout")).toEqual(["Good morning to you. "]);
    expect(given(host, "spare")).toEqual(["Good morning to you. ", "How are you today? ", "end"]);
    expect(said(host)).toBe("<Good morning to you. ><How are you today? >");
    over(host, "commit#1");
  });

  test("F-133 the next turn begins with the node itself", () => {
    const host = start();
    asked(host, "Good morning to you. ");
    host.feed({ type: "node_failed", command: host.last, reason: "threw" });
    host.speakPending();
    host.behaviour.shout = shout;
    host.advance(3_000);
    host.utter("once again");
    host.reply("Of course, at once. ");
    expect(given(host, "shout")).toEqual(["Good morning to you. ", "Of course, at once. ", "end"]);
    over(host, "commit#1", "commit#2");
  });

  test("F-133 one that hangs is replaced at its deadline; one that dies at its end mark leaves that alone", () => {
    const hangs = start();
    hangs.hanging.cancel = true;
    asked(hangs, "Good morning to you. ");
    hangs.advance(480);
    expect(hangs.signals("fallback")).toEqual(["fallback#1(node_timeout)"]);
    expect(said(hangs)).toBe("<Good morning to you. >");
    over(hangs, "commit#1");
    const dies = start((host, asked_) => (asked_.body.type === "end" ? null : shout(host, asked_)));
    asked(dies, "Good morning to you. ");
    const [first] = dies.opened;
    dies.feed({ type: "node_stopped", node: "shout", reason: "exited", instance: first?.instance ?? 0 });
    expect(given(dies, "spare")).toEqual(["end"]);
    expect(said(dies)).toBe("GOOD MORNING TO YOU. ");
    over(dies, "commit#1");
  });

  test("F-133 what was said in part is not said again by the other", () => {
    const partly: Behaviour = (host, { command, port, body }) =>
      body.type === "text"
        ? [
            { type: "node_emitted", command, index: 0, port, body: host.said("GOOD MORNING. ") },
            { type: "node_failed", command, reason: "threw" },
          ]
        : null;
    const host = start(partly);
    asked(host, "Good morning to you. ", "How are you today? ");
    expect(given(host, "spare")).toEqual(["How are you today? ", "end"]);
    expect(said(host)).toBe("GOOD MORNING. <How are you today? >");
    over(host, "commit#1");
  });

  test("F-133 with several in flight they are given in their order, no more at once than the other takes", () => {
    const host = start(silent, { maxInFlight: 3 });
    asked(host, "One is here now. ", "Two is here now. ", "Three is here now. ");
    expect(given(host, "shout")).toHaveLength(3);
    host.behaviour.spare = silent;
    host.feed({ type: "node_failed", command: host.asked[1]?.command ?? 0, reason: "threw" });
    expect(given(host, "spare")).toEqual(["One is here now. "]);
    host.behaviour.spare = marked;
    host.finish(host.last, host.said("<1>"));
    expect(said(host)).toBe("<1><Two is here now. ><Three is here now. >");
    over(host, "commit#1");
  });

  test("F-133 a stand-in that fails, too, ends the turn; one that dies before it is needed does not, and is none any more", () => {
    const both = start();
    both.behaviour.spare = silent;
    asked(both, "Good morning to you. ");
    both.feed({ type: "node_failed", command: both.last, reason: "threw" });
    both.feed({ type: "node_failed", command: both.last, reason: "threw" });
    over(both, "abort#1(node_timeout_or_failure)");
    const early = start();
    asked(early, "Good morning to you. ");
    const spare = early.opened.find(({ node }) => node === "spare")?.instance ?? 0;
    early.feed({ type: "node_stopped", node: "spare", reason: "exited", instance: spare });
    expect(early.signals("node_error")).toEqual(["node_error#1(exited)"]);
    expect(early.signals("abort")).toEqual([]);
    early.finish(early.last, early.said("Well. "));
    early.feed({ type: "node_failed", command: early.last, reason: "threw" });
    expect(early.signals("fallback")).toEqual([]);
    over(early, "abort#1(node_timeout_or_failure)");
  });
});
