/** Expected divergences in, reports out. */
import { readFile, writeFile } from "node:fs/promises";
import type { DivergenceReport, Thresholds } from "@rspp/replay/engine/diff";
import { type Declaration, parseExpected } from "@rspp/replay/engine/expected";
import { reportHtml } from "@rspp/replay/engine/report-html";
import { reportMarkdown } from "@rspp/replay/engine/report-markdown";
import type { RunTimeline } from "@rspp/replay/engine/run-timeline";
import { InputError } from "../errors.ts";
import type { JudgeOptions } from "./judge-options.ts";

export function thresholdsOf({ toleranceMs, maxLatencyRegressionMs }: JudgeOptions): Thresholds {
  return {
    ...(toleranceMs === undefined ? {} : { toleranceMs }),
    ...(maxLatencyRegressionMs === undefined ? {} : { maxLatencyRegressionMs }),
  };
}

/** @throws InputError with every problem of the file. */
export async function declarationsOf({ expect }: JudgeOptions): Promise<readonly Declaration[]> {
  if (expect === undefined) return [];
  let text: string;
  try {
    text = await readFile(expect, "utf8");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "error";
    throw new InputError(`--expect ${expect}: cannot be read (${code})\n   help: name a file of expected divergences`);
  }
  const parsed = parseExpected(text, expect);
  if (parsed.ok) return parsed.value;
  throw new InputError(`${parsed.error}\n   help: docs/replay.md shows a whole file`);
}

/** @throws InputError when a file cannot be written. */
export async function writeReports(
  { report: files = [] }: JudgeOptions,
  report: DivergenceReport,
  runs: { readonly a: RunTimeline; readonly b: RunTimeline; readonly notes: readonly string[] },
): Promise<void> {
  for (const file of files) {
    const { a, b, notes } = runs;
    const content = file.endsWith(".html")
      ? reportHtml(report, a, b, notes)
      : file.endsWith(".md")
        ? reportMarkdown(report, notes)
        : `${JSON.stringify({ ...report, notes }, null, 2)}\n`;
    try {
      await writeFile(file, content, { mode: 0o600 });
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? "error";
      throw new InputError(
        `--report ${file}: cannot be written (${code})\n   help: name a file in a folder you may write to`,
      );
    }
  }
}
