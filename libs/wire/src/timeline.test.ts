import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MonoNs, WallMs } from "@rspp/base/brand";
import { canonicalJson } from "@rspp/base/canonical-json";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import { JournalBatchSchema, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { TimelineRecord } from "@rspp/kernel/effect";
import { deliveryAddendum, evidenceCreate, sealEvidence } from "@rspp/kernel/evidence";
import type { InputBody } from "@rspp/kernel/input";
import type { JournalEntry } from "@rspp/kernel/replay";
import { describe, expect, test } from "vitest";
import { journalFromWire, journalToWire } from "./journal.ts";
import { chainDigest, type RecordPlace, timelineRecord, timelineRecordFromWire } from "./timeline.ts";
import { fromHex } from "./timeline-body.ts";
import { describeError, type WireError } from "./wire-error.ts";

function value<T>(result: { ok: true; value: T } | { ok: false; error: WireError }): T {
  if (!result.ok) throw new Error(describeError(result.error));
  return result.value;
}

const ns = (n: number) => n as MonoNs;
const at = (n: number) => ({ sequence: n, monoNs: ns(n * 1000), wallMs: (1_790_000_000_000 + n) as WallMs });
const refs = {
  pipeline: "1",
  profile: "simple/v1",
  policy: "p1",
  routing: "r1",
  rollout: "",
  admission: "a",
  providerHealth: "h",
};

function sealed(complete: boolean) {
  const m = evidenceCreate();
  Object.assign(m, {
    ...{ tenantId: "acme", sessionId: "s-1", turn: 2, pipelineVersion: "voice-assistant@3", planId: "plan-1" },
    ...{ planHash: "ab".repeat(32), profileVersion: "simple/v1", incarnation: "1", epochAtOpen: 7, epochAtTerminal: 7 },
    ...{ admissionOutcome: "admit", snapshots: refs, seed: "seed", mergeRuleId: "arrival", mergeRuleVersion: "1" },
    ...{ orderingMarkers: [{ lane: "data", first: 3, last: 9 }], opened: at(3), closed: at(9), recordingLevel: "L0" },
    ...{ nondeterministicInputs: [{ kind: "stt", ref: "inv-1", sequence: 4 }], behaviours: "1,2" },
    terminal: { ...at(8), kind: "abort", reason: "cancelled", lastDataSequence: null },
    cancel: { scope: "turn", reason: "barge_in", acceptedNs: ns(5000), fencedNs: ns(6000), rejectedOutputs: 1 },
    invocations: [
      {
        ...{ invocationId: "inv-1", modality: "llm", node: "llm", provider: "local/responder", attempt: 1 },
        ...{ outcome: "success", detail: "", openedNs: ns(1000), endedNs: ns(9000) },
      },
    ],
  });
  return sealEvidence(complete ? m : { ...m, planHash: null });
}

const evidence = sealed(true);
const addendum = deliveryAddendum(evidence.hash, {
  ...{ turn: 2, outcome: "cancelled", playedUs: 1_200_000, heardChars: 12, replyChars: 40, heardBy: "word_timings" },
  ...{ cancelFenceAppliedNs: ns(7000), cancelAcceptedNs: ns(5000), cancelReason: "barge_in", rejectedOutputs: 1 },
  ...{ lateAfterCancel: 0, settledNs: ns(9500), epochAtSettlement: 7 },
});
const plan = { schema: "turn_plan/v1", turn: 2, epoch: 7 };
const refusal = { schema: "or02/v1/refusal", proposal: 4, outcome: "defer", reason: "recording" };
const letter = { schema: "dead_letter/v1", number: 1, what: "control", reason: "schema_validation_error", turn: 2 };
const hashed = (v: unknown) => sha256Utf8Hex(canonicalJson(v));

const records: Record<string, [TimelineRecord, string]> = {
  evidence: [{ kind: "evidence", turn: 2, hash: evidence.hash, manifest: evidence }, "evidence"],
  "incomplete evidence": [
    { kind: "evidence", turn: 2, hash: sealed(false).hash, manifest: sealed(false) },
    "canonicalRecord",
  ],
  addendum: [{ kind: "delivery_addendum", turn: 2, hash: addendum.hash, addendum }, "addendum"],
  refusal: [
    {
      kind: "refusal",
      proposal: 4,
      outcome: "defer",
      reason: "recording",
      manifest: { ...refusal, hash: hashed(refusal) },
    },
    "refusal",
  ],
  "dead letter": [
    { kind: "dead_letter", number: 1, turn: 2, hash: hashed(letter), letter: { ...letter, hash: hashed(letter) } },
    "canonicalRecord",
  ],
  plan: [{ kind: "plan", turn: 2, planId: "plan-1", hash: hashed(plan), plan }, "canonicalRecord"],
  "session plan": [{ kind: "session_plan", planId: "splan-1", hash: hashed(plan), plan }, "canonicalRecord"],
  snapshot: [{ kind: "state_snapshot", turns: 3, state: '{"a":1}' }, "snapshot"],
  "recording level": [
    { kind: "recording_level", policyId: "p1", from: "L1", to: "L0", trigger: "queue_fill", monoNs: ns(12) },
    "levelChange",
  ],
};

const place: RecordPlace = {
  ...{ tenant: "acme", session: "s-1", epoch: 7, sequence: 5, level: "L0", monoNs: 100, wallMs: 1_790_000_000_000 },
  previousDigest: new Uint8Array(32).fill(3),
  batch: 11,
};

describe.each(Object.entries(records))("F-153 record: %s", (_name, [record, body]) => {
  const bytes = toBinary(TimelineRecordSchema, value(timelineRecord(record, place)));

  test("is carried whole, with its hash, and comes back as the kernel made it", () => {
    const message = fromBinary(TimelineRecordSchema, bytes);
    expect(message.body.case).toBe(body);
    expect(value(timelineRecordFromWire(message))).toEqual(JSON.parse(canonicalJson(record)));
    if ("hash" in record && message.body.case === "evidence")
      expect(message.body.value.digest).toEqual(fromHex(record.hash));
    expect(message.digest).toEqual(chainDigest(place.previousDigest, message.canonical));
  });

  test("altered content is found, by the chain and, where the chain is made anew, by the kernel's own hash", () => {
    const message = fromBinary(TimelineRecordSchema, bytes);
    const altered = new TextDecoder().decode(message.canonical).replace(/2|3/, "9");
    message.canonical = new TextEncoder().encode(altered);
    const chain = timelineRecordFromWire(message);
    expect(chain.ok ? "" : chain.error.reason).toBe("chain_broken");
    if (record.kind === "state_snapshot" || record.kind === "recording_level") return;
    message.digest = chainDigest(message.previousDigest, message.canonical);
    expect(timelineRecordFromWire(message).ok).toBe(false);
  });
});

describe("F-138 the journal", () => {
  const bodies: InputBody[] = [
    { type: "timer", id: "edge:1:2" },
    {
      type: "control",
      ...{ epoch: 7, sequence: 1, signal: "connected", controlClass: "positioned", lastMediaSequence: -1, turn: 0 },
      ...{ reason: "", key: "", fields: null },
    },
    { type: "provider_outcome", invocation: 3, outcome: "success", detail: "", usage: { inputTokens: 4 } },
    {
      type: "node_emitted",
      command: 2,
      index: 0,
      port: "activity",
      body: { type: "activity", speech: true, probability: 0.25, mediaUs: 0, durationUs: 20_000 },
    },
    { type: "operator", command: "drain", turn: 0, reason: "é🎙" },
  ];
  const entry: JournalEntry = {
    batch: {
      ...{ index: 4, monoNs: ns(500), wallMs: 1_790_000_000_001 as WallMs },
      inputs: bodies.map((body, i) => ({ seq: i + 1, monoNs: ns(i), wallMs: 1_790_000_000_000 as WallMs, body })),
    },
    facts: [
      { fn: "clause_ends", answer: [4, 9] },
      { fn: "cut", answer: { chars: 4, bytes: 4, hash: "" } },
      { fn: "is_blank", answer: false },
    ],
    digest: "00ff00ff12345678",
  };

  test("an entry comes back as it was: stamps, facts and rolling digest", () => {
    const bytes = toBinary(JournalBatchSchema, value(journalToWire(entry)));
    expect(value(journalFromWire(fromBinary(JournalBatchSchema, bytes)))).toEqual(entry);
  });

  test("a step without inputs is an entry too", () => {
    const empty = { ...entry, batch: { ...entry.batch, inputs: [] }, facts: [] };
    expect(value(journalFromWire(value(journalToWire(empty))))).toEqual(empty);
  });

  test.each<[string, (body: { body: Uint8Array; bodySchema: string; kind: number }) => void]>([
    ["body_schema", (input) => Object.assign(input, { bodySchema: "kernel-input/2" })],
    ["filed under", (input) => Object.assign(input, { kind: 3 })],
    ["canonical", (input) => Object.assign(input, { body: new TextEncoder().encode('{"type": "timer","id":"x"}') })],
    ["canonical", (input) => Object.assign(input, { body: new Uint8Array([0xff]) })],
  ])("a body that breaks its contract is refused: %s", (what, change) => {
    const message = value(journalToWire(entry));
    change(message.inputs[0]!);
    const result = journalFromWire(message);
    expect(result.ok ? "accepted" : describeError(result.error)).toContain(what);
  });
});
