/** The grid of P7: streaming and non-streaming over each combination of latencies, beside the critical path. */
import { type Exchange, type Latencies, parity, runOverlap } from "../../cli/src/latency/overlap.ts";
import { criticalPathMs } from "./p7-critical-path.ts";

export const EXCHANGE: Exchange = {
  question: "when do you open",
  reply:
    "We open at nine in the morning. On weekdays we close at six, and on Saturday we close at noon. " +
    "On Sunday we are closed, but you can always leave a message after the tone.",
};

export const GRID = {
  sttFinalMs: [50, 200, 800],
  llmFirstMs: [100, 500, 1_500],
  tokensPerS: [20, 60, 200],
  ttsFirstMs: [50, 200, 600],
  ttsFrameMs: [2],
} as const;

export interface Point {
  readonly latencies: Latencies;
  readonly criticalMs: number;
  readonly streamingMs: number;
  readonly wholeMs: number;
  readonly streamingCompletionMs: number;
  readonly wholeCompletionMs: number;
  readonly parity: boolean;
}

export function* corners(grid: Readonly<Record<keyof Latencies, readonly number[]>> = GRID): Generator<Latencies> {
  for (const sttFinalMs of grid.sttFinalMs)
    for (const llmFirstMs of grid.llmFirstMs)
      for (const tokensPerS of grid.tokensPerS)
        for (const ttsFirstMs of grid.ttsFirstMs)
          for (const ttsFrameMs of grid.ttsFrameMs)
            yield { sttFinalMs, llmFirstMs, tokensPerS, ttsFirstMs, ttsFrameMs };
}

export async function pointOf(latencies: Latencies): Promise<Point> {
  const streaming = await runOverlap(latencies, EXCHANGE, true);
  const whole = await runOverlap(latencies, EXCHANGE, false);
  return {
    latencies,
    criticalMs: criticalPathMs(latencies, EXCHANGE.reply),
    streamingMs: streaming.firstAudioMs,
    wholeMs: whole.firstAudioMs,
    streamingCompletionMs: streaming.completionMs,
    wholeCompletionMs: whole.completionMs,
    parity: parity(streaming, whole),
  };
}
