import { asMonoNs, msToNs } from "@rspp/base/brand";
import { createSystemClock } from "@rspp/host/system-clock";
import { replayJournal } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { assistantGraph, testConfig } from "@rspp/kernel/testing/harness";
import { describe, expect, test } from "vitest";
import { EVENT_KINDS, type ObservedEvent } from "./observers.ts";
import { createRuntime } from "./runtime.ts";
import { createMemoryStore } from "./spool/memory-store.ts";
import { createSpool } from "./spool/spool.ts";
import { bench } from "./testing/bench.ts";
import { FakeTransport, fakeProviders, fakeVad } from "./testing/fakes.ts";

const L1 = (quota: number) => ({ recording: { policyId: "r@1", ceiling: "L1", evidenceQuotaBytes: quota } }) as const;

describe("runtime with the kernel", () => {
  test("a spoken question is answered, evidence is appended before commit is told, and replay equals live", async () => {
    const b = bench();
    const { session, line } = b.open();
    const all: ObservedEvent[] = [];
    session.events.subscribe({
      kinds: EVENT_KINDS,
      onReady: (s) => {
        for (let event = s.take(); event !== undefined; event = s.take()) all.push(event);
      },
    });
    await b.talk(line, 20, 20);
    await b.until(() => line.sent.some((m) => m.kind === "media" && m.end));
    await b.pass(20_000);
    expect(line.signals().filter((s) => s.endsWith("/1"))).toEqual(
      expect.arrayContaining(["turn_open/1", "commit/1", "close/1"]),
    );
    expect(line.sent.some((m) => m.kind === "text" && m.role === "user" && m.text === "hello")).toBe(true);
    session.operator("end", { reason: "done" });
    const end = await session.ended;
    expect(end).toMatchObject({ reason: "done", forced: false });
    expect(end.stats.payloads).toMatchObject({ turnItems: 0, missing: 0 });
    expect(end.stats).toMatchObject({ openInvocations: 0, openTimers: 0, mediaDropped: 0, evidenceFailures: 0 });
    const replay = replayJournal(session.config, session.journal());
    expect(replay).toMatchObject({ identical: true, steps: session.journal().length });
    const records = b.spool.readSession(session.id).runs[0]?.records.map((r) => r.kind) ?? [];
    expect(records).toEqual(
      expect.arrayContaining(["session_plan", "plan", "evidence", "delivery_addendum", "session_end"]),
    );
    expect(b.spool.verify().ok).toBe(true);
    expect(b.spool.measures().reservedBytes).toBe(0);
    for (const name of [
      "turn_open_ms",
      "first_output_ms",
      "voice_to_voice_ms",
      "resolved_turn_plan_build_ms",
    ] as const) {
      expect(b.runtime.metrics.read(name)?.count, name).toBe(1);
    }
    expect(new Set(all.map((e) => e.kind))).toEqual(new Set(["audio", "text", "control", "metrics", "debug"]));
  });

  test("F-033 F-040 a barge-in cuts playback: fence acknowledged, no later frame of that turn, latencies measured", async () => {
    const b = bench();
    const { session, line } = b.open();
    await b.talk(line, 20, 20);
    await b.until(() => line.played.length > 10);
    await b.talk(line, 20, 20);
    const at = line.sent.findIndex((m) => m.kind === "fence" && m.turn === 1);
    expect(at).toBeGreaterThan(0);
    expect(line.sent.slice(at).some((m) => m.kind === "media" && m.turn === 1)).toBe(false);
    expect(b.runtime.metrics.read("cancel_fence_ms")?.count).toBe(1);
    await b.until(() => line.signals().includes("close/2"));
    await b.pass(30_000);
    session.operator("end", { reason: "done" });
    const end = await session.ended;
    expect(end.stats.payloads.turnItems).toBe(0);
    expect(replayJournal(session.config, session.journal()).identical).toBe(true);
    expect(b.spool.verify().ok).toBe(true);
  });

  test("F-153 at L1 the journal in the spool replays to the same effects", async () => {
    const b = bench();
    const { session, line } = b.open(
      { ...L1(testConfig(assistantGraph()).recording.evidenceQuotaBytes), systemPrompt: [{ ref: 1, from: 0, to: 9 }] },
      { 1: "be polite" },
    );
    await b.talk(line, 20, 20);
    await b.until(() => line.signals().includes("commit/1"));
    session.operator("end");
    await session.ended;
    const read = b.spool.readSession(session.id);
    expect(read.problems).toEqual([]);
    const run = read.runs[0];
    const { config } = (run?.start ?? {}) as { config: SessionConfig };
    expect(run?.entries.length).toBe(session.journal().length);
    expect(replayJournal(config, run?.entries ?? [])).toMatchObject({ identical: true });
    const handles = session
      .journal()
      .flatMap((e) => e.batch.inputs.flatMap((i) => (i.body.type === "audio" ? [i.body.payload.hash] : [])));
    expect(handles[0]).toMatch(/^[0-9a-f]{16}$/);
  });

  test("say: the agent speaks first, from a text of its own", async () => {
    const b = bench();
    const { session, line } = b.open();
    const said = session.say("Good morning.");
    expect(said).toMatchObject({ ok: true, value: { chars: 13 } });
    expect(session.say("  ")).toMatchObject({ ok: false, error: { code: "text_invalid" } });
    await b.until(() => line.signals().includes("commit/1"));
    expect(b.providers.log).toContain("open tts 1");
    expect(b.providers.log).not.toContain("open llm 1");
    await b.pass(10_000);
    expect(line.played.length).toBe(39);
  });

  test("F-022 one session emits all six kinds; bad ingress is refused by field and changes nothing", async () => {
    const b = bench();
    const { session, line } = b.open({ debugEvents: true });
    const seen = new Set<string>();
    session.events.subscribe({
      kinds: EVENT_KINDS,
      onReady: (s) => {
        for (let event = s.take(); event !== undefined; event = s.take()) seen.add(event.kind);
      },
    });
    const frame = { kind: "audio", epoch: 1, sequence: 1, mediaUs: 0, durationUs: 20_000, bytes: new Uint8Array(640) };
    const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 };
    const bad: unknown[] = [
      null,
      { kind: "video", epoch: 1 },
      { ...frame, format, epoch: -1 },
      { ...frame, format, durationUs: 40_000 },
      { ...frame, format: { ...format, rateHz: 1e9 } },
      { ...frame, format: { ...format, codec: "mp3" } },
      { ...frame, format, bytes: new Uint8Array(70_000) },
      { ...frame, format, bytes: "text" },
      { kind: "control", epoch: 1, sequence: 1, signal: "commit", controlClass: "overtaking" },
      { kind: "control", epoch: 1, sequence: 1, signal: "dtmf", controlClass: "overtaking", fields: { a: {} } },
      { kind: "delivery", epoch: 1, turn: 1, generation: 1, state: "nearly", playedUs: 0 },
      { kind: "fence_ack", epoch: 1, turn: 1.5, generation: 1, playedUs: 0, flushed: 0 },
    ];
    for (const message of bad) session.receive(message as never);
    const fields = [
      "message",
      "kind",
      "epoch",
      "durationUs",
      "format.rateHz",
      "format.codec",
      "bytes",
      "signal",
      "fields.a",
      "state",
      "turn",
    ];
    expect(Object.keys(session.stats().ingressRefused).sort()).toEqual(fields.sort());
    expect(session.stats().lastRefusal?.remedy).toMatch(/send one/);
    await b.talk(line, 20, 20);
    await b.until(() => line.signals().includes("commit/1"));
    expect(seen).toEqual(new Set(EVENT_KINDS));
  });

  test("evidence that cannot be appended holds back commit; once it can, commit is told", async () => {
    const b = bench({ answer: "Yes." });
    const { session, line } = b.open();
    session.say("One.");
    await b.until(
      () =>
        line.sent.some((m) => m.kind === "media" && m.end) || line.sent.filter((m) => m.kind === "media").length > 5,
    );
    let failures = 0;
    const append = b.store.append.bind(b.store);
    b.store.append = (segment, bytes) => {
      const evidence = Buffer.from(bytes).includes('"kind":"evidence"');
      if (!evidence || failures >= 2) return append(segment, bytes);
      failures += 1;
      return { code: "io", detail: "on order", torn: false };
    };
    await b.until(() => failures === 1 || line.signals().includes("commit/1"));
    if (failures > 0) expect(line.signals()).not.toContain("commit/1");
    await b.until(() => line.signals().includes("close/1"));
    expect(failures).toBe(2);
    expect(session.stats().evidenceFailures).toBe(1);
    expect(b.spool.verify().ok).toBe(true);
  });

  test("drain refuses new sessions, lets live ones finish; close ends the rest", async () => {
    const b = bench();
    const { session, line } = b.open();
    await b.pass(100);
    session.say("Good bye then.");
    await b.until(() => line.signals().includes("turn_open/1"));
    const drained = b.runtime.drain(30_000);
    const refused = b.runtime.openSession({
      config: testConfig(assistantGraph(), { sessionId: "late" }),
      transport: line,
    });
    expect(refused).toMatchObject({ ok: false, error: { code: "draining" } });
    await b.until(() => b.runtime.sessions().length === 0);
    expect(await drained).toBe(0);
    expect(await session.ended).toMatchObject({ reason: "drained", forced: false });
    expect(line.signals()).toContain("commit/1");
    await b.runtime.close();
    expect(b.runtime.stats()).toMatchObject({ sessions: 0, opened: 1, ended: 1, waiting: 0 });
  });

  test("F-156 after a rotation the records belong to the new epoch; a stale holder cannot open the session again", async () => {
    const b = bench();
    const { session, line } = b.open();
    await b.pass(50);
    session.update({ type: "authority", kind: "rotated", epoch: 2, deadlineNs: asMonoNs(msToNs(3_600_000)) });
    session.say("Still here.");
    await b.until(() => line.sent.some((m) => m.kind === "control" && m.signal === "commit" && m.epoch === 2));
    session.operator("end");
    await session.ended;
    expect(line.sent.at(-1)).toMatchObject({ kind: "close", epoch: 2 });
    const records = b.spool.readSession(session.id).runs[0]?.records ?? [];
    expect(records.find((r) => r.kind === "evidence")?.epoch).toBe(2);
    expect(b.spool.verify().ok).toBe(true);
    const again = b.runtime.openSession({ config: testConfig(assistantGraph()), transport: line });
    expect(again).toMatchObject({ ok: false, error: { code: "stale_epoch" } });
    expect(replayJournal(session.config, session.journal()).identical).toBe(true);
  });

  test("what cannot be opened is refused with the reason", async () => {
    const b = bench({ maxSessions: 2 });
    const transport = new FakeTransport(b.clock);
    const open = (over: Partial<SessionConfig>) =>
      b.runtime.openSession({ config: testConfig(assistantGraph(), over), transport });
    expect(open({ sessionId: "a" }).ok).toBe(true);
    expect(open({ sessionId: "a" })).toMatchObject({ ok: false, error: { code: "session_exists" } });
    expect(open({ sessionId: "c", ...L1(1e12) })).toMatchObject({
      ok: false,
      error: { code: "recording_reservation" },
    });
    expect(open({ sessionId: "b" }).ok).toBe(true);
    expect(open({ sessionId: "d" })).toMatchObject({ ok: false, error: { code: "sessions_full" } });
    const closing = b.runtime.close();
    await b.until(() => b.runtime.sessions().length === 0);
    await closing;
    const deaf = bench({ vad: null });
    const config = testConfig(assistantGraph());
    expect(deaf.runtime.openSession({ config, transport })).toMatchObject({
      ok: false,
      error: { code: "vad_missing" },
    });
  });

  test("in real time, on the system clock and setImmediate, a turn runs to its end", async () => {
    const clock = createSystemClock();
    const spool = createSpool({ store: createMemoryStore(), clock });
    const runtime = createRuntime({ clock, providers: fakeProviders(clock), vad: fakeVad(), spool });
    const line = new FakeTransport(clock);
    const opened = runtime.openSession({ config: testConfig(assistantGraph()), transport: line, keepJournal: true });
    if (!opened.ok) throw new Error(opened.error.detail);
    const session = opened.value;
    line.session = session;
    line.control("connected");
    const committed = new Promise<void>((resolve) => {
      session.events.subscribe({
        kinds: ["control"],
        onReady(s) {
          for (let event = s.take(); event !== undefined; event = s.take()) {
            if (event.kind === "control" && event.signal === "playback_completed") resolve();
          }
        },
      });
    });
    session.say("Hi.");
    await committed;
    await runtime.close();
    expect(await session.ended).toMatchObject({ reason: "runtime_closed", forced: false });
    expect(line.played.length).toBe(9);
    expect(replayJournal(session.config, session.journal()).identical).toBe(true);
    await spool.close();
  });
});
