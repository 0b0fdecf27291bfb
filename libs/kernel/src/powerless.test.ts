import type { MonoNs } from "@rspp/base/brand";
import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import type { InputBody } from "./input.ts";
import { type KernelHarness, POLICY, testConfig } from "./testing/harness.ts";
import { authority, cancel, committed, idle, lastMessages, speaking } from "./testing/scenes.ts";

const CAUSED = ["egress_media", "egress_text", "node_event", "provider_open", "provider_push_audio", "provider_finish"];
const MORE = ["provider_push_text", "provider_push_messages", "state_write"];
const caused = (effects: readonly Effect[]) =>
  effects.map((effect) => effect.type).filter((type) => [...CAUSED, ...MORE].includes(type));

const MS = 1_000_000;
const soon = (ms: number) => ({ authority: { epoch: 1, incarnation: "store-1", deadlineNs: (ms * MS) as MonoNs } });

/** Voice activity that the host still owes for what it was asked about. */
function owed(effects: readonly Effect[]): InputBody[] {
  return effects.flatMap((effect): InputBody[] => {
    if (effect.type !== "node_event") return [];
    const { command, mediaUs, durationUs } = effect;
    const body = { type: "activity", speech: true, probability: 1, mediaUs, durationUs } as const;
    return [
      { type: "node_emitted", command, index: 0, port: "activity", body },
      { type: "node_done", command },
    ];
  });
}

/** Frames on the edge before the detector, one of them asked about, none answered. */
function waiting(h: KernelHarness): InputBody[] {
  h.hear(true, 1);
  const asked = h.feed(h.frame());
  for (let i = 0; i < 6; i++) h.feed(h.frame());
  return owed(asked);
}

describe("§7 nothing is caused without authority", () => {
  for (const kind of ["revoked", "granted_elsewhere", "expired"] as const)
    test(`F-156 ${kind}: late voice activity and frames on edges ask nobody and open nothing`, () => {
      const h = idle({}, soon(10_000), { endpointing: { onset_frames: 1 } });
      const late = waiting(h);
      if (kind === "expired") h.nowNs = 10_001 * MS;
      const effects = h.feed(...(kind === "expired" ? [] : [authority(h, kind)]), ...late);
      for (let i = 0; i < 10; i++) {
        const out = [...h.feed(h.frame()), ...h.advance(20)];
        effects.push(...out, ...h.feed(...owed(out)));
      }
      effects.push(...h.advance(3_000));
      expect(caused(effects)).toEqual([]);
      expect(h.state.prelude.utterance.phase).toBe("none");
    });

  test("F-156 an utterance whose lease runs out is given up like that of a revoked one", () => {
    const h = idle({}, soon(10_000));
    h.hear(true, 6);
    h.nowNs = 10_001 * MS;
    const effects = h.feed(h.frame());
    expect(effects.flatMap((e) => (e.type === "provider_cancel" ? [e.reason] : []))).toEqual(["authority_loss"]);
    expect(h.state.prelude.hearing).toBe(null);
  });

  for (const kind of ["revoked", "granted_elsewhere"] as const)
    test(`${kind}: the session drains and ends`, () => {
      const h = idle();
      h.feed(authority(h, kind));
      expect(h.state.lifecycle.phase).toBe("ended");
      const g = speaking();
      g.feed(authority(g, kind));
      expect(g.state.lifecycle.phase).toBe("draining");
      expect(g.signals("abort")).toEqual(["abort#1(authority_loss)"]);
      g.advance(11_000);
      expect(g.state.lifecycle.phase).toBe("ended");
    });

  test("an expired one listens again once renewed, with nothing left over from before", () => {
    const h = idle({}, soon(10_000));
    const late = waiting(h);
    h.nowNs = 10_001 * MS;
    h.feed(...late);
    h.hear(true, 4);
    h.feed({ type: "authority", kind: "renewed", epoch: 1, deadlineNs: (9_000_000 * MS) as MonoNs });
    h.utter("hello");
    expect(h.signals("turn_open#")).toEqual(["turn_open#1"]);
    expect(lastMessages(h)).toEqual(["user: hello"]);
    expect(h.state.lifecycle.phase).toBe("active");
  });

  test("voice activity of before that comes only after the renewal begins nothing", () => {
    const h = idle({}, soon(10_000), { endpointing: { onset_frames: 1 } });
    h.hear(false, 1);
    const late = owed(h.feed(h.frame()));
    h.nowNs = 10_001 * MS;
    h.feed({ type: "timer", id: "none" });
    h.feed({ type: "authority", kind: "renewed", epoch: 1, deadlineNs: (9_000_000 * MS) as MonoNs }, ...late);
    expect(h.state.prelude.utterance).toMatchObject({ number: 0, phase: "none" });
  });

  test("what was heard meanwhile is written once the lease is held again", () => {
    const h = committed({}, soon(10_000));
    h.nowNs = 10_001 * MS;
    const lapsed = h.deliver(1, "progress", 500_000);
    lapsed.push(...h.advance(15_000));
    expect(h.state.turns).toEqual([]);
    expect(caused(lapsed)).toEqual([]);
    const back = h.feed({ type: "authority", kind: "renewed", epoch: 1, deadlineNs: (9_000_000 * MS) as MonoNs });
    expect(back).toContainEqual(expect.objectContaining({ type: "state_write", version: h.state.stateVersion }));
  });
});

describe("§7 what losing and regaining the lease leaves behind", () => {
  const renewed = (epoch: number, ms: number): InputBody => ({
    type: "authority",
    kind: "renewed",
    epoch,
    deadlineNs: (ms * MS) as MonoNs,
  });
  const writes = (effects: readonly Effect[]) => effects.filter((effect) => effect.type === "state_write").length;

  test("a write that is owed waits for the lease, is made once, and nothing is written that is not owed", () => {
    const h = committed({}, soon(10_000));
    h.nowNs = 10_001 * MS;
    h.deliver(1, "progress", 500_000);
    h.advance(15_000);
    // The word of an epoch that nobody knows changes nothing, and pays no debt.
    expect(writes(h.feed(renewed(0, 9_000_000)))).toBe(0);
    expect(writes(h.feed(renewed(1, 40_000)))).toBe(1);
    expect(writes(h.feed(renewed(1, 50_000)))).toBe(0);
    h.nowNs = 50_001 * MS;
    h.feed({ type: "timer", id: "none" });
    expect(h.state.authority.held).toBe("expired");
    expect(writes(h.feed(renewed(1, 9_000_000)))).toBe(0);
  });

  test("a renewal of a lease that is held writes nothing, owed or not", () => {
    const h = idle({}, soon(10_000));
    h.state.stateWriteOwed = true;
    expect(writes(h.feed(renewed(1, 20_000)))).toBe(0);
    expect(h.state.stateWriteOwed).toBe(true);
  });

  test("lease_rotated names the input that it follows, and that input's instant", () => {
    const h = idle();
    h.feed(h.frame());
    const before = h.state.inputSeq;
    const [effect] = h.feed(authority(h, "rotated")).filter((e) => e.type === "signal");
    expect(effect?.type === "signal" ? effect.event : null).toMatchObject({
      signal: "lease_rotated",
      cause: before + 1,
    });
  });

  test("what still waited on the session's own edges is gone, with its timers, its place in the lane and the pre-roll", () => {
    const h = idle({}, soon(10_000), { endpointing: { onset_frames: 1 } });
    waiting(h);
    const waits = () => h.state.run.edges.reduce((sum, edge) => sum + (edge?.queue.size ?? 0), 0);
    expect(waits()).toBeGreaterThan(0);
    h.nowNs = 10_001 * MS;
    h.feed({ type: "timer", id: "none" });
    expect(waits()).toBe(0);
    expect(h.state.lanes.data.filter((item) => item.turn === 0)).toEqual([]);
    expect(h.state.prelude.preroll.size).toBe(0);
    expect(Object.keys(h.state.timers).filter((id) => id.startsWith("edge:0:"))).toEqual([]);
  });
});

describe("§2 DRAINING", () => {
  test("takes audio while a turn lives, so that its caller can interrupt; opens no new one", () => {
    const h = committed({ holdOnCandidate: false });
    h.feed({ type: "operator", command: "drain", turn: 0, reason: "deploy" });
    h.utter("stop that please");
    expect(h.signals("barge_in")).toEqual(["barge_in#1(barge_in)"]);
    expect(h.signals("reject")).toEqual(["reject(session_draining)"]);
    h.fenceAck(1, 100_000);
    expect(h.state.lifecycle.phase).toBe("ended");
    const counted = h.state.counters.ignoredInputs;
    h.feed(h.frame());
    expect(h.state.counters.ignoredInputs).toBe(counted + 1);
  });
});

describe("F2 a host node that hangs", () => {
  test("is warned of at its soft budget, given up at twice that, reset and asked again", () => {
    const h = idle();
    const [first] = h.feed(h.frame()).filter((e) => e.type === "node_event");
    h.feed(h.frame());
    h.advance(799);
    expect(h.signals("budget_warning")).toEqual([]);
    h.advance(2);
    expect(h.signals("budget_warning")).toEqual(["budget_warning(node_soft)"]);
    const effects = h.advance(800);
    expect(h.signals("node_error")).toEqual(["node_error(node_timeout)"]);
    expect(h.signals("degraded")).toEqual(["degraded(node_timeout)"]);
    expect(effects).toContainEqual({ type: "node_reset", node: "vad", reason: "node_timeout" });
    expect(effects).toContainEqual(expect.objectContaining({ type: "status", degraded: true }));
    expect(effects.filter((e) => e.type === "node_event")).toHaveLength(1);
    if (first?.type === "node_event") h.feed({ type: "node_done", command: first.command });
    expect(h.state.degraded).toBe(true);
  });

  test("recovers when it answers again, and then hears", () => {
    const h = idle();
    h.feed(h.frame(), h.frame());
    const asked = h.advance(1_601);
    const effects = h.feed(...owed(asked));
    expect(h.signals("recovered")).toEqual(["recovered(node_answers_again)"]);
    expect(effects).toContainEqual(expect.objectContaining({ type: "status", degraded: false, reason: "recovered" }));
    h.utter("hello");
    expect(h.signals("turn_open#")).toEqual(["turn_open#1"]);
  });

  test("one that never answers again is told once and leaves nothing running", () => {
    const h = idle();
    for (let i = 0; i < 10; i++) h.feed(h.frame());
    h.advance(60_000);
    expect(h.signals("node_error")).toHaveLength(1);
    expect(h.signals("budget_warning")).toHaveLength(1);
    expect([h.state.commands, Object.keys(h.state.timers)]).toEqual([{}, []]);
  });

  test("one that answers in time costs one timer per soft budget, not one per frame", () => {
    const h = idle();
    const timers = h.hear(false, 200).filter((e) => e.type === "timer_set" || e.type === "timer_clear");
    expect(timers.length).toBeLessThanOrEqual(6);
  });
});

describe("F-037 a provider that ignores its cancel", () => {
  test("is told stopped and degraded; the session recovers with the node's next success", () => {
    const h = idle({ ...POLICY }, { budgets: testConfig({ pipelineVersion: "x", nodes: [], edges: [] }).budgets });
    h.utter("tell me a story");
    h.feed(cancel(1));
    h.advance(80);
    expect(h.signals("node_stopped")).toEqual(["node_stopped(cancel_ignored)"]);
    expect(h.signals("degraded")).toEqual(["degraded(cancel_ignored)"]);
    expect(h.state.degraded).toBe(true);
    h.fenceAck(1, 0);
    h.utter("and now");
    h.feed(h.textChunk(h.open("llm"), "Fine. "), h.outcome(h.open("llm")));
    expect(h.signals("recovered")).toEqual(["recovered(node_answers_again)"]);
    expect(h.state.degraded).toBe(false);
  });
});
