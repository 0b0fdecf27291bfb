/** The fault classes F1 to F8 of `kernel.md` §14 by name: what must follow follows, in the run and in its replay alike. */
import { msToNs } from "@rspp/base/brand";
import type { GraphDefinition } from "@rspp/kernel/graph";
import { replayJournal } from "@rspp/kernel/replay";
import { EAR_EDGES, EAR_NODES, graphOf, MODEL_NODES, VOICE_EDGES, VOICE_NODES } from "@rspp/kernel/testing/graphs";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "@rspp/kernel/testing/harness";
import { authority, cancel, capacity, committed, idle, say, speaking } from "@rspp/kernel/testing/scenes";
import { describe, expect, test } from "vitest";
import type { Checker } from "./checkers/checker.ts";
import { EpochChecker } from "./checkers/epoch.ts";
import { LifecycleChecker } from "./checkers/lifecycle.ts";
import { World } from "./world.ts";

interface Scenario {
  name: string;
  run(): KernelHarness;
  /** Signals that must follow, in this order, others between them. */
  follows: readonly string[];
  never?: readonly string[];
}

function tight(maxItems: number, maxBlockMs: number): GraphDefinition {
  const graph = assistantGraph();
  const edges = graph.edges.map((edge) =>
    edge.id === "e9" ? { ...edge, buffer: { ...edge.buffer, maxItems, maxBlockMs } } : edge,
  );
  return { ...graph, edges };
}

/** A voice that runs far ahead of an edge of few places. */
function overflowing(maxBlockMs: number): KernelHarness {
  const h = new KernelHarness(testConfig(tight(30, maxBlockMs), { policy: { ...POLICY, bargeIn: false } }));
  h.connect();
  h.utter("tell me a story");
  const llm = h.open("llm");
  h.feed(h.textChunk(llm, "Once upon a time there was a fox. "), h.outcome(llm));
  const tts = h.open("tts");
  for (let i = 0; i < 90; i++) h.feed(h.audioChunk(tts, 0, 34, { segmentEnd: i === 89 }));
  h.feed(h.outcome(tts));
  h.advance(8_000);
  return h;
}

/** Two voices of one sync group; the edge of one is full at once. */
function synchronised(): KernelHarness {
  const graph = graphOf(
    [...EAR_NODES, ...MODEL_NODES, ...VOICE_NODES],
    [
      ...EAR_EDGES,
      "stt.text -> endpointing.text",
      "endpointing.utterance -> context.utterance",
      "context.messages -> llm.messages",
      "llm.text -> segmenter.text",
      ...VOICE_EDGES,
    ],
  );
  const edges = graph.edges.map((edge) => {
    if (edge.from.node !== "caller") return edge;
    const sync = { group: "mic", policy: "drop_with_discontinuity", scope: "plan_wide" } as const;
    return { ...edge, buffer: { ...edge.buffer, maxItems: 3, sync } };
  });
  const h = new KernelHarness(testConfig({ ...graph, edges }));
  h.connect();
  h.feed(...Array.from({ length: 30 }, () => h.frame()));
  h.advance(100);
  h.feed(...Array.from({ length: 3 }, () => h.frame()));
  h.advance(1_000);
  return h;
}

const scenarios: readonly Scenario[] = [
  {
    name: "F1 admission overload: a proposal is deferred or rejected, none of them opens or ends a turn",
    run: () => {
      const h = idle();
      h.feed(capacity(false, "defer"), say(h, "is there room", "a"));
      h.feed(capacity(false, "reject"), say(h, "is there room now", "b"));
      h.advance(5_000);
      return h;
    },
    follows: ["defer(no_capacity)", "reject(no_capacity)"],
    never: ["turn_open#", "abort", "commit", "close"],
  },
  {
    name: "F2 a host node that hangs: warned, exhausted, told, the session degraded and going on",
    run: () => {
      const h = idle();
      h.feed(h.frame());
      h.advance(3_000);
      return h;
    },
    follows: [
      "budget_warning(node_soft)",
      "budget_exhausted(node_soft)",
      "node_error(node_timeout)",
      "degraded(node_timeout)",
    ],
    never: ["ended"],
  },
  {
    name: "F3 every provider fails: switched, then abort(provider_failure)",
    run: () => {
      const h = idle({}, {}, { llm: ["sim/llm", "sim/llm-b"] });
      h.utter("tell me a story");
      for (let tries = 0; tries < 6 && h.signals("abort").length === 0; tries++) {
        const open = Object.values(h.state.invocations).find((inv) => inv.modality === "llm" && inv.status === "open");
        if (open !== undefined) h.feed(h.outcome(open.id, "error"));
        h.advance(300);
      }
      h.advance(5_000);
      return h;
    },
    follows: ["provider_error#1", "provider_switch#1", "abort#1(provider_failure)", "close#1"],
    never: ["commit"],
  },
  {
    name: "F4 edge overflow by depth and by time: flow control, then a drop notice; the turn goes on",
    run: () => overflowing(100),
    follows: ["flow_xoff", "drop_notice", "commit#1", "close#1"],
  },
  {
    name: "F5 loss inside a sync group: a discontinuity beside the drop notice",
    run: synchronised,
    follows: ["discontinuity"],
  },
  {
    name: "F6 the transport is gone in mid-reply: the turn that was lost cannot go on, and ends once",
    run: () => {
      const h = speaking();
      h.feed(h.control("disconnected", { reason: "line_cut" }));
      h.deliver(1, "lost", 100_000);
      h.advance(60_000);
      return h;
    },
    follows: ["disconnected", "abort#1(transport_disconnect_or_stall)", "close#1"],
    never: ["commit"],
  },
  {
    name: "F7 a stale epoch comes in: refused with its marker, nothing else",
    run: () => {
      const h = idle();
      h.feed({ ...h.control("stop"), epoch: 0 } as never);
      return h;
    },
    follows: ["stale_epoch_reject(stale_epoch_stop)"],
    never: ["abort", "cancel", "stop"],
  },
  {
    name: "F7 revoke and cancel at once: authority wins the tie, one terminal",
    run: () => {
      const h = speaking();
      h.feed(cancel(1), authority(h, "revoked"));
      h.advance(12_000);
      return h;
    },
    follows: ["deauthorized_drain#1", "abort#1(authority_loss)", "close#1"],
    never: ["abort#1(cancelled)", "commit"],
  },
  {
    name: "F7 revoke of a turn that has committed and plays: nothing more leaves, no second terminal",
    run: () => {
      const h = committed();
      h.feed(authority(h, "revoked"));
      h.advance(12_000);
      return h;
    },
    follows: ["commit#1", "close#1"],
    never: ["abort"],
  },
];

describe("fault classes", () => {
  for (const { name, run, follows, never = [] } of scenarios)
    test(name, () => {
      const h = run();
      const told = h.signals();
      let at = -1;
      for (const signal of follows) {
        const next = told.findIndex((one, i) => i > at && one.startsWith(signal));
        expect(
          next,
          `${signal} after ${told.slice(0, at + 1).at(-1) ?? "the start"} in ${told.join(" ")}`,
        ).toBeGreaterThan(at);
        at = next;
      }
      for (const signal of never) expect(told.filter((one) => one.startsWith(signal))).toEqual([]);
      expect(told.filter((one) => /^(commit|abort)#1/.test(one)).length).toBeLessThanOrEqual(1);
      expect(replayJournal(h.config, h.journal)).toMatchObject({ identical: true, steps: h.journal.length });
    });

  test("F8 failover: the old holder dies in mid-reply and comes back; the new one goes on, nothing old is taken, one answer", () => {
    const world = new World(8, { only: new Set() });
    const checkers: Checker[] = [new EpochChecker(), new LifecycleChecker()];
    const heardBy: string[] = [];
    world.trace.listen((event, atNs) => {
      for (const checker of checkers) checker.see(event, atNs);
      if (event.kind === "played" && event.turn > 0) heardBy.push(world.adapter.holder);
    });
    const until = (what: string, done: () => boolean): void => {
      const limitNs = world.clock.nowNs() + msToNs(20_000);
      while (!done() && world.clock.nowNs() < limitNs) world.clock.jump();
      expect(done(), what).toBe(true);
    };
    const [old, next] = world.runtimes;
    const speak = (): void => void world.adapter.device.speak(new Int16Array(300 * 16).fill(1_000));
    world.adapter.start();
    old.takeOver();
    until("the call stands", () => world.adapter.online());
    speak();
    until("the first reply plays", () => heardBy.length > 0);
    old.crash((unsynced) => unsynced);
    world.failover(old);
    until("the successor holds the session", () => next.session !== null && world.adapter.online());
    old.proc.restart();
    old.boot();
    heardBy.length = 0;
    speak();
    until("the second reply plays", () => heardBy.length > 0);
    const over = world.clock.nowNs() + msToNs(5_000);
    while (world.clock.nowNs() < over) world.clock.jump();
    expect(new Set(heardBy)).toEqual(new Set(["rtB"]));
    expect(checkers.flatMap(({ problems }) => problems)).toEqual([]);
    const [first, second, ...more] = world.lives;
    expect([first?.wasCrashed, second?.over, more]).toEqual([true, false, []]);
    expect([first?.replay()?.problem, second?.replay()?.problem]).toEqual(["", ""]);
  });
});
