import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { clone } from "@bufbuild/protobuf";
import { replaySession } from "@rspp/cli/replay-session";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { Lane } from "@rspp/gen/rspp/common/v1/lane_pb";
import { TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { replayTimeline } from "@rspp/replay/recording";
import { appendOf, chainOf, open } from "@rspp/replay/testing/records";
import { buildWaterfall } from "@rspp/replay/waterfall";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createReplayRig, type Rig, recordedSession, refusal, tenantId } from "./replay-rig.ts";

let rig: Rig;
beforeAll(async () => {
  rig = await createReplayRig();
});
afterAll(() => rig.close());

async function exported(level: "L0" | "L1" | "L2") {
  const recorded = await recordedSession(level);
  const exporter = rig.exporter(recorded.spool, recorded.store);
  await exporter.idle();
  await exporter.stop();
  const session = { tenantId, sessionId: recorded.sessionId };
  return { ...recorded, session, records: await rig.read({ session }), exporter };
}

describe("a session on its way through the timeline", () => {
  test.each(["L2", "L1"] as const)(
    "NF-009 F-138 at %s it replays as from the spool that recorded it",
    async (level) => {
      const { store, sessionId, records } = await exported(level);
      const fromSpool = replaySession(store, sessionId);
      expect(fromSpool).toMatchObject({ identical: true, ended: true, problems: [] });
      expect(fromSpool.turns.length).toBeGreaterThan(1);
      expect(replayTimeline(records)).toEqual({ ok: true, value: fromSpool });
    },
  );

  test("F-153 at L0 there is evidence and no text, and nothing to re-execute", async () => {
    const { session, records } = await exported("L0");
    expect(replayTimeline(records)).toEqual({ ok: false, error: "no_journal" });
    const told = JSON.stringify(
      records.map(({ canonical, body }) => [Buffer.from(canonical).toString(), String(body.case)]),
    );
    expect(told).not.toMatch(/hello|long answer/);
    const waterfall = buildWaterfall(records);
    expect(waterfall).toMatchObject({ level: "L0", basis: "evidence", ended: true });
    expect(JSON.stringify(waterfall)).not.toMatch(/hello|long answer/);
    expect(waterfall.turns[0]).toMatchObject({
      origin: "endpoint",
      terminal: "commit",
      evidenceComplete: true,
      user: { state: "hidden", text: "" },
      heard: { state: "hidden", chars: 40 },
    });
    expect(waterfall.turns[0]?.explanation.join(" ")).toContain("What was said is not recorded at L0.");
    expect(await rig.timelines.verifyTimeline({ session })).toMatchObject({
      chainIntact: true,
      complete: true,
      faults: [],
    });
  });

  test("F-150 its chain is intact, complete, and every turn has its evidence", async () => {
    const { session, records } = await exported("L2");
    const { turns } = buildWaterfall(records);
    expect(await rig.timelines.verifyTimeline({ session })).toMatchObject({
      chainIntact: true,
      complete: true,
      records: BigInt(records.length),
      turnsWithEvidence: turns.length,
      turnsWithoutEvidence: 0,
      faults: [],
      declaredLosses: [],
    });
    const [summary] = (await rig.timelines.listTimelines({ tenantId, page: { size: 1 } })).timelines;
    expect(summary).toMatchObject({
      pipeline: { name: "test-assistant", version: 1 },
      complete: true,
      turns: turns.length,
      level: 3,
      epochs: [1n],
      records: BigInt(records.length),
    });
  });

  test("its waterfall tells why a turn opened, what ran, what cut it and what was heard", async () => {
    const { records } = await exported("L2");
    const { turns, basis, notes } = buildWaterfall(records);
    expect([basis, notes]).toEqual(["journal", []]);
    const [first, second] = turns;
    expect(first).toMatchObject({
      origin: "endpoint",
      user: { state: "told", text: "hello" },
      said: { text: "Hi there, this is a long answer for you." },
      heard: { text: "Hi there, this is a long answer for you." },
      latencies: { first_output_ms: 11, voice_to_voice_ms: 113 },
    });
    expect(first?.spans.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(["utterance", "invocation", "turn", "output", "playback"]),
    );
    expect(second?.anchors.cancel_accepted).not.toBeNull();
    expect(second?.latencies.cancel_fence_ms).toBeGreaterThanOrEqual(0);
    const words = second?.explanation.join(" ") ?? "";
    expect(words).toMatch(/^It opened \d+ ms after the last voiced frame because the caller had finished speaking\./);
    expect(words).toMatch(
      /It was cut \d+ ms after it opened because the caller spoke over it; the adapter acknowledged/,
    );
    expect(words).toMatch(/Playout was cut \(\d+ ms, 9 of 40 characters heard, an estimate by time\): “Hi there,”/);
  });

  test("F-153 at L1 the waterfall has the times and no text", async () => {
    const { turns } = buildWaterfall((await exported("L1")).records);
    expect(JSON.stringify(turns)).not.toMatch(/hello|long answer/);
    expect(turns[0]).toMatchObject({
      latencies: { first_output_ms: 11, voice_to_voice_ms: 113 },
      user: { state: "hidden" },
      said: { state: "hidden", chars: 40 },
      heard: { state: "hidden", chars: 40 },
    });
    expect(turns[0]?.explanation.join(" ")).toContain("What was said is not recorded at L1.");
  });

  test("records that are missing, altered or out of order are named, and nothing throws", async () => {
    const { records } = await exported("L2");
    const spoil = fc.record({
      at: fc.nat(records.length - 1),
      how: fc.constantFrom("drop", "canonical", "body", "swap"),
    });
    fc.assert(
      fc.property(fc.array(spoil, { minLength: 1, maxLength: 4 }), fc.nat(255), (spoils, byte) => {
        const spoiled = [...records];
        for (const { at, how } of spoils) {
          const record = clone(TimelineRecordSchema, spoiled[at] ?? (records[0] as (typeof records)[number]));
          if (how === "drop") spoiled.splice(at, 1);
          else if (how === "swap") spoiled.splice(at, 1, ...spoiled.splice(0, 1, record));
          else if (how === "canonical") record.canonical[byte % Math.max(1, record.canonical.length)] = byte;
          else if (record.body.case === "batch") record.body.value.monotonicNs += BigInt(byte);
          if (how === "canonical" || how === "body") spoiled[at] = record;
        }
        const waterfall = buildWaterfall(spoiled);
        const replayed = replayTimeline(spoiled);
        const clean = replayed.ok && replayed.value.problems.length === 0 && replayed.value.ended;
        // Without a word only what is whole passes, or what a spoiled copy happened to leave as it was.
        if (clean) expect(spoiled.map(({ digest }) => digest)).toEqual(records.map(({ digest }) => digest));
        expect(waterfall.sessionId).not.toBe("");
      }),
      { numRuns: 25 },
    );
  });

  test("its spool frees segments only once they are acknowledged, and a new exporter goes on from there", async () => {
    const { spool, store, session, records, bench } = await exported("L1");
    const stream = { ...session, epoch: 1 };
    expect(spool.marks(stream).exported).toBe(spool.marks(stream).appended);
    const again = rig.exporter(spool, store);
    bench.spool.append(stream, "marker", JSON.stringify({ name: "note", fields: { a: "b" } }));
    await bench.pass(100);
    await again.idle();
    expect(again.stats()).toMatchObject({ exported: 1, inFlight: 0, lagMs: 0, halted: 0 });
    await again.stop();
    expect((await rig.read({ session })).length).toBe(records.length + 1);
  });
});

describe("reading", () => {
  test("filters by kind, turn, node, lane, epoch and first sequence", async () => {
    const { session, records } = await exported("L1");
    const only = async (ask: object) => (await rig.read({ session, ...ask })).map(({ sequence }) => Number(sequence));
    const where = (wanted: (record: (typeof records)[number]) => boolean) =>
      records.filter(wanted).map(({ sequence }) => Number(sequence));
    expect(await only({ kinds: ["evidence"] })).toEqual(where(({ body }) => body.case === "evidence"));
    expect(await only({ kinds: ["signal", "plan"] })).toEqual(
      where(({ body }) => body.case === "effect" || (body.case === "canonicalRecord" && body.value.kind === "plan")),
    );
    expect(await only({ turnId: "t-1" })).toEqual(where(({ turnId }) => turnId === "t-1"));
    expect((await only({ turnId: "t-1" })).length).toBeGreaterThan(5);
    expect(await only({ lane: Lane.CONTROL })).toEqual(where(({ lane }) => lane === Lane.CONTROL));
    expect(await only({ nodeId: "nowhere" })).toEqual([]);
    expect(await only({ epoch: 1n, fromSequence: 50n })).toEqual(where(({ sequence }) => sequence >= 50n));
    expect(await only({ epoch: 7n })).toEqual([]);
  });

  test("refuses what it cannot filter by, naming the field", async () => {
    const session = { tenantId, sessionId: (await exported("L0")).sessionId };
    const kinds = await refusal(rig.read({ session, kinds: ["evidense"] }));
    expect([kinds.name, kinds.violations[0]?.field]).toEqual(["SCHEMA_VALIDATION_ERROR", "kinds[0]"]);
    const epoch = await refusal(rig.read({ session, fromSequence: 5n }));
    expect([epoch.name, epoch.violations[0]?.field]).toEqual(["SCHEMA_VALIDATION_ERROR", "epoch"]);
  });

  test("follows a session from before its first record to its end", async () => {
    const session = { tenantId: "follow", sessionId: "f" };
    const records = chainOf(40, { tenant: "follow", session: "f", ended: true });
    const reading = rig.read({ session, follow: true });
    for (const [from, to] of [
      [0, 10],
      [10, 11],
      [11, 40],
    ] as const)
      await rig.append(records.slice(from, to));
    expect((await reading).map(({ sequence }) => Number(sequence))).toEqual(records.map((_, i) => i + 1));
  });

  test("a follower that goes away is let go", async () => {
    const abort = new AbortController();
    const session = { tenantId: "follow", sessionId: "never" };
    const reading = (async () => {
      for await (const _ of rig.timelines.readTimeline({ session, follow: true }, { signal: abort.signal }));
    })();
    abort.abort();
    await expect(reading).rejects.toThrow();
  });
});

describe("tenants", () => {
  test("a list holds one tenant's sessions, newest first, in pages", async () => {
    for (const [n, wallMs] of [
      [1, 5_000],
      [2, 9_000],
      [3, 7_000],
      [4, 1_000],
    ] as const)
      await rig.append(chainOf(3, { tenant: "lists", session: `l${n}`, wallMs }));
    await rig.append(chainOf(3, { tenant: "others", session: "l9" }));
    const ask = async (more: object) => {
      const { timelines, nextPageToken } = await rig.timelines.listTimelines({ tenantId: "lists", ...more });
      return { ids: timelines.map(({ session }) => session?.sessionId), nextPageToken };
    };
    expect((await ask({})).ids).toEqual(["l2", "l3", "l1", "l4"]);
    const first = await ask({ page: { size: 3 } });
    expect(first.ids).toEqual(["l2", "l3", "l1"]);
    expect(await ask({ page: { size: 3, token: first.nextPageToken } })).toEqual({ ids: ["l4"], nextPageToken: "" });
    expect((await ask({ sinceWallMs: 6_000n })).ids).toEqual(["l2", "l3"]);
    expect((await ask({ pipelineName: "q" })).ids).toEqual([]);
    const bad = await refusal(ask({ page: { token: "nonsense" } }));
    expect(bad.name).toBe("SCHEMA_VALIDATION_ERROR");
  });

  test("another tenant's session is not found, whoever asks and whatever for", async () => {
    await rig.append(chainOf(3, { tenant: "mine", session: "x" }));
    const session = { tenantId: "yours", sessionId: "x" };
    expect((await refusal(rig.read({ session }))).name).toBe("SESSION_NOT_FOUND");
    expect((await refusal(rig.timelines.verifyTimeline({ session }))).name).toBe("SESSION_NOT_FOUND");
    expect((await rig.timelines.listTimelines({ tenantId: "yours" })).timelines).toEqual([]);
    // The same id of another tenant is another session.
    await rig.append(chainOf(2, { tenant: "yours", session: "x", filler: 1 }));
    expect((await rig.read({ session: { tenantId: "mine", sessionId: "x" } })).length).toBe(3);
  });
});

describe("F-150 damage", () => {
  const files = (): string[] => {
    const names = readdirSync(join(rig.dir, "objects"), { recursive: true, encoding: "utf8" });
    return names
      .filter((name) => name.includes("/damage/"))
      .sort()
      .map((name) => join(rig.dir, "objects", name));
  };
  const stored = async (sessionId: string) => {
    const records = chainOf(90, { tenant: "damage", session: sessionId, ended: true });
    const before = new Set(files());
    for (const from of [0, 30, 60]) await rig.append(records.slice(from, from + 30));
    const objects = files().filter((file) => !before.has(file));
    expect(objects.length).toBe(3);
    return { session: { tenantId: "damage", sessionId }, objects };
  };
  const faults = async (session: { tenantId: string; sessionId: string }) => {
    const found = await rig.timelines.verifyTimeline({ session });
    expect([found.chainIntact, found.complete]).toEqual([false, false]);
    return found.faults.map((one) => [Number(one.sequence), ErrorReason[one.reason]]);
  };

  test.each([0.3, 0.6, 0.9])("one flipped bit in a stored segment is found and located (%s)", async (where) => {
    const { session, objects } = await stored(`flip-${where * 10}`);
    const [, second = ""] = objects;
    const bytes = readFileSync(second);
    const at = Math.floor(bytes.length * where);
    bytes[at] = (bytes[at] ?? 0) ^ 4;
    writeFileSync(second, bytes);
    const [[found, reason] = []] = await faults(session);
    const sequence = Number(found);
    expect(reason).toBe("JOURNAL_TRUNCATED");
    expect(sequence).toBeGreaterThan(30);
    expect(Math.abs(sequence - (31 + 30 * where))).toBeLessThan(5);
    // What stands before it is read; then the damage is named.
    const got: number[] = [];
    const failed = await refusal(
      (async () => {
        for await (const part of rig.timelines.readTimeline({ session }))
          got.push(...part.records.map((one) => Number(one.sequence)));
      })(),
    );
    expect(failed).toMatchObject({ name: "JOURNAL_TRUNCATED", metadata: { epoch: "1", sequence: String(sequence) } });
    expect(got).toEqual(Array.from({ length: sequence - 1 }, (_, i) => i + 1));
    const behind = await rig.read({ session, epoch: 1n, fromSequence: 61n });
    expect(behind.length).toBe(30);
  });

  test("a torn segment, and one that is gone", async () => {
    const torn = await stored("torn");
    const [, second = ""] = torn.objects;
    truncateSync(second, readFileSync(second).length - 100);
    expect(await faults(torn.session)).toEqual([[31, "JOURNAL_TRUNCATED"]]);
    const gone = await stored("gone");
    rmSync(gone.objects[1] ?? "");
    expect(await faults(gone.session)).toEqual([[31, "JOURNAL_TRUNCATED"]]);
  });

  test("in an object of many sessions it is told of the one it is in, and no other's", async () => {
    const ids = ["m1", "m2", "m3", "m4"];
    const chains = ids.map((session) => chainOf(50, { tenant: "damage", session, ended: true }));
    const before = new Set(files());
    const mixed = chains[0]?.flatMap((_, i) => chains.flatMap((chain) => chain[i] ?? [])) ?? [];
    const call = rig.call().push(open, appendOf(mixed.slice(0, 100)), appendOf(mixed.slice(100)));
    await call.end().rest();
    const objects = files().filter((file) => !before.has(file));
    // All that came together is in few objects, however many sessions there are.
    expect(objects.length).toBeLessThanOrEqual(2);
    const [object = ""] = objects;
    const bytes = readFileSync(object);
    // In a record of the second one.
    const at = bytes.indexOf("m2", Math.floor(bytes.length * 0.3));
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(object, bytes);
    for (const [i, sessionId] of ids.entries()) {
      const session = { tenantId: "damage", sessionId };
      if (sessionId === "m2") await faults(session);
      else {
        expect(await rig.timelines.verifyTimeline({ session })).toMatchObject({ complete: true, faults: [] });
        expect(await rig.read({ session })).toEqual(chains[i]);
      }
    }
  });
});

describe("bad input", () => {
  test("a record that breaks its contract ends the stream, and the field is named; nothing is half-written", async () => {
    const records = chainOf(5, { tenant: "bad", session: "input" });
    const broken = { ...(records[4] as (typeof records)[number]), schemaVersion: 0 };
    const call = rig
      .call()
      .push(open, appendOf(records.slice(0, 4)), appendOf([broken]))
      .end();
    const failed = await refusal(call.rest());
    expect([failed.name, failed.violations[0]?.field]).toEqual([
      "SCHEMA_VALIDATION_ERROR",
      "append.records[0].schema_version",
    ]);
    await rig.append(records);
    expect((await rig.read({ session: { tenantId: "bad", sessionId: "input" } })).length).toBe(5);
  });

  test("a message past the server's bound is refused with what to do", async () => {
    const records = chainOf(3, { tenant: "bad", session: "large", filler: 200 });
    const large = { ...(records[1] as (typeof records)[number]), canonical: new Uint8Array(4_400_000) };
    const failed = await refusal(
      rig
        .call()
        .push(open, appendOf([large]))
        .end()
        .rest(),
    );
    expect(failed.name).toBe("MESSAGE_TOO_LARGE");
    expect(failed.remedy).not.toBe("");
  });
});
