import { describe, expect, test } from "vitest";
import { replayJournal } from "./replay.ts";
import { restoreState, snapshotState } from "./snapshot.ts";
import { AUDIO_PORTS, CustomHost, custom, echo, LIMITS, shout, silent, TEXT_PORTS } from "./testing/custom-host.ts";
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

function open(graph = guardedGraph([custom("shout", "turn", TEXT_PORTS)]), over = {}): CustomHost {
  const host = new CustomHost(testConfig(graph, over));
  host.behaviour = { shout };
  return host;
}

function connect(host: CustomHost): CustomHost {
  host.feed(host.control("connected"));
  return host;
}

function same(host: CustomHost): void {
  expect(replayJournal(host.config, host.journal)).toMatchObject({ identical: true, divergences: [] });
}

/** Audio between the caller and what hears. */
function gained(limits = {}): CustomHost {
  const graph = graphOf(
    [...EAR_NODES, custom("gain", "session", AUDIO_PORTS, limits), ...MODEL_NODES, ...VOICE_NODES],
    [
      "caller.audio -> gain.audio",
      "gain.audio -> vad.audio",
      "gain.audio -> stt.audio",
      ...EAR_EDGES.slice(2),
      "stt.text -> endpointing.text",
      "endpointing.utterance -> context.utterance",
      "context.messages -> llm.messages",
      "llm.text -> segmenter.text",
      ...VOICE_EDGES,
    ],
  );
  return open(graph);
}

const clauses = (host: CustomHost): string[] => host.of("provider_push_text").map(({ spans }) => host.text(spans));
const errors = (host: CustomHost): string[] => host.signals("node_error");

describe("F-011 a custom node in the graph", () => {
  test("what it makes of the reply is what is spoken; it is opened with its turn and stopped at its close", () => {
    const host = connect(open());
    host.utter("hello there");
    expect(host.opened).toMatchObject([{ node: "shout", package: "shout@1.0.0", turn: 1 }]);
    host.reply("Good morning to you. How are you?");
    expect(clauses(host).join("")).toBe("GOOD MORNING TO YOU. HOW ARE YOU?");
    expect(host.signals("commit")).toEqual(["commit#1"]);
    expect(host.of("node_stop")).toMatchObject([{ kill: false, reason: "turn_closed" }]);
    expect(host.state.customs?.instances).toEqual({});
    expect(errors(host)).toEqual([]);
    same(host);
  });

  test("F-155 each turn has an instance of its own with a seed of its own; a session's node outlives them", () => {
    const host = connect(gained());
    const turns = connect(open());
    for (const one of [host, turns]) {
      for (const words of ["hello there", "once again"]) {
        one.utter(words);
        one.reply("Yes indeed.");
        one.advance(3_000);
      }
    }
    expect(host.opened.map(({ turn }) => turn)).toEqual([0]);
    expect(host.of("node_stop")).toEqual([]);
    expect(turns.opened.map(({ turn }) => turn)).toEqual([1, 2]);
    expect(new Set(turns.opened.map(({ seed }) => seed)).size).toBe(2);
    expect(turns.of("node_stop").map(({ instance }) => instance)).toEqual([1, 2]);
    for (const one of [host, turns]) same(one);
  });

  test("audio through a node of the session is heard; a snapshot holds its instance", () => {
    const host = connect(gained());
    host.utter("hello there");
    expect(host.signals("turn_open#1")).toHaveLength(1);
    expect(host.of("node_input").length).toBeGreaterThan(10);
    const text = snapshotState(host.state);
    expect(snapshotState(restoreState(text))).toBe(text);
    expect(restoreState(text).customs?.instances[1]).toMatchObject({ phase: "ready", turn: 0 });
    same(host);
  });

  test("events wait until the node is ready; its stream ends when it has done the end mark", () => {
    const host = open();
    host.hanging.init = true;
    connect(host);
    host.utter("hello there");
    host.feed(host.textChunk(host.open("llm"), "Good morning."), host.outcome(host.open("llm")));
    expect(host.asked).toEqual([]);
    host.behaviour.shout = silent;
    host.feed({ type: "node_ready", instance: 1 });
    expect(host.asked.map(({ body }) => body.type)).toEqual(["text"]);
    host.finish(host.last, host.said("GOOD MORNING."));
    expect(host.asked.map(({ body }) => body.type)).toEqual(["text", "end"]);
    host.finish(host.last);
    expect(clauses(host)).toEqual(["GOOD MORNING."]);
    same(host);
  });

  test("F-039 audio of a reply that goes through a node keeps its clauses, and what it swallows was not heard", () => {
    const through = [custom("gain", "turn", AUDIO_PORTS)];
    const graph = guardedGraph([]);
    const made = graphOf(
      [...graph.nodes, ...through],
      [
        ...graph.edges.filter(({ from }) => from.node !== "tts").map(({ id }) => id),
        "tts.audio -> gain.audio",
        "gain.audio -> speaker.audio",
      ],
    );
    const run = (swallow: boolean): CustomHost => {
      const host = connect(open(made));
      host.behaviour.gain = (_, asked) =>
        swallow && asked.body.type === "audio" ? [{ type: "node_done", command: asked.command }] : echo(host, asked);
      host.utter("hello there");
      host.reply("Good morning to you.");
      host.advance(400);
      return host;
    };
    const [segment] = run(false).state.turns[0]?.segments ?? [];
    expect(segment).toMatchObject({ shedUs: 0, complete: true });
    expect(segment?.words).toHaveLength(4);
    const swallowed = run(true);
    const addendum = swallowed.of("record").find(({ record }) => record.kind === "delivery_addendum");
    expect(addendum).toMatchObject({ record: { addendum: { replyChars: 20, heardChars: 0 } } });
  });

  test("emissions on ports it did not declare, or of another type, are refused, counted and named", () => {
    const host = connect(open());
    host.behaviour.shout = (_, { command, body }) => [
      { type: "node_emitted", command, index: 0, port: "audio", body: host.said("x") },
      { type: "node_emitted", command, index: 1, port: "text", body: { type: "end" } },
      { type: "node_emitted", command, index: 2, port: "text", body: { type: "error", code: "malformed_body" } },
      ...(body.type === "end" ? [] : [{ type: "node_emitted" as const, command, index: 3, port: "text", body }]),
      { type: "node_done", command },
    ];
    host.utter("hello there");
    host.reply("Good morning.");
    expect(errors(host)).toEqual(["node_error#1(undeclared_emission)"]);
    expect(host.state.counters.nodeErrors).toBe(6);
    expect(clauses(host)).toEqual(["Good morning."]);
    same(host);
  });
});

describe("F-109 events in flight", () => {
  const noisy = (limits: object): CustomHost => {
    const host = connect(gained(limits));
    host.behaviour.gain = silent;
    return host;
  };
  const inFlight = (host: CustomHost): number => host.state.customs?.instances[1]?.inFlight.length ?? 0;

  test("never exceed its limit; what waits is given out as room comes", () => {
    const host = noisy({ maxInFlight: 3, eventTimeoutMs: 60_000 });
    host.hear(false, 8);
    expect(inFlight(host)).toBe(3);
    host.finish(1);
    host.finish(2);
    expect(inFlight(host)).toBe(3);
    expect(host.asked).toHaveLength(5);
    same(host);
  });

  test("with when_full: reject what finds no room is shed and counted, not kept", () => {
    const host = noisy({ maxInFlight: 2, whenFull: "reject", eventTimeoutMs: 60_000 });
    host.hear(false, 10);
    expect(inFlight(host)).toBe(2);
    expect(host.signals("shed")).toEqual(["shed(node_busy)"]);
    expect(host.state.customs?.instances[1]?.shed).toBe(8);
    expect(host.state.run.edges.map((edge) => edge?.queue.size ?? 0).reduce((a, b) => a + b, 0)).toBe(0);
    same(host);
  });
});

test("the plan names each node's package, digest and limits (F-121)", () => {
  const host = connect(open(guardedGraph([custom("shout", "turn", TEXT_PORTS, { maxInFlight: 4 })])));
  host.utter("hello there");
  const plan = host
    .of("record")
    .map(({ record }) => record)
    .find(({ kind }) => kind === "plan");
  expect(plan).toMatchObject({
    plan: {
      nodeLimits: expect.arrayContaining([
        { node: "shout", maxInFlight: 4, softMs: 800, package: "shout@1.0.0", digest: "d".repeat(64) },
      ]),
    },
  });
  expect(LIMITS.maxInFlight).toBe(1);
});
