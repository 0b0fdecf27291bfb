import { expect, test } from "vitest";
import * as limits from "./limits.ts";

test("every limit is a positive finite number and its unit stands in its name", () => {
  for (const [name, value] of Object.entries(limits)) {
    expect(value, name).toBeGreaterThan(0);
    expect(Number.isFinite(value), name).toBe(true);
    expect(name).toMatch(/_(MAX|MS|US|BYTES|FILL|SHARE|DISPATCHES)$|_MAX$/);
  }
});

test("the numbers that kernel.md names are those", () => {
  expect(limits).toMatchObject({
    POSITIONED_WAIT_MS: 40,
    CANCEL_GRACE_MS: 75,
    RECORDING_L1_FILL: 0.8,
    RECORDING_L0_FILL: 0.9,
    RECORDING_SUSTAIN_MS: 500,
    RECORDING_L1_LAG_MS: 2_000,
    RECORDING_L0_LAG_MS: 5_000,
    RECORDING_CALM_MS: 10_000,
  });
});
