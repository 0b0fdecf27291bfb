import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sampleRecording } from "./recording-sample.ts";

type Level = "L0" | "L1" | "L2";

const pipeline = (samplePercent?: number, ceiling: Level = "L1", name = "shop") => ({
  name,
  recording: { policyId: "rec", ceiling, ...(samplePercent === undefined ? {} : { samplePercent }) },
});
const session = (n: number, tenantId = "acme") => ({ tenantId, sessionId: `s-${n}` });
const kept = (percent: number, n: number, tenantId = "acme", name = "shop") =>
  sampleRecording(pipeline(percent, "L1", name), session(n, tenantId)).ceiling !== "L0";

describe("F-071 sampling of what is recorded above L0", () => {
  test("F-071 of 2000 sessions about the asked share is recorded, the others at L0 and said to be unsampled", () => {
    const chosen = Array.from({ length: 2_000 }, (_, n) => sampleRecording(pipeline(10), session(n)));
    const above = chosen.filter(({ ceiling }) => ceiling === "L1");
    expect(above.length).toBeGreaterThan(160);
    expect(above.length).toBeLessThan(240);
    for (const { ceiling, policyId, sample } of chosen) {
      expect(policyId).toBe(ceiling === "L0" ? "rec#unsampled" : "rec#sampled");
      expect(sample).toMatchObject({ percent: 10, kept: ceiling !== "L0" });
      expect((sample?.bucket ?? -1) < 1_000).toBe(ceiling !== "L0");
    }
  });

  test("F-071 no share given records all, 100 all, 0 none; a level of L0 is never drawn upwards", () => {
    for (let n = 0; n < 50; n++) {
      expect(sampleRecording(pipeline(), session(n))).toEqual({ policyId: "rec", ceiling: "L1" });
      expect([kept(100, n), kept(0, n)]).toEqual([true, false]);
      expect(sampleRecording(pipeline(100, "L0"), session(n))).toEqual({ policyId: "rec", ceiling: "L0" });
    }
  });

  test("F-071 the draw is the session's own: repeated it is the same, and a larger share keeps what a smaller one kept", () => {
    fc.assert(
      fc.property(fc.nat(100), fc.nat(100), fc.nat(), fc.string(), (a, b, n, tenant) => {
        expect(kept(a, n, tenant)).toBe(kept(a, n, tenant));
        if (kept(Math.min(a, b), n, tenant)) expect(kept(Math.max(a, b), n, tenant)).toBe(true);
      }),
    );
  });

  test("F-071 tenants and pipelines draw apart", () => {
    const drawn = (tenant: string, name: string) => Array.from({ length: 200 }, (_, n) => kept(50, n, tenant, name));
    expect(drawn("acme", "shop")).not.toEqual(drawn("other", "shop"));
    expect(drawn("acme", "shop")).not.toEqual(drawn("acme", "desk"));
  });
});
