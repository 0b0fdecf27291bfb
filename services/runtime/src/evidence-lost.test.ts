import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { TimelineRecord } from "@rspp/kernel/effect";
import { replayJournal } from "@rspp/kernel/replay";
import { describe, expect, test } from "vitest";
import { createVirtualClock } from "./clock/virtual-clock.ts";
import { EvidenceWriter } from "./evidence-writer.ts";
import { limits } from "./limits.ts";
import type { ObservedEvent, Subscription } from "./observers.ts";
import { createMemoryStore, type MemoryStore } from "./spool/memory-store.ts";
import { createSpool } from "./spool/spool.ts";
import { type Bench, bench } from "./testing/bench.ts";

/** Appends that carry `mark` fail from now on; the returned function ends that. */
function refuse(store: MemoryStore, mark: string, code: "io" | "no_space" = "io"): () => void {
  const append = store.append.bind(store);
  let on = true;
  store.append = (segment, bytes) => {
    if (!on || !Buffer.from(bytes).includes(mark)) return append(segment, bytes);
    return { code, detail: "on order", torn: false };
  };
  return () => {
    on = false;
  };
}

function events(from: Subscription | null): ObservedEvent[] {
  const all: ObservedEvent[] = [];
  for (let event = from?.take(); event !== undefined; event = from?.take()) all.push(event);
  return all;
}

const codes = (all: readonly ObservedEvent[]) =>
  all.flatMap((e) => (e.kind === "error" ? [e.code] : e.kind === "control" ? [e.signal] : []));

function recorded(b: Bench, sessionId: string, kind: string): unknown[] {
  const records = b.spool.readSession(sessionId).runs.flatMap((run) => run.records);
  return records.filter((record) => record.kind === kind).map((record) => record.content);
}

describe("evidence that cannot be appended", () => {
  test("T9 a plan whose record never gets through: the turn is told, aborted for that reason, and counted as lost", async () => {
    const b = bench({ answer: "Once upon a time there was a fox. It lived in a wood. ".repeat(8) });
    const { session, line } = b.open();
    const seen = session.events.subscribe({ kinds: ["control", "error"] });
    await b.pass(50);
    const heal = refuse(b.store, '"kind":"plan","turn":1,"planId"');
    session.say("This is a rather long text, which takes its time to be spoken to its end. ".repeat(20));
    await b.pass(300);
    // Nothing of the turn is told while its plan waits.
    expect(line.signals().filter((signal) => signal.endsWith("/1"))).toEqual([]);
    await b.until(() => line.signals().includes("close/1"));
    expect(line.signals().filter((signal) => /(turn_open|commit|abort|close)\/1/.test(signal))).toEqual([
      "turn_open/1",
      "abort/1",
      "close/1",
    ]);
    const abort = line.sent.find((m) => m.kind === "control" && m.signal === "abort");
    expect(abort).toMatchObject({ reason: "recording_evidence_unavailable" });
    const order = codes(events(seen));
    expect(order.indexOf("recording_evidence_unavailable")).toBeLessThan(order.indexOf("turn_open"));
    const fence = line.sent.findIndex((m) => m.kind === "fence" && m.turn === 1);
    expect(line.sent.slice(fence).some((m) => m.kind === "media" && m.turn === 1)).toBe(false);
    heal();
    await b.pass(3_000);
    expect(session.stats().evidenceLost).toBe(1);
    expect(b.runtime.metrics.counts("evidence_lost")).toBe(1);
    expect(recorded(b, session.id, "evidence_lost")).toMatchObject([{ lost: [{ kind: "plan", turn: 1 }], records: 1 }]);
    expect(recorded(b, session.id, "evidence")).toMatchObject([
      { manifest: { manifest: { terminal: { kind: "abort" } } } },
    ]);
    session.operator("end");
    await session.ended;
    expect(replayJournal(session.config, session.journal()).identical).toBe(true);
  });

  test("T9 where nothing is set aside any longer the turn ends at once, not after the last try", async () => {
    const b = bench();
    const { session, line } = b.open();
    await b.pass(50);
    refuse(b.store, '"kind":"plan"', "no_space");
    session.say("Good morning. ".repeat(40));
    await b.pass(100);
    expect(line.sent).toContainEqual(expect.objectContaining({ kind: "fence", turn: 1 }));
    await b.until(() => line.signals().includes("close/1"));
    expect(line.signals()).toContain("abort/1");
  });

  test("T9 §11 a committed turn whose evidence is given up: commit is told behind the error, the rest is cut", async () => {
    const b = bench();
    const { session, line } = b.open();
    const seen = session.events.subscribe({ kinds: ["control", "error"] });
    await b.pass(50);
    refuse(b.store, '"kind":"evidence"');
    session.say(
      "This sentence is long enough to be played for several seconds after its generation has ended. ".repeat(3),
    );
    await b.until(() => line.signals().includes("close/1"));
    await b.until(() => line.sent.some((m) => m.kind === "fence" && m.turn === 1));
    expect(
      line
        .signals()
        .filter((s) => /\/1$/.test(s))
        .slice(0, 3),
    ).toEqual(["turn_open/1", "commit/1", "close/1"]);
    const order = codes(events(seen));
    expect(order.indexOf("recording_evidence_unavailable")).toBeLessThan(order.indexOf("commit"));
    expect(order).toContain("playback_cancelled");
    expect(order).not.toContain("abort");
    const fence = line.sent.findIndex((m) => m.kind === "fence" && m.turn === 1);
    await b.pass(10_000);
    expect(line.sent.slice(fence).some((m) => m.kind === "media" && m.turn === 1)).toBe(false);
    // The cut was nobody's cancel.
    expect(b.runtime.metrics.read("cancel_fence_ms")).toBeNull();
    expect(session.stats().evidenceLost).toBe(1);
  });

  test("the session's end tells what was still held back, before the close", async () => {
    const b = bench();
    const { session, line } = b.open();
    await b.pass(50);
    refuse(b.store, '"kind":"evidence"');
    session.say("Short.");
    await b.pass(600);
    expect(session.stats().evidenceFailures).toBe(1);
    session.operator("end", { reason: "bye" });
    await b.until(() => b.runtime.sessions().length === 0);
    const after = line.sent.map((m) => (m.kind === "control" ? m.signal : m.kind));
    expect(after.indexOf("commit")).toBeGreaterThan(-1);
    expect(after.indexOf("commit")).toBeLessThan(after.indexOf("close", after.indexOf("commit") + 2));
    expect(line.sent.at(-1)).toMatchObject({ kind: "close", reason: "bye" });
  });

  test("records past the bound of those that wait are declared lost at once, never dropped in silence", () => {
    const clock = createVirtualClock();
    const store = createMemoryStore();
    const spool = createSpool({ store, clock });
    const lost: string[] = [];
    const told: string[] = [];
    const host = {
      appendFailed: () => {},
      quota: () => {},
      lost: (record: TimelineRecord) => void lost.push(record.kind),
    };
    const writer = new EvidenceWriter(spool, { tenantId: "t", sessionId: "s1", epoch: 1 }, clock, 0, host);
    store.setCapacity(0);
    const over = 3;
    for (let turn = 1; turn <= limits.EVIDENCE_HELD_ITEMS_MAX + over; turn++) {
      writer.write({ kind: "evidence", turn, hash: `h${turn}`, manifest: {} });
      writer.putOff(turn, () => void told.push(`close/${turn}`));
    }
    expect(lost.length).toBe(over);
    store.setCapacity(1_000_000);
    clock.advanceTo(asMonoNs(msToNs(200)));
    expect(told.length).toBe(limits.EVIDENCE_HELD_ITEMS_MAX);
    expect(writer.lost).toBe(over);
    const kinds = spool.readSession("s1").runs.flatMap((run) => run.records.map((record) => record.kind));
    expect(kinds.filter((kind) => kind === "evidence_lost")).toHaveLength(1);
  });
});
