import { describe, expect, test } from "vitest";
import type { Effect, SignalEvent } from "./effect.ts";
import type { InputBody } from "./input.ts";
import type { AdmissionDefinition } from "./resilience-definition.ts";
import { checkReplay } from "./testing/checked-replay.ts";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "./testing/harness.ts";

function open(admission: AdmissionDefinition): KernelHarness {
  const h = new KernelHarness(testConfig({ ...assistantGraph(), admission }, { policy: POLICY }));
  h.connect();
  return h;
}

function sheds(h: KernelHarness): SignalEvent[] {
  return h.log.flatMap(({ effect }) =>
    effect.type === "signal" && effect.event.signal === "shed" ? [effect.event] : [],
  );
}

/** Frames that all come in one batch, as after a stall of the shell. */
function burst(h: KernelHarness, frames: number): InputBody[] {
  return Array.from({ length: frames }, () => h.frame());
}

/** The detector answers whatever it was asked, until it is asked nothing more. */
function answered(h: KernelHarness, effects: readonly Effect[]): void {
  for (const effect of effects) {
    if (effect.type !== "node_event") continue;
    const { command, mediaUs, durationUs } = effect;
    const body = { type: "activity", speech: false, probability: 0, mediaUs, durationUs } as const;
    const more = h.feed(
      { type: "node_emitted", command, index: 0, port: "activity", body },
      { type: "node_done", command },
    );
    answered(h, more);
  }
}

describe("F1 local admission at the three scheduling points", () => {
  test("F1 edge_enqueue: beyond the session's queue the newest live event is shed, told with its range", () => {
    const h = open({ queuedMax: 10 });
    // The detector is asked about the first and has not answered: what follows waits for it.
    h.feed(...burst(h, 30));
    const told = sheds(h);
    expect(told.map(({ fields, reason }) => [fields.scope, fields.edge, reason])).toEqual([
      ["edge_enqueue", "e1", "queue_full"],
      ["edge_enqueue", "e2", "queue_full"],
    ]);
    for (const { fields } of told) expect(Number(fields.toSequence)).toBeGreaterThan(Number(fields.fromSequence));
    const waiting = h.state.run.edges.reduce((sum, edge) => sum + (edge?.queue.size ?? 0), 0);
    expect(waiting).toBeLessThanOrEqual(10);
    checkReplay(h);
  });

  test("F1 edge_dequeue: what has grown too old on its edge is shed, the fresh goes on", () => {
    const h = open({ ageMaxMs: 100 });
    const [command = 0] = h.feed(h.frame()).flatMap((e) => (e.type === "node_event" ? [e.command] : []));
    h.feed(h.frame(), h.frame());
    h.nowNs += 200_000_000;
    h.feed(h.frame());
    const asked = h.feed({ type: "node_done", command }).filter((e) => e.type === "node_event");
    expect(sheds(h).map(({ fields, reason }) => [fields.scope, fields.edge, fields.count, reason])).toEqual([
      ["edge_dequeue", "e1", 2, "queue_time"],
    ]);
    expect(asked).toHaveLength(1);
    checkReplay(h);
  });

  test("F1 node_dispatch: beyond its share of one step a session's live events are shed", () => {
    const h = open({ dispatchMax: 4 });
    h.feed(...burst(h, 12));
    const told = sheds(h);
    expect(told[0]).toMatchObject({ reason: "capacity", fields: { scope: "node_dispatch" } });
    expect(h.state.prelude.preroll.size).toBeLessThan(12);
    checkReplay(h);
  });

  test("F1 NF-006 a session that sheds still hears, answers and ends each turn once", () => {
    for (const admission of [{ queuedMax: 6 }, { ageMaxMs: 40 }, { dispatchMax: 3 }]) {
      const h = open(admission);
      for (let turn = 1; turn <= 3; turn++) {
        const asked = h.feed(...burst(h, 40));
        h.advance(100);
        answered(h, asked);
        h.hear(false, 4);
        h.utter("tell me a story");
        h.reply("Once upon a time there was a fox.");
        h.deliver(turn, "accepted", 0);
        h.deliver(turn, "started", 0);
        h.advance(2_000);
        h.deliver(turn, "completed", h.state.turns.at(-1)?.output.sentUs ?? 0);
      }
      expect(sheds(h).length).toBeGreaterThan(0);
      expect([...h.signals("commit"), ...h.signals("abort")]).toHaveLength(h.signals("turn_open#").length);
      expect(h.signals("commit").length).toBeGreaterThan(0);
      checkReplay(h);
    }
  });

  test("F1 refused at the turn's door under overload: deferred, told, no turn and no terminal", () => {
    const h = open({ queuedMax: 10 });
    h.feed({ type: "capacity", admit: false, outcome: "defer", reason: "overload", evidenceQuotaBytes: -1 });
    h.utter("tell me a story");
    expect(h.signals("defer")).toEqual(["defer(overload)"]);
    expect([...h.signals("commit"), ...h.signals("abort")]).toEqual([]);
    h.feed({ type: "capacity", admit: true, outcome: "defer", reason: "", evidenceQuotaBytes: -1 });
    h.utter("and now");
    h.reply("A fox.");
    expect(h.signals("commit")).toEqual(["commit#1"]);
    checkReplay(h);
  });

  test("a session without bounds sheds nothing", () => {
    const h = open({});
    h.feed(...burst(h, 60));
    expect(sheds(h)).toEqual([]);
  });
});
