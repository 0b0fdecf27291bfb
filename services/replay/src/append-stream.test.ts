import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { AppendTimelineResponse } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { rpcErrorOf } from "@rspp/rpc/clients";
import { silentLog } from "@rspp/rpc/log";
import { recordDigest } from "@rspp/wire/timeline-chain";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { appendStream } from "./append-stream.ts";
import { limits } from "./limits.ts";
import { readSegments } from "./read-timeline.ts";
import { AppendCall, appendOf, chainOf, memoryStores, open, resumeOf } from "./testing/records.ts";
import { TimelineKeeper } from "./timeline-keeper.ts";
import { TimelineVerifier } from "./verify-timeline.ts";

const session = { tenantId: "t", sessionId: "s" };

function service(stores = memoryStores()) {
  const keeper = new TimelineKeeper({
    ...stores,
    log: silentLog,
    after: (_ms, fire) => void setImmediate(fire),
    wallMs: () => 0,
  });
  const call = () => new AppendCall((requests) => appendStream(keeper, requests, new AbortController().signal));
  return { stores, keeper, call };
}

/** Sequences acknowledged, and reasons of what was refused, in order. */
function told(answers: readonly AppendTimelineResponse["message"][]): (number | string)[] {
  return answers.flatMap((answer): (number | string)[] => {
    if (answer.case === "ack") return [Number(answer.value.acknowledgedSequence)];
    if (answer.case !== "refused") return [];
    return [`${answer.value.sequence} ${ErrorReason[answer.value.error?.reason ?? 0]}`];
  });
}

async function stored({ stores }: ReturnType<typeof service>, key = session): Promise<TimelineRecord[]> {
  const found: TimelineRecord[] = [];
  for await (const { records } of readSegments(stores, key)) found.push(...records);
  return found;
}

describe("F-154 an append stream", () => {
  test("tells its window, and acknowledges what is stored", async () => {
    const at = service();
    const records = chainOf(300);
    const call = at.call().push(open, appendOf(records.slice(0, 200)), appendOf(records.slice(200)));
    expect(await call.next()).toMatchObject({ case: "window", value: { maxRecords: limits.APPEND_WINDOW_RECORDS } });
    const answers = await call.end().rest();
    expect(told(answers).at(-1)).toBe(300);
    expect(await stored(at)).toEqual(records);
    expect(told(await at.call().push(open, resumeOf("s"), resumeOf("other")).end().rest())).toEqual([300, 0]);
  });

  test("what is here already is acknowledged again and not stored twice", async () => {
    const at = service();
    const records = chainOf(20);
    await at
      .call()
      .push(open, appendOf(records.slice(0, 12)))
      .end()
      .rest();
    const answers = await at
      .call()
      .push(open, appendOf(records.slice(3, 12)), appendOf(records.slice(5)))
      .end()
      .rest();
    expect(told(answers).at(-1)).toBe(20);
    expect(await stored(at)).toEqual(records);
  });

  test.each([
    ["a gap, with the record that is expected", () => appendOf(chainOf(9).slice(6)), "7 OUT_OF_ORDER"],
    [
      "another record under a number that is taken",
      () => appendOf(chainOf(3, { filler: 9 }).slice(1)),
      "2 CHAIN_BROKEN",
    ],
    ["a record that follows from another one", () => appendOf(chainOf(9, { filler: 9 }).slice(5)), "6 CHAIN_BROKEN"],
    ["a digest that is not the content's", () => altered(chainOf(9).slice(5)), "6 CHAIN_BROKEN"],
    ["a record past the bound", () => oversized(chainOf(5)), "6 MESSAGE_TOO_LARGE"],
  ])("refuses %s", async (_name, request, refusal) => {
    const at = service();
    const records = chainOf(9);
    await at
      .call()
      .push(open, appendOf(records.slice(0, 5)))
      .end()
      .rest();
    const answers = await at.call().push(open, request()).end().rest();
    expect(told(answers).filter((one) => typeof one === "string")).toEqual([refusal]);
    const refused = answers.find((answer) => answer.case === "refused");
    expect(refused?.value).toMatchObject({ error: { domain: "replay" } });
    expect(refused?.case === "refused" && refused.value.error?.remedy).not.toBe("");
    // Nothing half-written: the chain goes on where it stood.
    expect(await stored(at)).toEqual(records.slice(0, 5));
    expect(
      told(
        await at
          .call()
          .push(open, appendOf(records.slice(5)))
          .end()
          .rest(),
      ).at(-1),
    ).toBe(9);
  });

  test("a refused chain stops no other chain of the same request", async () => {
    const at = service();
    const good = chainOf(4, { session: "good" });
    const bad = chainOf(4, { session: "bad" });
    const mixed = [good[0], bad[1], good[1], bad[2], good[2]] as TimelineRecord[];
    const answers = await at.call().push(open, appendOf(mixed)).end().rest();
    expect(told(answers)).toEqual(["2 OUT_OF_ORDER", 3]);
  });

  test("F-156 a lower epoch than the session's newest is refused; what it had stored is still acknowledged", async () => {
    const at = service();
    const first = chainOf(6);
    const second = chainOf(3, { epoch: 2, previous: first[3]?.digest as Uint8Array });
    await at
      .call()
      .push(open, appendOf(first.slice(0, 4)), appendOf(second))
      .end()
      .rest();
    const answers = await at.call().push(open, appendOf(first)).end().rest();
    expect(told(answers)).toEqual(["5 AUTHORITY_EPOCH_MISMATCH", 4]);
    // Also by a service that has just started.
    const again = service(at.stores);
    expect(
      told(
        await again
          .call()
          .push(open, appendOf(first.slice(4)))
          .end()
          .rest(),
      ),
    ).toEqual(["5 AUTHORITY_EPOCH_MISMATCH"]);
  });

  test("a successor that continues another head is a loss that nobody declared", async () => {
    const at = service();
    const first = chainOf(6);
    const second = chainOf(3, { epoch: 2, previous: first[5]?.digest as Uint8Array, ended: true });
    await at
      .call()
      .push(open, appendOf(first.slice(0, 4)), appendOf(second))
      .end()
      .rest();
    const verifier = new TimelineVerifier();
    for (const record of await stored(at)) verifier.record(record);
    expect(verifier.verdict()).toMatchObject({
      chainIntact: false,
      complete: false,
      faults: [{ epoch: 2, sequence: 1 }],
    });
  });

  test("anything before open, and a second open, end the stream with what to do", async () => {
    for (const requests of [[resumeOf("s")], [open, open]]) {
      const failure = await service()
        .call()
        .push(...requests)
        .end()
        .rest()
        .catch((thrown: unknown) => thrown);
      const { detail } = rpcErrorOf(failure, "none");
      expect(detail).toMatchObject({ reason: ErrorReason.OUT_OF_ORDER, metadata: { field: "open" } });
      expect(detail.remedy).toMatch(/open/);
    }
  });

  test("records sent again on a new stream, before those of the lost one are stored, are acknowledged there", async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const stores = memoryStores();
    const put = stores.objects.put;
    const objects = { ...stores.objects, put: (...of: Parameters<typeof put>) => held.then(() => put(...of)) };
    const at = service({ ...stores, objects });
    const records = chainOf(20);
    const lost = at.call().push(open, appendOf(records));
    await lost.next();
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    const again = at.call().push(open, resumeOf("s"), appendOf(records));
    expect([(await again.next())?.case, told([await again.next()].flatMap((one) => one ?? []))]).toEqual([
      "window",
      [0],
    ]);
    expect(told([await again.next()].flatMap((one) => one ?? []))).toEqual([0]);
    release();
    expect(told([await again.next()].flatMap((one) => one ?? []))).toEqual([20]);
    expect((await stored(at)).length).toBe(20);
  });

  test("a runtime that sends past its window is read no further until something is stored", async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const stores = memoryStores();
    const put = stores.objects.put;
    const slow = {
      ...stores,
      objects: { ...stores.objects, put: (...of: Parameters<typeof put>) => held.then(() => put(...of)) },
    };
    const at = service(slow);
    const records = chainOf(12_000);
    let read = 0;
    async function* requests() {
      yield open;
      for (; read < 12_000; read += 100) yield appendOf(records.slice(read, read + 100));
    }
    const answers = appendStream(at.keeper, requests(), new AbortController().signal)[Symbol.asyncIterator]();
    await answers.next();
    for (let turn = 0; turn < 400; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(read).toBeLessThanOrEqual(limits.APPEND_WINDOW_RECORDS + 100 * (limits.APPEND_AHEAD + 2));
    release();
    for (let one = await answers.next(); one.done !== true; one = await answers.next());
    expect((await stored(at)).length).toBe(12_000);
  });

  test("random batches from two runtimes, with failures of the store and restarts of either end: one intact chain", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 120 }),
        fc.array(fc.record({ from: fc.nat(), count: fc.integer({ min: 1, max: 40 }), restart: fc.boolean() }), {
          minLength: 1,
          maxLength: 12,
        }),
        fc.array(fc.constantFrom<"no" | "before" | "after">("no", "no", "before", "after"), { maxLength: 30 }),
        async (count, sends, failures) => {
          const stores = memoryStores(() => failures.pop() ?? "no");
          const records = chainOf(count, { ended: true });
          let at = service(stores);
          let acknowledged = 0;
          const note = (answers: readonly AppendTimelineResponse["message"][]): void => {
            for (const one of told(answers)) if (typeof one === "number") acknowledged = Math.max(acknowledged, one);
          };
          for (const { from, count: some, restart } of sends) {
            if (restart) at = service(stores);
            const begin = Math.min(from % (count + 1), acknowledged);
            const calls = [at.call(), at.call()].map((call) =>
              call
                .push(open, appendOf(records.slice(begin, begin + some)))
                .end()
                .rest()
                .then(note, () => undefined),
            );
            await Promise.all(calls);
            // Acknowledged means it is there.
            expect((await stored(at)).length).toBeGreaterThanOrEqual(acknowledged);
          }
          failures.length = 0;
          at = service(stores);
          for (let begin = acknowledged; begin < count; begin = acknowledged)
            note(
              await at
                .call()
                .push(open, appendOf(records.slice(begin, begin + 50)))
                .end()
                .rest(),
            );
          const found = await stored(at);
          const verifier = new TimelineVerifier();
          for (const record of found) verifier.record(record);
          expect(found.map(({ sequence }) => Number(sequence))).toEqual(records.map((_, i) => i + 1));
          expect(verifier.verdict()).toMatchObject({ chainIntact: true, complete: count > 1, faults: [] });
        },
      ),
      { numRuns: 60 },
    );
  });
});

function altered(records: TimelineRecord[]) {
  return appendOf(records.map((record) => create(TimelineRecordSchema, { ...record, digest: new Uint8Array(32) })));
}

function oversized(before: TimelineRecord[]) {
  const last = before.at(-1) as TimelineRecord;
  const record = create(TimelineRecordSchema, {
    ...last,
    sequence: 6n,
    previousDigest: last.digest,
    canonical: new Uint8Array(limits.RECORD_BYTES_MAX),
  });
  record.digest = recordDigest(last.digest, record);
  return appendOf([record]);
}
