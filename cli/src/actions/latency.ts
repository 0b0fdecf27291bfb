/** `rspp latency compare`: what streaming gains with given latencies, both metrics, compared only where the same was said. */
import type { LatencyOptions } from "../commands/latency.ts";
import { EXIT_FAILED, EXIT_OK } from "../errors.ts";
import { type OverlapRun, parity, runOverlap } from "../latency/overlap.ts";
import { createPrinter } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { table } from "../output/table.ts";

export async function compareLatency({ question, reply, json, ...latencies }: LatencyOptions): Promise<number> {
  const printer = createPrinter(json ?? false);
  const streaming = await runOverlap(latencies, { question, reply }, true);
  const whole = await runOverlap(latencies, { question, reply }, false);
  const same = parity(streaming, whole);
  const gainMs = whole.firstAudioMs - streaming.firstAudioMs;
  const completionGainMs = whole.completionMs - streaming.completionMs;
  const shown = ({ firstAudioMs, completionMs, audioMs }: OverlapRun) => ({ firstAudioMs, completionMs, audioMs });
  printer.data({
    ok: same,
    parity: same ? "equal" : "different",
    latencies,
    streaming: shown(streaming),
    nonStreaming: shown(whole),
    gain: { firstAudioMs: gainMs, completionMs: completionGainMs },
  });
  const ms = (value: number): string => `${value.toFixed(0)} ms`;
  const cells = [
    ["first assistant audio", ms(streaming.firstAudioMs), ms(whole.firstAudioMs), ms(gainMs)],
    ["turn completed", ms(streaming.completionMs), ms(whole.completionMs), ms(completionGainMs)],
  ];
  const heads = ["", "STREAMING", "NON-STREAMING", "GAIN"].map((head) => ({ head }));
  printer.lines(table(heads, cells));
  printer.line(
    same
      ? `parity ${paint("green", "equal")}: both heard and said the same, ${ms(streaming.audioMs)} of audio`
      : `parity ${paint("red", "different")}: what was heard or said differs; the figures compare nothing`,
  );
  return same ? EXIT_OK : EXIT_FAILED;
}
