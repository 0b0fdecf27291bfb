/** Writes docs/streaming-overlap.md and its plot from a run of P7's grid: `npx node test/load/p7-page.ts`. */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { corners, EXCHANGE, type Point, pointOf } from "./p7-grid.ts";

const docs = fileURLToPath(new URL("../../docs/", import.meta.url));
const WIDTH = 900;
const HEIGHT = 460;
const LEFT = 60;
const BOTTOM = 50;

/** Points in the order of the critical path: the path as a line, both ways as dots. */
export function plot(points: readonly Point[]): string {
  const sorted = [...points].sort((a, b) => a.criticalMs - b.criticalMs);
  const most = Math.ceil(Math.max(...sorted.map(({ wholeMs }) => wholeMs)) / 1_000) * 1_000;
  const x = (i: number): string => (LEFT + (i * (WIDTH - LEFT - 20)) / Math.max(1, sorted.length - 1)).toFixed(1);
  const y = (ms: number): string => (HEIGHT - BOTTOM - (ms * (HEIGHT - BOTTOM - 30)) / most).toFixed(1);
  const dots = (of: (point: Point) => number, colour: string): string =>
    sorted.map((point, i) => `<circle cx="${x(i)}" cy="${y(of(point))}" r="3" fill="${colour}"/>`).join("");
  const line = sorted.map(({ criticalMs }, i) => `${x(i)},${y(criticalMs)}`).join(" ");
  const marks = Array.from({ length: most / 1_000 + 1 }, (_, s) => s * 1_000);
  const scale = marks.map(
    (ms) =>
      `<line x1="${LEFT}" x2="${WIDTH - 20}" y1="${y(ms)}" y2="${y(ms)}" stroke="#ddd"/>` +
      `<text x="${LEFT - 8}" y="${Number(y(ms)) + 4}" text-anchor="end">${ms / 1_000} s</text>`,
  );
  const key = (i: number, colour: string, text: string): string =>
    `<circle cx="${LEFT + 20}" cy="${40 + i * 18}" r="4" fill="${colour}"/><text x="${LEFT + 30}" y="${44 + i * 18}">${text}</text>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    "<title>First audio by critical path, streaming and non-streaming</title>",
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    ...scale,
    `<polyline points="${line}" fill="none" stroke="#444"/>`,
    dots(({ wholeMs }) => wholeMs, "#c0392b"),
    dots(({ streamingMs }) => streamingMs, "#2471a3"),
    key(0, "#2471a3", "first audio, streaming"),
    key(1, "#c0392b", "first audio, non-streaming"),
    key(2, "#444", "critical path (line)"),
    `<text x="${WIDTH / 2}" y="${HEIGHT - 16}" text-anchor="middle">points of the grid, by their critical path</text>`,
    "</svg>\n",
  ].join("\n");
}

export function page(points: readonly Point[]): string {
  const over = points.map((p) => p.streamingMs - p.criticalMs);
  const gains = points.map((p) => p.wholeMs - p.streamingMs).sort((a, b) => a - b);
  const median = gains[gains.length >> 1] ?? 0;
  const ms = (value: number): string => value.toFixed(0);
  return [
    "# Streaming overlap",
    "",
    "How soon the caller hears the first of an answer, from the end of the caller's words, when speech recognition, language model",
    "and voice work at the same time, beside the same exchange with each stage waiting for the whole of the one before. Kernel,",
    "runtime and gateway are the shipped ones; providers are simulated with the latencies of each row and time is virtual, so that",
    "the figures are the same on every machine. The critical path is worked out by `test/load/p7-critical-path.ts`, which imports",
    "nothing of the product: final text, then the tokens of the first sentence and the one that shows that it is over, then the",
    "first byte of its audio. Speculation is off, and attempts have budgets of 60 s; those of `simple/v1` would cut off the slow",
    "corner.",
    "",
    `Both ways were given the same words and said the same: ${points.filter((p) => p.parity).length} of ${points.length} points have parity.`,
    `Streaming is ${ms(Math.min(...over))} to ${ms(Math.max(...over))} ms off the critical path, and ${ms(gains[0] ?? 0)} to ${ms(gains.at(-1) ?? 0)} ms (median ${ms(median)}) before`,
    "non-streaming. Completion counts until the caller has heard all of it.",
    "",
    "![First audio by critical path](streaming-overlap.svg)",
    "",
    "One's own latencies: `rspp latency compare --stt-final-ms 200 --llm-first-ms 400`. The grid: `npm run bench -- P7`; this page:",
    "`node test/load/p7-page.ts`.",
    "",
    `The answer: “${EXCHANGE.reply}”`,
    "",
    "| STT final ms | LLM first ms | tokens/s | TTS first ms | critical path ms | streaming ms | non-streaming ms | completed, streaming ms | completed, non-streaming ms |",
    "|---|---|---|---|---|---|---|---|---|",
    ...points.map((p) => {
      const { sttFinalMs, llmFirstMs, tokensPerS, ttsFirstMs } = p.latencies;
      const figures = [p.criticalMs, p.streamingMs, p.wholeMs, p.streamingCompletionMs, p.wholeCompletionMs].map(ms);
      return `| ${[sttFinalMs, llmFirstMs, tokensPerS, ttsFirstMs, ...figures].join(" | ")} |`;
    }),
    "",
  ].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const points: Point[] = [];
  for (const latencies of corners()) points.push(await pointOf(latencies));
  writeFileSync(`${docs}streaming-overlap.md`, page(points));
  writeFileSync(`${docs}streaming-overlap.svg`, plot(points));
}
