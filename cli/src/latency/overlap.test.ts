import { expect, test } from "vitest";
import { parity, runOverlap } from "./overlap.ts";

const exchange = {
  question: "when do you open",
  reply: "We open at nine. On weekdays we close at six, and on Saturday we close at noon.",
};
const latencies = { sttFinalMs: 200, llmFirstMs: 300, tokensPerS: 50, ttsFirstMs: 150, ttsFrameMs: 2 };

test("F-063 F-064 streaming: the first clause is spoken while the model goes on; the same is heard and said either way", async () => {
  const streaming = await runOverlap(latencies, exchange, true);
  const whole = await runOverlap(latencies, exchange, false);
  // 4 words and the one that shows that the sentence is over.
  expect(streaming.firstAudioMs).toBeCloseTo(200 + 300 + 4 * 20 + 150, 0);
  expect(whole.firstAudioMs).toBeGreaterThan(200 + 300 + 16 * 20 + 150);
  expect(streaming.completionMs).toBeLessThan(whole.completionMs);
  expect(parity(streaming, whole)).toBe(true);
  expect([streaming.caller, streaming.assistant]).toEqual([exchange.question, exchange.reply]);
  expect(parity(streaming, { ...whole, assistant: "" })).toBe(false);
});
