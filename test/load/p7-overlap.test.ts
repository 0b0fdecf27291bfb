import { expect, test } from "vitest";
import { criticalPathMs, tokensOfFirstClause } from "./p7-critical-path.ts";
import { corners, pointOf } from "./p7-grid.ts";

test("the critical path is the sum of what must follow one another", () => {
  const latencies = { sttFinalMs: 100, llmFirstMs: 200, tokensPerS: 50, ttsFirstMs: 80, ttsFrameMs: 2 };
  expect(tokensOfFirstClause("Yes. It is.")).toBe(2);
  expect(tokensOfFirstClause("We open at 9.30 today")).toBe(5);
  expect(criticalPathMs(latencies, "Yes. It is.")).toBe(100 + 200 + 20 + 80);
});

test("F-063 F-064 first audio is within 10 ms of the critical path at every corner of the grid, never after non-streaming", async () => {
  const ends = { sttFinalMs: [50, 800], llmFirstMs: [100, 1_500], tokensPerS: [20, 200], ttsFirstMs: [50, 600] };
  for (const latencies of corners({ ...ends, ttsFrameMs: [2] })) {
    const point = await pointOf(latencies);
    expect(Math.abs(point.streamingMs - point.criticalMs), JSON.stringify(point)).toBeLessThanOrEqual(10);
    expect(point.wholeMs).toBeGreaterThan(point.streamingMs);
    expect(point.wholeCompletionMs).toBeGreaterThan(point.streamingCompletionMs);
    expect(point.parity).toBe(true);
  }
});
