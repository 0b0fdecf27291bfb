import { canonicalJson } from "@rspp/base/canonical-json";
import type { TimelineRecord as RecordMessage } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { journalFromWire } from "@rspp/wire/journal";
import { timelineRecordFromWire } from "@rspp/wire/timeline";
import { digestHolds } from "@rspp/wire/timeline-chain";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createVirtualClock } from "../clock/virtual-clock.ts";
import type { SpoolRecord } from "../spool/frame.ts";
import { createMemoryStore } from "../spool/memory-store.ts";
import { createSpool } from "../spool/spool.ts";
import { bench } from "../testing/bench.ts";
import { convert } from "./convert.ts";
import { SpoolCursor } from "./cursor.ts";
import { placeAtStart, readPlace, writePlace } from "./place.ts";

const maker = { build: "test", instanceId: "i" };

function all(cursor: SpoolCursor): SpoolRecord[] {
  const found: SpoolRecord[] = [];
  for (let record = cursor.peek(); record !== null; record = cursor.peek()) {
    found.push(record);
    cursor.advance();
  }
  return found;
}

describe("the cursor", () => {
  test("reads every record once, in order, while more is written, over any segments and sizes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ bytes: fc.nat({ max: 200_000 }), read: fc.boolean() }), { minLength: 1, maxLength: 25 }),
        fc.integer({ min: 1_000, max: 300_000 }),
        (appends, segmentBytesMax) => {
          const store = createMemoryStore();
          const spool = createSpool({ store, clock: createVirtualClock(), segmentBytesMax });
          const cursor = new SpoolCursor(store);
          const seen: number[] = [];
          const read = (): void => void seen.push(...all(cursor).map(({ payload }) => payload.length));
          for (const { bytes, read: now } of appends) {
            spool.append({ tenantId: "t", sessionId: "s", epoch: 1 }, "plan", "x".repeat(bytes));
            if (now) read();
          }
          read();
          expect(seen).toEqual(appends.map(({ bytes }) => bytes));
        },
      ),
      { numRuns: 60 },
    );
  });

  test("damage in the middle is passed over, and counted", () => {
    const store = createMemoryStore();
    const spool = createSpool({ store, clock: createVirtualClock() });
    for (let n = 0; n < 9; n++) spool.append({ tenantId: "t", sessionId: "s", epoch: 1 }, "plan", `${n}`.repeat(500));
    const [segment = ""] = store.list();
    store.flip(segment, 2_000, 3);
    const cursor = new SpoolCursor(store);
    expect(all(cursor).map(({ seq }) => seq)).toEqual([1, 2, 3, 5, 6, 7, 8, 9]);
    expect(cursor.skippedBytes).toBeGreaterThan(500);
    cursor.rewind();
    expect(cursor.peek()?.seq).toBe(1);
  });
});

async function recorded(level: "L0" | "L1" | "L2"): Promise<SpoolRecord[]> {
  const b = bench();
  const recording = { policyId: "p", ceiling: level, evidenceQuotaBytes: 262_144 };
  const { line, session } = b.open({ sessionId: "s", recording });
  await b.talk(line, 20, 60);
  await b.pass(3_000);
  session.operator("end");
  await b.pass(2_000);
  await b.spool.sync();
  return all(new SpoolCursor(b.store)).filter(({ kind }) => kind !== "mark");
}

function made(records: readonly SpoolRecord[], place = placeAtStart("s", 1, null)): RecordMessage[] {
  return records.flatMap((record) => [...convert(record, place, maker)].map((one) => one.record));
}

describe("records of the spool as timeline records", () => {
  test.each(["L0", "L1", "L2"] as const)("F-150 a session at %s is one chain that loses nothing", async (level) => {
    const found = await recorded(level);
    const records = made(found);
    expect(records.every(digestHolds)).toBe(true);
    expect(records.map(({ sequence }) => Number(sequence))).toEqual(records.map((_, i) => i + 1));
    expect(records[0]).toMatchObject({
      body: { case: "header", value: { pipeline: { name: "test-assistant", version: 1 } } },
    });
    for (const record of records) {
      if (record.body.case === "batch") expect(journalFromWire(record.body.value).ok).toBe(true);
      if (record.body.case === "evidence") expect(timelineRecordFromWire(record).ok).toBe(true);
    }
    expect(new Set(records.map(({ body }) => body.case)).has("batch")).toBe(level !== "L0");
    const words = Buffer.concat(records.map(({ canonical }) => canonical)).toString();
    expect(words.includes('"text":"hello"')).toBe(level === "L2");
  });

  test("F-154 from any note of an earlier start the rest comes out with the same digests", async () => {
    const found = await recorded("L2");
    const whole = made(found);
    for (let cut = 1; cut < found.length; cut++) {
      const place = placeAtStart("s", 1, null);
      const before = made(found.slice(0, cut), place);
      const again = readPlace(writePlace(place));
      expect(again).toEqual(place);
      expect(again === null ? [] : made(found.slice(cut), again)).toEqual(whole.slice(before.length));
    }
    for (const text of [
      "",
      "{}",
      "null",
      '{"head":"zz"}',
      writePlace(placeAtStart("s", 1, null)).replace('"epoch":1', '"epoch":-1'),
    ])
      expect(readPlace(text)).toBeNull();
  });

  test("what cannot be read, does not fit or was erased is declared in its place; the chain goes on", () => {
    const clock = createVirtualClock();
    const store = createMemoryStore();
    const spool = createSpool({ store, clock });
    const stream = { tenantId: "t", sessionId: "s", epoch: 1 };
    const start = { tenantId: "t", sessionId: "s", epoch: 1, pipeline: "p@1", level: "L2", config: null };
    spool.append(stream, "session", canonicalJson(start));
    spool.append(stream, "group", "no tag at all");
    spool.append(
      stream,
      "group",
      `journal {"batch":1}\npayload ${JSON.stringify({ ref: 1, text: "x".repeat(3_300_000) })}`,
    );
    spool.append(stream, "plan", "no json");
    const evil = "journal [".repeat(300);
    spool.append(stream, "group", evil);
    spool.append(stream, "session_end", "{}");
    const found = all(new SpoolCursor(store));
    const erased = { ...(found[1] as SpoolRecord), erased: true, payload: new Uint8Array(0) };
    const records = made([...found, erased]);
    expect(records.every(digestHolds)).toBe(true);
    expect(records.map(({ body }) => (body.case === "marker" ? body.value.name : body.case))).toEqual([
      "header",
      "record_unreadable",
      "record_unreadable",
      "record_left_out",
      "record_unreadable",
      "record_unreadable",
      "session_end",
      "erased",
    ]);
  });
});
