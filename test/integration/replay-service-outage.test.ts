import { monitorEventLoopDelay } from "node:perf_hooks";
import { canonicalJson } from "@rspp/base/canonical-json";
import { createSystemClock } from "@rspp/host/system-clock";
import { createMemoryStore, type MemoryStore } from "@rspp/runtime/spool/memory-store";
import { createSpool, type Spool, type StreamId } from "@rspp/runtime/spool/spool";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createReplayRig, type Rig, tenantId } from "./replay-rig.ts";

let rig: Rig;
beforeAll(async () => {
  rig = await createReplayRig();
});
afterAll(() => rig.close());

/** A spool of a while ago: what it holds is late. */
function lateSpool(store: MemoryStore = createMemoryStore()): { spool: Spool; store: MemoryStore } {
  const clock = createSystemClock();
  const late = Object.assign(Object.create(clock) as typeof clock, {
    nowNs: () => clock.nowNs(),
    wallMs: () => clock.wallMs() - 10_000,
    timerAt: (...of: Parameters<typeof clock.timerAt>) => clock.timerAt(...of),
  });
  return { spool: createSpool({ store, clock: late }), store };
}

function begin(spool: Spool, sessionId: string, epoch = 1): StreamId {
  const stream = { tenantId, sessionId, epoch };
  const content = { tenantId, sessionId, epoch, pipeline: "p@1", level: "L1", config: null };
  expect(spool.append(stream, "session", JSON.stringify(content)).ok).toBe(true);
  return stream;
}

function lines(spool: Spool, stream: StreamId, from: number, count: number): void {
  for (let n = from; n < from + count; n++) {
    const entry = { batch: { index: n, monoNs: n, wallMs: n, inputs: [] }, facts: [], digest: "ab" };
    spool.line(stream, "journal", JSON.stringify(entry));
  }
}

const batches = (records: Awaited<ReturnType<Rig["read"]>>): number[] =>
  records.flatMap(({ body }) => (body.case === "batch" ? [Number(body.value.batchSequence)] : []));
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

describe("F-154 an export outage", () => {
  test("leaves the loop alone, before and while it catches up; the catching up is marked", async () => {
    await rig.stop();
    const { spool, store } = lateSpool();
    const exporter = rig.exporter(spool, store);
    const stream = begin(spool, "outage");
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    let slowestNs = 0n;
    for (let round = 0; round < 100; round++) {
      const startNs = process.hrtime.bigint();
      lines(spool, stream, round * 200 + 1, 200);
      spool.append(stream, "marker", canonicalJson({ name: "note", fields: {} }));
      const tookNs = process.hrtime.bigint() - startNs;
      if (tookNs > slowestNs) slowestNs = tookNs;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await expect.poll(() => exporter.stats().behind, { timeout: 5_000 }).toBe(true);
    expect(exporter.stats()).toMatchObject({ connected: false, exported: 0 });
    expect(exporter.stats().lagMs).toBeGreaterThanOrEqual(10_000);
    await rig.start();
    await exporter.idle();
    delay.disable();
    // All 20,000 in one piece would hold the loop for seconds; the bounds leave room for a busy machine.
    expect(Number(slowestNs) / 1e6).toBeLessThan(100);
    expect(delay.percentile(99) / 1e6).toBeLessThan(250);
    await exporter.idle();
    const records = await rig.read({ session: { tenantId, sessionId: "outage" } });
    expect(batches(records)).toEqual(upTo(20_000));
    const marks = records.flatMap(({ body }) => (body.case === "marker" ? [body.value] : []));
    const caughtUp = marks.filter(({ name }) => name === "export_caught_up");
    expect(caughtUp.length).toBeGreaterThan(0);
    expect(Number(caughtUp[0]?.fields.behind_ms)).toBeGreaterThanOrEqual(10_000);
    const late = caughtUp.reduce((sum, { fields }) => sum + Number(fields.records), 0);
    expect(late).toBeGreaterThan(10_000);
    expect(late).toBeLessThanOrEqual(records.length - caughtUp.length);
    expect(exporter.stats()).toMatchObject({ halted: 0, inFlight: 0 });
    await exporter.stop();
    await spool.close();
  });

  test("either end may go and come back at any moment: one chain, nothing doubled, nothing missing", async () => {
    const store = createMemoryStore();
    let { spool } = lateSpool(store);
    let exporter = rig.exporter(spool, store);
    const streams = ["r1", "r2", "r3"].map((id) => begin(spool, id));
    for (let round = 0; round < 8; round++) {
      for (const stream of streams) lines(spool, stream, round * 40 + 1, 40);
      if (round % 3 === 1) {
        // The service goes in the middle of it.
        await expect.poll(() => exporter.stats().exported, { timeout: 5_000 }).toBeGreaterThan(0);
        await rig.stop();
        await rig.start();
      }
      if (round % 3 === 2) {
        // The runtime does: what it had marked may be older than what was acknowledged.
        await spool.sync();
        await exporter.stop();
        spool = lateSpool(store).spool;
        exporter = rig.exporter(spool, store);
      }
    }
    await exporter.idle();
    for (const { sessionId } of streams) {
      const session = { tenantId, sessionId };
      expect(batches(await rig.read({ session }))).toEqual(upTo(320));
      expect(await rig.timelines.verifyTimeline({ session })).toMatchObject({ chainIntact: true, faults: [] });
    }
    await exporter.stop();
    await spool.close();
  });

  test("F-156 a rotated session's chain goes on under its new epoch, behind the old one's end", async () => {
    const { spool, store } = lateSpool();
    const exporter = rig.exporter(spool, store);
    const first = begin(spool, "rotated");
    lines(spool, first, 1, 500);
    spool.succeed(first, 4);
    const second = { tenantId, sessionId: "rotated", epoch: 4 };
    lines(spool, second, 501, 300);
    await exporter.idle();
    const session = { tenantId, sessionId: "rotated" };
    const records = await rig.read({ session });
    expect(batches(records)).toEqual(upTo(800));
    expect(new Set(records.map(({ epoch }) => epoch))).toEqual(new Set([1n, 4n]));
    expect(await rig.timelines.verifyTimeline({ session })).toMatchObject({ chainIntact: true, faults: [] });
    expect((await rig.timelines.listTimelines({ tenantId, page: { size: 1 } })).timelines[0]?.epochs).toEqual([1n, 4n]);
    await exporter.stop();
    await spool.close();
  });

  test("a chain that was stored otherwise is left alone, and keeps no other from being exported", async () => {
    const one = lateSpool();
    const first = rig.exporter(one.spool, one.store);
    lines(one.spool, begin(one.spool, "forked"), 1, 50);
    await first.idle();
    await first.stop();
    const other = lateSpool();
    const second = rig.exporter(other.spool, other.store);
    const forked = begin(other.spool, "forked");
    lines(other.spool, forked, 7, 90);
    lines(other.spool, begin(other.spool, "beside"), 1, 30);
    await second.idle();
    expect(second.stats().halted).toBe(1);
    expect(batches(await rig.read({ session: { tenantId, sessionId: "forked" } }))).toEqual(upTo(50));
    expect(batches(await rig.read({ session: { tenantId, sessionId: "beside" } }))).toEqual(upTo(30));
    // What was not acknowledged stays in the spool.
    expect(other.spool.marks(forked).exported).toBe(0);
    await second.stop();
  });
});
