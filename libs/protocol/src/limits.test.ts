import { expect, test } from "vitest";
import { assertLimits, limits } from "./limits.ts";

test("the bounds hold their relations", () => {
  expect(() => assertLimits(limits)).not.toThrow();
});

test.each([
  [{ POSITIONED_WAIT_MS: 41 }, /40 ms/],
  [{ FLUSH_BATCH_MS: 4 }, /3 ms/],
  [{ LEASE_TERM_MS: 59_999 }, /60 s/],
  [{ LEASE_RENEW_MS: 20_000 }, /three renewals/],
  [{ LINK_REORDER_HOLD_MS: 40 }, /hole is declared/],
  [{ LINK_EVENT_BYTES_MAX: 200_000 }, /initial byte credit/],
  [{ CALLER_AUDIO_US_MAX: 30_000_001 }, /30 s/],
  [{ EXPORT_BATCH_RECORDS: 2_000 }, /export window/],
  [{ REPLAY_AGE_MS: 0 }, /positive/],
])("a broken relation is named: %j", (change, message) => {
  expect(() => assertLimits({ ...limits, ...change })).toThrow(message);
});
