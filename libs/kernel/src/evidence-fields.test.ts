import { describe, expect, test } from "vitest";
import type { Effect, SignalEvent } from "./effect.ts";
import { type KernelHarness, testConfig } from "./testing/harness.ts";
import {
  addendum,
  asked,
  authority,
  cancel,
  committed,
  conversation,
  idle,
  records,
  say,
  sealed,
  told,
} from "./testing/scenes.ts";

const events = (effects: readonly Effect[]): SignalEvent[] =>
  effects.flatMap((effect) => (effect.type === "signal" ? [effect.event] : []));

/** Sequences of the inputs of this kind, in the order they came. */
function inputs(h: KernelHarness, type: string, modality = ""): number[] {
  const names = new Map<number, string>();
  for (const { effect } of h.log) if (effect.type === "provider_open") names.set(effect.invocation, effect.modality);
  return h.journal.flatMap(({ batch }) =>
    batch.inputs.flatMap(({ seq, body }) => {
      const of = "invocation" in body && modality !== "" ? names.get(body.invocation) : modality;
      return body.type === type && of === modality ? [seq] : [];
    }),
  );
}

describe("F-150 evidence of a turn", () => {
  test("ordering markers: first and last runtime sequence of Control and of Data", () => {
    const h = committed();
    const own = h.log.flatMap(({ effect }) =>
      effect.type === "signal" && effect.event.turn === 1 ? [effect.event] : [],
    );
    const at = (name: string) => own.find((event) => event.signal === name)?.seq ?? 0;
    const [control, data, ...more] = sealed(h, 1).manifest.orderingMarkers;
    expect(more).toEqual([]);
    expect(control).toEqual({ lane: "control", first: at("turn_open"), last: at("close") });
    expect(data?.lane).toBe("data");
    expect(data?.first).toBeGreaterThan(at("turn_open"));
    expect(data?.first).toBeLessThan(at("turn_open") + 5);
    // The end of the stream is the turn's last Data; the commit follows from it.
    expect(data?.last).toBeLessThan(at("commit"));
    expect(data?.last).toBeGreaterThan(at("commit") - 4);
  });

  test("non-deterministic inputs name the inputs that brought them", () => {
    const h = committed();
    const found = sealed(h, 1).manifest.nondeterministicInputs ?? [];
    expect(found.map((input) => input.kind)).toEqual(["proposal", "stt", "llm", "tts"]);
    for (const modality of ["stt", "llm", "tts"]) {
      const chunks = inputs(h, "provider_chunk", modality);
      const ends = inputs(h, "provider_outcome", modality);
      const entry = found.find((input) => input.kind === modality);
      expect(entry).toMatchObject({ sequence: chunks[0], last: ends.at(-1) });
    }
    expect(found[0]).toMatchObject({ ref: "endpoint", sequence: inputs(h, "provider_outcome", "stt")[0] });
  });

  test("the recognition of its utterance stands in it, with each attempt's normalised outcome", () => {
    const h = idle({}, {}, { stt: ["sim/a", "sim/b"] });
    h.hear(true, 6);
    h.feed(h.outcome(h.open("stt"), "error"));
    h.hear(false, 6);
    const stt = Object.values(h.state.invocations).find((inv) => inv.modality === "stt")?.id ?? 0;
    h.feed(h.textChunk(stt, "hello", { final: false }));
    h.advance(1_001);
    h.reply("Fine.");
    const outcomes = sealed(h, 1).manifest.invocations.map((inv) => `${inv.provider} ${inv.attempt} ${inv.outcome}`);
    expect(outcomes).toEqual(["sim/a 1 error", "sim/b 2 cancelled", "sim/llm 1 success", "sim/tts 1 success"]);
    expect(sealed(h, 1).missing).toEqual([]);
  });

  test("a cancel of the session is told so, in the evidence or in the addendum", () => {
    const h = asked();
    h.feed({ type: "operator", command: "cancel_session", turn: 0, reason: "" });
    expect(sealed(h, 1).manifest.cancel).toMatchObject({ scope: "session", reason: "operator" });
    expect(sealed(h, 1).manifest.nondeterministicInputs?.at(-1)).toMatchObject({
      kind: "cancel",
      sequence: inputs(h, "operator").at(-1),
    });
    const g = committed();
    g.feed(g.control("cancel", { turn: 1, fields: { scope: "session" } }));
    g.fenceAck(1, 0);
    expect(addendum(g, 1)).toMatchObject({ cancelScope: "session" });
    const f = asked();
    f.feed(cancel(1));
    expect(sealed(f, 1).manifest.cancel).toMatchObject({ scope: "turn" });
  });

  test("T3 a stale lease is refused with both epochs: the one seen and the one known", () => {
    const h = committed();
    h.feed(authority(h, "granted_elsewhere"));
    const [refused] = events(h.feed(h.frame()));
    expect(refused).toMatchObject({ signal: "stale_epoch_reject", fields: { epochOld: 1, epochNew: 2 } });
    const g = committed({ secondProposal: "preempt" });
    g.feed(authority(g, "granted_elsewhere"));
    const pre = events(g.feed(say(g, "more"))).find((event) => event.signal === "stale_epoch_reject");
    expect(pre?.fields).toMatchObject({ scope: "pre_turn", epochOld: 1, epochNew: 2 });
  });
});

describe("F-153 L0 keeps no values", () => {
  const variables = { name: "Ada", vip: true };
  const at = (ceiling: "L0" | "L1") => ({
    variables,
    snapshotEveryTurns: 1,
    recording: { ...testConfig({ pipelineVersion: "x", nodes: [], edges: [] }).recording, ceiling },
  });
  const kept = (h: KernelHarness) =>
    JSON.stringify(
      h.log.flatMap(({ effect }) => (effect.type === "record" || effect.type === "signal" ? [effect] : [])),
    );

  test("no variables, no state, no digits in records and signals; from L1 on they are there", () => {
    for (const ceiling of ["L0", "L1"] as const) {
      const h = committed({}, at(ceiling));
      h.feed(h.control("dtmf", { turn: 0, fields: { "telephony.digit": "7391" } }));
      h.feed(cancel(1));
      h.fenceAck(1, 0);
      const text = kept(h);
      expect(text.includes("Ada")).toBe(ceiling === "L1");
      expect(text.includes("7391")).toBe(ceiling === "L1");
      expect(text).toContain("telephony.digit");
      expect(records(h, "state_snapshot")).toHaveLength(ceiling === "L1" ? 2 : 0);
    }
  });

  test("the plan tells by a hash whether the variables were the same", () => {
    const plan = (values: Record<string, string>) => {
      const [record] = records(asked({}, { ...at("L0"), variables: values }), "plan");
      return record?.kind === "plan" ? (record.plan as { variables: unknown; variablesHash: string }) : null;
    };
    expect(plan({ a: "1" })?.variables).toEqual({});
    expect(plan({ a: "1" })?.variablesHash).toBe(plan({ a: "1" })?.variablesHash);
    expect(plan({ a: "1" })?.variablesHash).not.toBe(plan({ a: "2" })?.variablesHash);
  });

  test("a rise of the level leaves a state snapshot that a replay can start from, with no turn open", () => {
    const h = idle({}, at("L1"));
    const snapshots = () => records(h, "state_snapshot").length;
    expect(snapshots()).toBe(1);
    h.feed({ type: "recording_pressure", fill: 0, lagMs: 5_000 });
    expect(h.state.recording.level).toBe("L0");
    h.utter("one");
    h.feed({ type: "recording_pressure", fill: 0, lagMs: 0 });
    h.advance(1_500);
    h.feed({ type: "recording_pressure", fill: 0, lagMs: 0 });
    h.feed(cancel(1));
    h.advance(9_000);
    h.feed({ type: "recording_pressure", fill: 0, lagMs: 0 });
    h.utter("two");
    expect(snapshots()).toBe(1);
    h.feed(cancel(2));
    h.fenceAck(2, 0);
    expect(h.state.recording.level).toBe("L1");
    expect(h.signals("recording_level_changed")).toHaveLength(2);
    expect(snapshots()).toBe(2);
  });
});

describe("T11 F-140 late text of a closed turn", () => {
  function late(lateEvents: "drop" | "remap" | "diagnose", chunks = 2): { h: KernelHarness; effects: Effect[] } {
    const h = asked({ lateEvents });
    const llm = h.open("llm");
    h.feed(cancel(1));
    h.fenceAck(1, 0);
    const effects: Effect[] = [];
    for (let i = 0; i < chunks; i++) effects.push(...h.feed({ ...h.textChunk(llm, "after all. ") }));
    effects.push(...h.feed(h.outcome(llm)));
    return { h, effects };
  }

  test("remap: it becomes one new proposal, said as a turn of its own", () => {
    const { h, effects } = late("remap");
    expect(told(effects).filter((s) => s.startsWith("turn_open"))).toEqual([
      "turn_open_proposed(late_event)",
      "turn_open#2",
    ]);
    h.speakPending();
    h.deliver(2, "accepted", 0);
    h.deliver(2, "started", 0);
    h.advance(2_000);
    h.deliver(2, "completed", h.state.turns[0]?.output.sentUs ?? 0);
    expect(conversation(h).at(-1)).toBe("assistant: after all. after all.");
    expect([...h.signals("close"), ...h.signals("abort")]).toEqual(["close#1", "close#2", "abort#1(cancelled)"]);
  });

  test("remap: what never acknowledges is proposed when its grace is over, and no more than its bound", () => {
    const h = asked({ lateEvents: "remap" });
    const llm = h.open("llm");
    h.feed(cancel(1));
    for (let i = 0; i < 80; i++) h.feed(h.textChunk(llm, "go on "));
    expect(h.state.invocations[llm]?.late).toHaveLength(64);
    h.fenceAck(1, 0);
    h.advance(80);
    expect(h.signals("turn_open#2")).toEqual(["turn_open#2"]);
  });

  test("drop and diagnose propose nothing; diagnose leaves a marker", () => {
    for (const policy of ["drop", "diagnose"] as const) {
      const { h, effects } = late(policy);
      expect(h.signals("turn_open#")).toEqual(["turn_open#1"]);
      const marked = effects.filter((e) => e.type === "telemetry" && e.name === "late_event");
      expect(marked).toHaveLength(0);
    }
    const h = asked({ lateEvents: "diagnose" });
    const llm = h.open("llm");
    h.feed(cancel(1));
    const effects = h.feed(h.textChunk(llm, "late"));
    expect(effects.filter((e) => e.type === "telemetry" && e.name === "late_event")).toHaveLength(1);
  });
});

describe("NF-018 media time is followed from the first frame", () => {
  test("frames map it; a jump beyond its bound rebases and is told, one that runs backwards is refused", () => {
    const h = idle();
    h.hear(false, 5);
    expect(h.state.timebase).toMatchObject({ mapped: true, lastEndUs: 100_000, errorCount: 5 });
    h.mediaUs += 5_000_000;
    expect(h.hear(false, 1)).toContainEqual(expect.objectContaining({ type: "telemetry", name: "timebase_rebased" }));
    h.mediaUs = 0;
    const before = h.state.counters.ignoredInputs;
    const effects = h.hear(false, 1);
    expect(h.state.counters.ignoredInputs).toBe(before + 1);
    expect(effects.some((effect) => effect.type === "node_event")).toBe(false);
  });
});
