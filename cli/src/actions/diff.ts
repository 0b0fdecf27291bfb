/** `rspp diff`: two runs compared (F-077). */
import { diffTimelines } from "@rspp/replay/engine/diff";
import { Playback } from "@rspp/replay/engine/playback";
import { runToEnd } from "@rspp/replay/engine/replay-run";
import { reportMarkdown } from "@rspp/replay/engine/report-markdown";
import type { RunTimeline } from "@rspp/replay/engine/run-timeline";
import { sourceOfRecording, timelineOfRecording } from "@rspp/replay/engine/source";
import type { DiffOptions } from "../commands/diff.ts";
import { EXIT_FAILED, EXIT_OK } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { declarationsOf, thresholdsOf, writeReports } from "../replay/judge.ts";
import { load } from "../replay/load.ts";
import type { Where } from "../timeline/options.ts";

export async function diff(a: string, b: string, options: DiffOptions, where: Where): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const declared = await declarationsOf(options);
  const notes: string[] = [];
  const left = await timelineFor(a, options, where, notes);
  const right = await timelineFor(b, options, where, notes);
  const report = diffTimelines(left, right, declared, thresholdsOf(options));
  await writeReports(options, report, { a: left, b: right, notes });
  printer.data({ ...report, notes });
  printer.line(reportMarkdown(report, notes).trimEnd());
  return report.ok ? EXIT_OK : EXIT_FAILED;
}

/** With a journal the session as it is re-executed, which is as it was where nothing diverges; else as its records tell it. */
async function timelineFor(target: string, options: DiffOptions, where: Where, notes: string[]): Promise<RunTimeline> {
  const loaded = await load(target, options, where);
  if (loaded.kind === "timeline") return loaded.timeline;
  for (const problem of loaded.problems) notes.push(`${target} is damaged: ${problem}.`);
  const source = sourceOfRecording(loaded.recording, loaded.problems.length > 0);
  if (!source.ok) {
    notes.push(`${target} has no journal: its signals and evidence are compared.`);
    return timelineOfRecording(loaded.recording);
  }
  const { identical, reference, replayed, notes: said } = runToEnd(new Playback(source.value));
  for (const note of said) notes.push(`${target}: ${note}.`);
  if (identical) return reference ?? replayed;
  notes.push(`${target} does not re-execute as it was recorded: its signals and evidence are compared.`);
  return timelineOfRecording(loaded.recording);
}
