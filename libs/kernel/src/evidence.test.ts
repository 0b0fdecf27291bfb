import { asMonoNs, asWallMs } from "@rspp/base/brand";
import { canonicalJson } from "@rspp/base/canonical-json";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type DeliveryEvidence,
  deliveryAddendum,
  type EvidenceManifest,
  evidenceBytesMax,
  evidenceCreate,
  evidenceMissing,
  sealEvidence,
  verifyAddendum,
  verifyEvidence,
} from "./evidence.ts";
import { boundText } from "./evidence-bounds.ts";
import {
  EVIDENCE_ADDENDUM_BYTES_MAX,
  EVIDENCE_MANIFEST_BYTES_MAX,
  EVIDENCE_STRING_BYTES_MAX,
  EVIDENCE_T9_BYTES_MAX,
  INVOCATIONS_PER_TURN_MAX,
} from "./limits.ts";

const bytesOf = (value: unknown): number => new TextEncoder().encode(canonicalJson(value)).length;

const instant = (sequence: number) => ({
  sequence,
  monoNs: asMonoNs(sequence * 1_000_000),
  wallMs: asWallMs(1_700_000_000_000 + sequence),
});

function complete(): EvidenceManifest {
  return {
    ...evidenceCreate(),
    tenantId: "tenant-a",
    sessionId: "ses_1",
    turn: 3,
    pipelineVersion: "assistant@1",
    planId: "plan_1",
    planHash: "ab".repeat(32),
    profileVersion: "simple/v1",
    incarnation: "store-1",
    epochAtOpen: 7,
    epochAtTerminal: 7,
    admissionOutcome: "admit",
    snapshots: {
      pipeline: "p1",
      profile: "x",
      policy: "pol1",
      routing: "r1",
      rollout: "",
      admission: "",
      providerHealth: "",
    },
    seed: "seed",
    mergeRuleId: "order",
    mergeRuleVersion: "1",
    orderingMarkers: [{ lane: "data", first: 10, last: 90 }],
    nondeterministicInputs: [],
    opened: instant(10),
    terminal: { ...instant(90), kind: "commit", reason: null, lastDataSequence: 88 },
    closed: instant(91),
    invocations: [
      {
        invocationId: "inv_1",
        modality: "llm",
        node: "llm",
        provider: "local",
        attempt: 1,
        outcome: "success",
        detail: "",
        openedNs: asMonoNs(1),
        endedNs: asMonoNs(2),
      },
    ],
    recordingLevel: "L0",
    behaviours: "1",
  };
}

function cancelled(): EvidenceManifest {
  const m = complete();
  m.terminal = { ...instant(90), kind: "abort", reason: "cancelled", lastDataSequence: null };
  m.cancel = { scope: "turn", reason: "barge_in", acceptedNs: asMonoNs(5), fencedNs: asMonoNs(5), rejectedOutputs: 4 };
  return m;
}

const delivery: DeliveryEvidence = {
  turn: 3,
  outcome: "cancelled",
  playedUs: 1_240_000,
  heardChars: 31,
  replyChars: 80,
  heardBy: "word_timings",
  cancelFenceAppliedNs: asMonoNs(9),
  cancelAcceptedNs: asMonoNs(8),
  cancelReason: "barge_in",
  rejectedOutputs: 2,
  lateAfterCancel: 1,
  settledNs: asMonoNs(10),
  epochAtSettlement: 7,
};

describe("F-153 evidence or02/v1", () => {
  test("F-153 a complete manifest misses nothing, and an empty one names every mandatory field", () => {
    expect([evidenceMissing(complete()), evidenceMissing(cancelled())]).toEqual([[], []]);
    expect(evidenceMissing(evidenceCreate())).toEqual([
      "tenantId",
      "sessionId",
      "turn",
      "pipelineVersion",
      "planId",
      "planHash",
      "profileVersion",
      "incarnation",
      "epochAtOpen",
      "epochAtTerminal",
      "admissionOutcome",
      "snapshots",
      "seed",
      "mergeRuleId",
      "mergeRuleVersion",
      "nondeterministicInputs",
      "opened",
      "terminal",
      "closed",
      "recordingLevel",
      "behaviours",
      "orderingMarkers",
    ]);
  });

  const holes: readonly [string, (m: EvidenceManifest) => void][] = [
    [
      "planHash",
      (m) => {
        m.planHash = "";
      },
    ],
    [
      "epochAtTerminal",
      (m) => {
        m.epochAtTerminal = null;
      },
    ],
    [
      "orderingMarkers",
      (m) => {
        m.orderingMarkers = [];
      },
    ],
    [
      "snapshots.policy",
      (m) => {
        m.snapshots = { ...complete().snapshots!, policy: "" };
      },
    ],
    [
      "snapshots.routing",
      (m) => {
        m.snapshots = { ...complete().snapshots!, routing: "" };
      },
    ],
    [
      "terminal.reason",
      (m) => {
        m.terminal!.reason = null;
      },
    ],
    [
      "cancel",
      (m) => {
        m.cancel = null;
      },
    ],
    [
      "cancel.scope",
      (m) => {
        m.cancel!.scope = "";
      },
    ],
    [
      "cancel.reason",
      (m) => {
        m.cancel!.reason = "";
      },
    ],
    [
      "cancel.acceptedNs",
      (m) => {
        m.cancel!.acceptedNs = null;
      },
    ],
    [
      "cancel.fencedNs",
      (m) => {
        m.cancel!.fencedNs = null;
      },
    ],
    [
      "invocations[0].outcome",
      (m) => {
        m.invocations[0]!.outcome = null;
      },
    ],
    [
      "invocations[0].provider",
      (m) => {
        m.invocations[0]!.provider = "";
      },
    ],
  ];
  for (const [path, hole] of holes) {
    test(`F-153 the absence of ${path} is named, and declared in the seal`, () => {
      const m = cancelled();
      hole(m);
      expect(evidenceMissing(m)).toEqual([path]);
      const sealed = sealEvidence(m);
      expect([sealed.missing, verifyEvidence(sealed)]).toEqual([[path], true]);
      expect(verifyEvidence({ ...sealed, missing: [] })).toBe(false);
    });
  }

  test("F-153 a commit needs its last data sequence, 0 included", () => {
    const m = complete();
    m.terminal = { ...instant(90), kind: "commit", reason: null, lastDataSequence: 0 };
    expect(evidenceMissing(m)).toEqual([]);
    m.terminal.lastDataSequence = null;
    expect(evidenceMissing(m)).toEqual(["terminal.lastDataSequence"]);
  });

  test("F-150 the same turn has the same seal, in whatever order its fields were set; the seal counts its own bytes", () => {
    const m = complete();
    const reversed = Object.fromEntries(Object.entries(m).reverse()) as unknown as EvidenceManifest;
    const sealed = sealEvidence(m);
    expect(sealEvidence(reversed)).toEqual(sealed);
    expect(sealed.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(sealed.bytes).toBeGreaterThanOrEqual(bytesOf(sealed));
    expect(sealed.bytes - bytesOf(sealed)).toBeLessThan(32);
    m.seed = "another";
    expect(sealed.manifest.seed).toBe("seed");
  });
});

describe("F-153 tampering is found", () => {
  test("F-153 any single changed leaf of a sealed manifest breaks its seal", () => {
    const sealed = JSON.parse(JSON.stringify(sealEvidence(cancelled())));
    expect(verifyEvidence(sealed)).toBe(true);
    const leaves: string[] = [];
    const visit = (node: Record<string, unknown>, path: string): void => {
      for (const [key, value] of Object.entries(node)) {
        if (typeof value === "object" && value !== null) {
          visit(value as Record<string, unknown>, `${path}.${key}`);
          continue;
        }
        leaves.push(`${path}.${key}`);
        node[key] = typeof value === "number" ? value + 1 : `${value}x`;
        expect(verifyEvidence(sealed), `${path}.${key}`).toBe(false);
        node[key] = value;
      }
    };
    visit(sealed, "");
    expect(leaves.length).toBeGreaterThan(45);
    expect(verifyEvidence(sealed)).toBe(true);
  });

  test("F-153 an addendum belongs to one sealed manifest and cannot be altered", () => {
    const sealed = sealEvidence(complete());
    const addendum = deliveryAddendum(sealed.hash, delivery);
    expect(verifyAddendum(sealed, addendum)).toBe(true);
    expect(verifyAddendum(sealEvidence(cancelled()), addendum)).toBe(false);
    expect(verifyAddendum(sealed, deliveryAddendum(sealed.hash, { ...delivery, turn: 4 }))).toBe(false);
    for (const key of Object.keys(addendum) as (keyof typeof addendum)[]) {
      expect(verifyAddendum(sealed, { ...addendum, [key]: "x" }), key).toBe(false);
    }
  });
});

describe("F-153 evidence stays inside its reservation", () => {
  const wild = fc.oneof(
    fc.string({ unit: "binary", maxLength: 400 }),
    fc.constant("\u0000".repeat(300)),
    fc.constant("𝕏".repeat(300)),
    fc.constant("\ud800".repeat(90)),
  );

  test("F-153 text is cut at the bound, never inside a surrogate pair, and fits as JSON", () => {
    fc.assert(
      fc.property(wild, (s) => {
        const cut = boundText(s);
        expect(s.startsWith(cut)).toBe(true);
        expect(bytesOf(cut) - 2).toBeLessThanOrEqual(EVIDENCE_STRING_BYTES_MAX);
        if (bytesOf(s) - 2 <= EVIDENCE_STRING_BYTES_MAX) expect(cut).toBe(s);
        expect(/[\ud800-\udbff]$/.test(cut) && /^[\udc00-\udfff]/.test(s.slice(cut.length))).toBe(false);
      }),
    );
  });

  test("F-153 the worst manifest is cut to its bound, counted, and still verifies", () => {
    fc.assert(
      fc.property(wild, fc.integer({ min: 0, max: 90 }), (s, n) => {
        const big = Number.MAX_SAFE_INTEGER;
        const wideInstant = { sequence: big, monoNs: asMonoNs(big), wallMs: asWallMs(-big) };
        const text = Object.fromEntries(Object.keys(complete()).map((k) => [k, s]));
        const m = {
          ...text,
          schema: "or02/v1",
          turn: big,
          epochAtOpen: big,
          epochAtTerminal: big,
          snapshots: Object.fromEntries(Object.keys(complete().snapshots!).map((k) => [k, s])),
          orderingMarkers: Array.from({ length: n }, () => ({ lane: s, first: big, last: big })),
          nondeterministicInputs: Array.from({ length: n }, () => ({ kind: s, ref: s, sequence: big })),
          opened: wideInstant,
          closed: wideInstant,
          terminal: { ...wideInstant, kind: "abort", reason: s, lastDataSequence: big },
          cancel: { scope: s, reason: s, acceptedNs: big, fencedNs: big, rejectedOutputs: big },
          invocations: Array.from({ length: n }, () => ({
            invocationId: s,
            modality: "stt",
            node: s,
            provider: s,
            attempt: big,
            outcome: s,
            detail: s,
            openedNs: big,
            endedNs: big,
          })),
        } as unknown as EvidenceManifest;
        const sealed = sealEvidence(m);
        expect(sealed.bytes).toBeLessThanOrEqual(EVIDENCE_MANIFEST_BYTES_MAX);
        expect(verifyEvidence(JSON.parse(JSON.stringify(sealed)))).toBe(true);
        expect(sealed.manifest.invocations.length).toBe(Math.min(n, INVOCATIONS_PER_TURN_MAX));
        if (n > INVOCATIONS_PER_TURN_MAX) expect(sealed.truncated).toBeGreaterThanOrEqual(n - INVOCATIONS_PER_TURN_MAX);
      }),
      { numRuns: 60 },
    );
  });

  test("F-153 the addendum keeps its bound too, and the reservation holds all three records", () => {
    const worst = deliveryAddendum("f".repeat(64), {
      ...delivery,
      cancelReason: "\u0001".repeat(900),
      playedUs: Number.MAX_SAFE_INTEGER,
    });
    expect(bytesOf(worst)).toBeLessThanOrEqual(EVIDENCE_ADDENDUM_BYTES_MAX);
    expect(evidenceBytesMax).toBe(EVIDENCE_MANIFEST_BYTES_MAX + EVIDENCE_ADDENDUM_BYTES_MAX + EVIDENCE_T9_BYTES_MAX);
  });
});
