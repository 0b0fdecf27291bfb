/** What one session shows to whoever looks at it, through the shipped runtime and the loopback line. */
import type { SealedEvidence } from "@rspp/kernel/evidence";
import { replayJournal } from "@rspp/kernel/replay";
import { EVENT_KINDS, type EventKind, type ObservedEvent } from "@rspp/runtime/observers";
import { describe, expect, test } from "vitest";
import { createRig, openCall, type Rig, recordsOf, type SimCall, simConfig, speech, withSettings } from "./rig.ts";

function watch(call: SimCall, kinds: readonly EventKind[]): ObservedEvent[] {
  const seen: ObservedEvent[] = [];
  call.session.events.subscribe({
    kinds,
    onReady: (subscription) => {
      for (let event = subscription.take(); event !== undefined; event = subscription.take()) seen.push(event);
    },
  });
  return seen;
}

function turnsOf(call: SimCall, signal: string): number {
  return call.signals.filter((s) => s.startsWith(`${signal}/`)).length;
}

async function over(rig: Rig, call: SimCall): Promise<void> {
  call.line.end();
  await rig.until(() => rig.runtime.session(call.session.config) === null);
  expect(replayJournal(call.session.config, call.session.journal())).toMatchObject({ identical: true });
}

describe("one session", () => {
  test("F-014 three utterances are three turns, each with its own words, evidence and one terminal", async () => {
    const rig = createRig();
    const transcripts = ["first words", "second words", "third words"];
    const call = openCall(rig, simConfig("three", { stt: { transcripts }, llm: {} }));
    for (let turn = 1; turn <= 3; turn++) {
      call.line.speak(speech(400));
      await rig.until(() => call.line.deliveries().some((d) => d.turn === turn && d.phase === "completed"));
    }
    expect(turnsOf(call, "turn_open")).toBe(3);
    expect(turnsOf(call, "commit")).toBe(3);
    expect(turnsOf(call, "close")).toBe(3);
    for (let turn = 1; turn <= 3; turn++)
      expect(rig.told.get(`three/${turn}`)?.at(-1)).toEqual({ role: "user", text: transcripts[turn - 1] });
    await over(rig, call);
    const sealed = [...recordsOf<SealedEvidence>(rig, "three", "evidence", "manifest").values()];
    expect(sealed.map((s) => [s.missing, s.manifest.turn, s.manifest.terminal?.kind])).toEqual([
      [[], 1, "commit"],
      [[], 2, "commit"],
      [[], 3, "commit"],
    ]);
    expect(new Set(sealed.map((s) => s.manifest.planId)).size).toBe(3);
  });

  test("F-022 one session emits all six kinds; a filtered subscriber sees its own kinds and nothing else", async () => {
    const rig = createRig();
    const config = simConfig("kinds", { stt: { transcripts: ["a question"] } }, { debugEvents: true });
    const call = openCall(rig, config);
    const all = watch(call, EVENT_KINDS);
    const each = EVENT_KINDS.map((kind) => ({ kind, seen: watch(call, [kind]) }));
    const speechOnly = watch(call, ["text", "audio"]);
    call.line.speak(speech(400));
    call.session.receive({ kind: "nonsense", epoch: 1 } as never);
    await rig.until(() => call.line.deliveries().some((d) => d.phase === "completed"));
    await rig.pass(100);
    expect(new Set(all.map((event) => event.kind))).toEqual(new Set(EVENT_KINDS));
    for (const { kind, seen } of each) {
      expect(seen.length, kind).toBe(all.filter((event) => event.kind === kind).length);
      expect(seen.every((event) => event.kind === kind)).toBe(true);
    }
    expect(new Set(speechOnly.map((event) => event.kind))).toEqual(new Set(["text", "audio"]));
    await over(rig, call);
  });

  test("F-013 everything about one turn carries its ids, at the adapter, to observers, and in the records", async () => {
    const rig = createRig();
    const call = openCall(rig, simConfig("ids", { stt: { transcripts: ["one", "two"] } }));
    const seen = watch(call, ["control", "text", "metrics"]);
    call.line.speak(speech(400));
    await rig.until(() => call.line.deliveries().some((d) => d.turn === 1 && d.phase === "completed"));
    call.line.speak(speech(400));
    await rig.until(() => call.line.deliveries().some((d) => d.turn === 2 && d.phase === "completed"));
    await over(rig, call);
    const plans = recordsOf<{ turn?: number }>(rig, "ids", "plan", "plan");
    const planIds = recordsOf<string>(rig, "ids", "plan", "planId");
    const sealed = recordsOf<SealedEvidence>(rig, "ids", "evidence", "manifest");
    const hashes = recordsOf<string>(rig, "ids", "evidence", "hash");
    const addenda = recordsOf<{ manifestHash: string }>(rig, "ids", "delivery_addendum", "addendum");
    for (const turn of [1, 2]) {
      const manifest = sealed.get(turn)?.manifest;
      expect(manifest).toMatchObject({ sessionId: "ids", tenantId: "local", turn, epochAtOpen: 1, epochAtTerminal: 1 });
      expect(manifest?.planId).toBe(planIds.get(turn));
      expect(plans.has(turn)).toBe(true);
      expect(addenda.get(turn)?.manifestHash).toBe(hashes.get(turn));
      const opened = seen.filter((e) => e.kind === "control" && e.signal === "turn_open" && e.turn === turn);
      expect(opened.length).toBe(1);
      expect(opened[0]).toMatchObject({ fields: { planHash: manifest?.planHash } });
      for (const invocation of manifest?.invocations ?? []) expect(invocation.invocationId).not.toBe("");
      expect(new Set(manifest?.invocations.map((i) => i.invocationId)).size).toBe(manifest?.invocations.length);
      const media = call.sent.flatMap((m) => (m.kind === "media" && m.turn === turn ? [m] : []));
      expect(media.map((m) => m.sequence)).toEqual(media.map((_, i) => i + 1));
      expect(new Set(media.map((m) => `${m.epoch}/${m.generation}`)).size).toBe(1);
      // The commit's number is the last of the media (F-025): nothing overtaking can cut the tail.
      const commit = seen.find((e) => e.kind === "control" && e.signal === "commit" && e.turn === turn);
      const fields = commit?.kind === "control" ? Object.values(commit.fields) : [];
      expect(fields).toContain(media.at(-1)?.sequence);
    }
  });

  test("F-042 push to talk: the release ends the utterance at once, after the last word, long before any silence would", async () => {
    const rig = createRig();
    const base = simConfig("ptt", { stt: { transcripts: ["push to talk"] } });
    const call = openCall(rig, withSettings(base, "endpointing", { endpoint_silence_ms: 5_000 }));
    await rig.pass(200);
    let spokenNs = 0;
    call.line.speak(speech(605), { onSpoken: () => (spokenNs = rig.clock.nowNs()) });
    await rig.until(() => spokenNs > 0);
    call.line.endOfUtterance();
    const releasedNs = rig.clock.nowNs();
    await rig.until(() => call.signals.includes("turn_open/1"));
    expect((rig.clock.nowNs() - releasedNs) / 1e6).toBeLessThanOrEqual(40);
    // Nothing of the speech was left out: all of it had been pushed to the recogniser before it was finished.
    const positioned = call.received.find((m) => m.kind === "control" && m.signal === "end_of_utterance");
    const voiced = call.received.filter(
      (m) => m.kind === "audio" && new Int16Array(m.bytes.slice().buffer).some((v) => v !== 0),
    );
    expect(positioned).toMatchObject({ controlClass: "positioned" });
    const last = voiced.at(-1);
    expect(last?.kind === "audio" && last.sequence).toBeLessThanOrEqual(
      positioned?.kind === "control" ? (positioned.lastMediaSequence ?? 0) : 0,
    );
    expect(rig.told.get("ptt/1")?.at(-1)?.text).toBe("push to talk");
    await over(rig, call);
  });

  test("F-040 cancel latencies are read as percentiles from the runtime's metrics", async () => {
    const rig = createRig();
    const transcripts = Array.from({ length: 6 }, (_, i) => `question ${i}`);
    const text = "Well then, here it is. A reply that is long enough to be cut in the middle of its words, every time.";
    const call = openCall(rig, simConfig("metrics", { stt: { transcripts }, llm: { text, chunk_ms: 150 } }));
    for (let turn = 1; turn <= 5; turn++) {
      call.line.speak(speech(300));
      await rig.until(() => call.line.recording().ranges.some((r) => r.turn === turn && r.toUs > 300_000));
    }
    call.line.speak(speech(300));
    await rig.until(() => call.line.fences().length === 5);
    const fence = rig.runtime.metrics.read("cancel_fence_ms");
    expect(fence?.count).toBe(5);
    for (const value of [fence?.p50Ms, fence?.p95Ms, fence?.p99Ms]) expect(value).toBeGreaterThanOrEqual(0);
    expect(fence?.p99Ms).toBeLessThan(75);
    expect(rig.runtime.metrics.snapshot()).toHaveProperty("node_cancel_ms{node=llm}");
    await over(rig, call);
  });
});
