import { describe, expect, test } from "vitest";
import { defaultBuffer, PROFILE_NAMES, resolveProfile } from "./profile.ts";

function simple() {
  const found = resolveProfile("simple/v1");
  if (!found.ok) throw new Error(found.error.remedy);
  return found.value;
}

describe("execution profiles", () => {
  test("F-078 simple/v1 holds the values of kernel.md §3", () => {
    const profile = simple();
    expect(profile.budgets).toEqual({
      turnFirstOutputMs: 2000,
      nodeSoftMs: 800,
      providerAttemptMs: 1000,
      cancelGraceMs: 75,
    });
    expect(profile.flowControl).toBe("signal");
    expect(profile.lanes).toEqual({ control: "never_dropped", data: "by_edge", telemetry: "sampled" });
    expect(profile.recording.ceiling).toBe("L0");
    expect(profile.source).toBe("defaulting_source=execution_profile/simple/v1");
  });

  test("F-078 every derived buffer is bounded and names its source", () => {
    const profile = simple();
    const all = [...Object.values(profile.buffers.session), ...Object.values(profile.buffers.turn)];
    for (const buffer of all) {
      expect(buffer.source).toBe("defaulting_source=execution_profile/simple/v1");
      expect(Math.min(buffer.maxItems, buffer.maxBytes, buffer.maxQueueMs)).toBeGreaterThan(0);
      expect(buffer.maxBlockMs > 0).toBe(buffer.strategy === "block");
    }
  });

  test("F-078 interim data is dropped or coalesced, what a turn says is not", () => {
    const profile = simple();
    expect(defaultBuffer(profile, "session", "audio")).toMatchObject({
      strategy: "drop_oldest",
      maxItems: 100,
      maxQueueMs: 1000,
    });
    expect(defaultBuffer(profile, "session", "text")).toMatchObject({ strategy: "coalesce", maxItems: 64 });
    expect(defaultBuffer(profile, "turn", "audio")).toMatchObject({
      strategy: "block",
      maxItems: 6000,
      maxQueueMs: 120_000,
      maxBytes: 8_388_608,
      maxBlockMs: 2000,
    });
    expect(defaultBuffer(profile, "turn", "text").strategy).toBe("block");
  });

  test.each(PROFILE_NAMES.filter((name) => name !== "simple/v1"))("F-078 %s is known and refused", (name) => {
    const found = resolveProfile(name);
    expect(found).toMatchObject({ ok: false, error: { kind: "refused", name } });
    if (found.ok || found.error.kind !== "refused") throw new Error("unreachable");
    expect(found.error.refused).toMatch(/not part of this release$/);
    expect(found.error.remedy).toMatch(/^use simple\/v1/);
  });

  test("F-078 an unknown name is another error, with the known names", () => {
    for (const name of ["simple/v2", "simple", "", "__proto__", "constructor"]) {
      expect(resolveProfile(name)).toMatchObject({ ok: false, error: { kind: "unknown", name } });
    }
    const found = resolveProfile("fast/v1");
    expect(found.ok ? "" : found.error.remedy).toBe(
      "use simple/v1; known names: simple/v1, balanced/v1, accuracy/v1, latency/v1, telephony/v1",
    );
  });
});
