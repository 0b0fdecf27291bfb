import { asMonoNs } from "@rspp/base/brand";
import { deliveryAddendum, evidenceCreate, sealEvidence } from "@rspp/kernel/evidence";
import type { RecordKind, SpoolRecord } from "../spool/frame.ts";
import { convert } from "./convert.ts";
import { placeAtStart } from "./place.ts";

/**
 * Makes one record of each kind and drops it, a kind at each step. The rules of a contract are planned when they are first
 * used, which costs tens of milliseconds: better at the start of the process than in the middle of a call, and between
 * other work than in one piece.
 */
export function* warmUp(): Generator<void> {
  const place = placeAtStart("warm-up", 1, null);
  for (const [kind, payload] of samples()) {
    const none = new Uint8Array(0);
    const record: SpoolRecord = {
      kind,
      tenantId: "",
      sessionId: "warm-up",
      epoch: 1,
      seq: 1,
      wallMs: 0,
      erased: false,
      prev: none,
      digest: none,
      payload: Buffer.from(payload, "utf8"),
      link: none,
    };
    for (const _ of convert(record, place, { build: "warm-up", instanceId: "" })) yield;
  }
}

function samples(): [RecordKind, string][] {
  const hash = "00".repeat(32);
  const sealed = sealEvidence({ ...evidenceCreate(), turn: 1, tenantId: "t", sessionId: "s" });
  const addendum = deliveryAddendum(sealed.hash, {
    turn: 1,
    outcome: "completed",
    playedUs: 0,
    heardChars: 0,
    replyChars: 0,
    heardBy: "none",
    cancelFenceAppliedNs: asMonoNs(1),
    cancelAcceptedNs: asMonoNs(1),
    cancelReason: "cancelled",
    rejectedOutputs: 0,
    lateAfterCancel: 0,
    settledNs: asMonoNs(1),
    epochAtSettlement: 1,
  });
  const input = { seq: 1, monoNs: 1, wallMs: 1, body: { type: "timer", id: "t" } };
  const entry = {
    batch: { index: 1, monoNs: 1, wallMs: 1, inputs: [input] },
    facts: [{ fn: "is_blank", answer: true }],
  };
  const signal = { signal: "turn_open", emitter: "arbiter", seq: 1, turn: 1, generation: 1, epoch: 1, monoNs: 1 };
  const line = { ...signal, cause: 1, reason: "", fields: { origin: "api" } };
  return [
    [
      "session",
      JSON.stringify({ tenantId: "t", sessionId: "s", epoch: 1, pipeline: "p@1", level: "L1", config: null }),
    ],
    ["group", `journal ${JSON.stringify({ ...entry, digest: "d" })}\nsignal ${JSON.stringify(line)}`],
    ["plan", JSON.stringify({ kind: "plan", turn: 1, planId: "p", hash, plan: {} })],
    ["evidence", JSON.stringify({ kind: "evidence", turn: 1, hash: sealed.hash, manifest: sealed })],
    ["delivery_addendum", JSON.stringify({ kind: "delivery_addendum", turn: 1, hash: addendum.hash, addendum })],
    ["refusal", JSON.stringify({ kind: "refusal", proposal: 1, outcome: "defer", reason: "recording", manifest: {} })],
    ["state_snapshot", JSON.stringify({ kind: "state_snapshot", turns: 0, state: "{}" })],
    ["session_end", "{}"],
  ];
}
