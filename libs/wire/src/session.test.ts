import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { canonicalJson } from "@rspp/base/canonical-json";
import { JournalBatchSchema, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { replayJournal } from "@rspp/kernel/replay";
import { assistantGraph, KernelHarness, testConfig } from "@rspp/kernel/testing/harness";
import { expect, test } from "vitest";
import { fromEnvelope } from "./decode.ts";
import { toEnvelope } from "./envelope.ts";
import { journalFromWire, journalToWire } from "./journal.ts";
import { signalInit } from "./kernel-event.ts";
import { chainDigest, timelineRecord, timelineRecordFromWire } from "./timeline.ts";
import { describeError, type WireError } from "./wire-error.ts";

function value<T>(result: { ok: true; value: T } | { ok: false; error: WireError }): T {
  if (!result.ok) throw new Error(describeError(result.error));
  return result.value;
}

/** A question, its answer cut by a barge-in while it plays, all of it settled. */
function talk(): KernelHarness {
  const h = new KernelHarness(testConfig(assistantGraph()));
  h.connect();
  h.utter("tell me a story");
  h.reply("Once upon a time there was a fox. It lived in a wood.", 40);
  h.deliver(1, "accepted", 0);
  h.deliver(1, "started", 0);
  h.advance(300);
  h.hear(true, 6);
  h.fenceAck(1, 480_000);
  h.advance(3_000);
  return h;
}

const h = talk();
const { tenantId: tenant, sessionId: session, graph, authority } = h.config;
const constants = { tenant, session, pipelineVersion: graph.pipelineVersion, epoch: authority.epoch };

test("F-025 every signal of a real session travels and arrives as emitted", () => {
  const signals = h.log.flatMap(({ effect }) => (effect.type === "signal" ? [effect.event] : []));
  expect(signals.length).toBeGreaterThan(8);
  for (const signal of signals) {
    const result = value(fromEnvelope(value(toEnvelope(constants, signalInit(signal, 1_790_000_000_000)))));
    if (result.outcome !== "event") throw new Error("dropped");
    const { event } = result;
    expect(event).toMatchObject({ runtimeSequence: signal.seq, turn: signal.turn, generation: signal.generation });
    expect(event.payload).toMatchObject({ kind: "control", signal: signal.signal, emitter: signal.emitter });
  }
});

test("F-138 F-153 records and journal of a real session survive the wire; the journal replays identically", () => {
  let previousDigest: Uint8Array = new Uint8Array(0);
  const records = h.log.flatMap(({ effect }) => (effect.type === "record" ? [effect.record] : []));
  expect(new Set(records.map((record) => record.kind)).has("evidence")).toBe(true);
  for (const [i, record] of records.entries()) {
    const place = {
      ...{ tenant, session, epoch: authority.epoch, sequence: i + 1, level: "L0" as const, monoNs: i, wallMs: i },
      ...{ previousDigest, batch: 1 },
    };
    const message = fromBinary(
      TimelineRecordSchema,
      toBinary(TimelineRecordSchema, value(timelineRecord(record, place))),
    );
    expect(canonicalJson(value(timelineRecordFromWire(message)))).toBe(canonicalJson(record));
    if (record.kind === "evidence") expect(message.body.case).toBe("evidence");
    previousDigest = chainDigest(previousDigest, message.canonical);
    expect(message.digest).toEqual(previousDigest);
  }
  const entries = h.journal.map((entry) =>
    value(journalFromWire(fromBinary(JournalBatchSchema, toBinary(JournalBatchSchema, value(journalToWire(entry)))))),
  );
  const replay = replayJournal(h.config, entries);
  expect(replay.divergences).toEqual([]);
  expect([replay.identical, replay.steps]).toEqual([true, h.journal.length]);
});
