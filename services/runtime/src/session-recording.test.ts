import { replayJournal } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { journalFromWire, journalToWire } from "@rspp/wire/journal";
import { expect, test } from "vitest";
import type { RuntimeSession } from "./runtime.ts";
import { type Bench, bench } from "./testing/bench.ts";
import type { FakeTransport } from "./testing/fakes.ts";

const L0 = { recording: { policyId: "rec", ceiling: "L0", evidenceQuotaBytes: 4_000_000 } } as const;

/** The agent says one sentence, heard to its end. */
async function turn(b: Bench, { session, line }: { session: RuntimeSession; line: FakeTransport }): Promise<number> {
  const number = session.view().turns + 1;
  session.say(`This is sentence ${number}.`);
  await b.until(() => line.signals().includes(`close/${number}`));
  await b.pass(3_000);
  return number;
}

function kept(b: Bench, { session }: { session: RuntimeSession }) {
  const [run] = b.spool.readSession(session.id).runs;
  const records = run?.records ?? [];
  const of = (kind: string) => records.filter((record) => record.kind === kind).map(({ content }) => content);
  return { entries: run?.entries.length ?? 0, payloads: [...(run?.payloads.values() ?? [])], of };
}

test("F-076 one session is captured at L2 from a turn boundary until its time is over; its neighbour stays at L0", async () => {
  const b = bench();
  const one = b.open({ ...L0, sessionId: "one" });
  const other = b.open({ ...L0, sessionId: "other" });
  await Promise.all([turn(b, one), turn(b, other)]);
  expect(kept(b, one)).toMatchObject({ entries: 0, payloads: [] });
  const taken = one.session.capture({ level: "L2", forMs: 60_000 });
  expect(taken).toMatchObject({ ok: true, value: { policyId: "capture/1", level: "L2" } });
  await Promise.all([turn(b, one), turn(b, other)]);
  expect([one.session.view().level, other.session.view().level]).toEqual(["L2", "L0"]);
  const during = kept(b, one);
  expect(during.entries).toBeGreaterThan(0);
  expect(during.payloads.some(({ text }) => text === "This is sentence 2.")).toBe(true);
  expect(during.payloads.some(({ text }) => text === "This is sentence 1.")).toBe(false);
  await b.pass(60_000);
  expect(one.session.view().level).toBe("L0");
  const after = kept(b, one);
  await Promise.all([turn(b, one), turn(b, other)]);
  expect(kept(b, one)).toMatchObject({ entries: after.entries });
  expect(kept(b, one).payloads.some(({ text }) => text === "This is sentence 3.")).toBe(false);
  expect(kept(b, one).of("recording_level")).toMatchObject([
    { policyId: "capture/1", from: "L0", to: "L1", trigger: "operator" },
    { policyId: "capture/1", from: "L1", to: "L2", trigger: "operator" },
    { policyId: "rec", from: "L2", to: "L1", trigger: "policy" },
    { policyId: "rec", from: "L1", to: "L0", trigger: "policy" },
  ]);
  expect(kept(b, one).of("evidence")).toHaveLength(3);
  expect(kept(b, other)).toMatchObject({ entries: 0, payloads: [] });
  expect(kept(b, other).of("recording_level")).toEqual([]);
  expect(kept(b, other).of("evidence")).toHaveLength(3);
  expect(b.spool.verify().ok).toBe(true);
});

test("F-076 a capture can be ended, replaced and not be without an end; it leaves a marker with its expiry", async () => {
  const b = bench();
  const one = b.open(L0);
  for (const forMs of [0, 999, 86_400_001, Number.NaN, 1_500.5]) {
    const refused = one.session.capture({ level: "L1", forMs });
    expect(refused).toMatchObject({ ok: false, error: { code: "capture_invalid" } });
  }
  await b.pass(100);
  expect(one.session.view().level).toBe("L0");
  one.session.capture({ level: "L1", forMs: 5_000 });
  await b.pass(4_000);
  // The later one counts, to its own end.
  one.session.capture({ level: "L2", forMs: 5_000 });
  await b.pass(4_000);
  expect(one.session.view().level).toBe("L2");
  one.session.capture({ level: "L0", forMs: 0 });
  await b.pass(100);
  expect(one.session.view().level).toBe("L0");
  await b.pass(10_000);
  const markers = kept(b, one).of("marker");
  expect(markers).toMatchObject([
    { name: "capture", fields: { policy_id: "capture/1", level: "L1", until_wall_ms: "1700000005100" } },
    { name: "capture", fields: { policy_id: "capture/2", level: "L2", until_wall_ms: "1700000009100" } },
  ]);
  expect(kept(b, one).of("recording_level").at(-1)).toMatchObject({ to: "L0", trigger: "operator" });
  one.session.operator("end");
  await one.session.ended;
  expect(one.session.capture({ level: "L2", forMs: 5_000 })).toMatchObject({ error: { code: "session_ended" } });
});

test("F-153 F-176 under pressure payloads stop at L1 and the journal at L0; evidence goes on, and each step is marked", async () => {
  const b = bench();
  const one = b.open({ recording: { ...L0.recording, ceiling: "L2" } });
  await turn(b, one);
  const full = kept(b, one);
  expect([full.entries > 0, full.payloads.length > 0]).toEqual([true, true]);
  const filler = { tenantId: "t", sessionId: "filler" };
  const { usedBytes, reservedBytes } = b.spool.measures();
  expect(b.spool.reserve(filler, 4_294_967_296 - usedBytes - reservedBytes - 20_000_000)).toBe(true);
  // The spool looks at its fill as it writes.
  one.line.frame(false);
  await b.pass(3_000);
  expect(one.session.view().level).toBe("L0");
  const before = kept(b, one);
  await turn(b, one);
  expect(kept(b, one)).toMatchObject({ entries: before.entries });
  expect(kept(b, one).payloads.length).toBe(before.payloads.length);
  b.spool.release(filler);
  await b.pass(11_000);
  expect(one.session.view().level).toBe("L0");
  for (let i = 0; i < 3; i++) await turn(b, one);
  expect(kept(b, one).of("recording_level")).toMatchObject([
    { from: "L2", to: "L1", trigger: "queue_fill", policyId: "rec" },
    { from: "L1", to: "L0", trigger: "queue_fill" },
    { from: "L0", to: "L1", trigger: "calm" },
    { from: "L1", to: "L2", trigger: "calm" },
  ]);
  const levels = kept(b, one)
    .of("evidence")
    .map((record) => {
      const { manifest } = record as { manifest: { missing: string[]; manifest: { recordingLevel: string } } };
      expect(manifest.missing).toEqual([]);
      return manifest.manifest.recordingLevel;
    });
  expect(levels).toEqual(["L2", "L0", "L0", "L1", "L2"]);
});

test("F-076 what is recorded of a captured session over L1 replays to the same effects, capture and expiry included", async () => {
  const b = bench();
  const one = b.open({ recording: { ...L0.recording, ceiling: "L1" } });
  await turn(b, one);
  one.session.capture({ level: "L2", forMs: 10_000 });
  await turn(b, one);
  await b.pass(10_000);
  await turn(b, one);
  one.session.operator("end");
  await one.session.ended;
  const [run] = b.spool.readSession(one.session.id).runs;
  const { config } = (run?.start ?? {}) as { config: SessionConfig };
  expect(kept(b, one).of("recording_level")).toMatchObject([{ to: "L2" }, { to: "L1", trigger: "policy" }]);
  const entries = run?.entries ?? [];
  const asked = entries.filter(({ batch }) => batch.inputs.some(({ body }) => body.type === "recording_capture"));
  expect(asked).toHaveLength(2);
  for (const entry of asked) {
    const wire = journalToWire(entry);
    expect(wire.ok && journalFromWire(wire.value)).toEqual({ ok: true, value: entry });
  }
  expect(replayJournal(config, entries)).toMatchObject({ identical: true, steps: one.session.journal().length });
});
