/** `rspp replay` with a mode, another version, breakpoints or a report: the replay engine (F-072, F-127, F-151, F-152). */
import { readFile, writeFile } from "node:fs/promises";
import type { Candidate } from "@rspp/replay/engine/candidate";
import { Playback } from "@rspp/replay/engine/playback";
import { reportOf } from "@rspp/replay/engine/replay-report";
import { type Breakpoint, type ReplayRun, runUntil, type StepView } from "@rspp/replay/engine/replay-run";
import { reportMarkdown } from "@rspp/replay/engine/report-markdown";
import { Rerun } from "@rspp/replay/engine/rerun";
import { type ReplaySource, sourceOfRecording } from "@rspp/replay/engine/source";
import type { EngineOptions } from "../commands/replay.ts";
import { EXIT_FAILED, EXIT_OK, InputError } from "../errors.ts";
import { createPrinter, type Printer } from "../output/printer.ts";
import { candidateFor } from "../replay/against.ts";
import { declarationsOf, thresholdsOf, writeReports } from "../replay/judge.ts";
import { load } from "../replay/load.ts";
import { noJournal } from "../replay-session.ts";
import type { Where } from "../timeline/options.ts";

export async function replayWithEngine(target: string, options: EngineOptions, where: Where): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const declared = await declarationsOf(options);
  const { source, problems } = await sourceFor(target, options, where);
  const candidate = await candidateFor(options, source);
  const run = await startRun(source, candidate, options);
  const stopped = advance(run, options);
  if (stopped !== null) return tellStop(run, stopped, options, printer);
  const outcome = run.outcome();
  const report = reportOf(outcome, declared, thresholdsOf(options));
  const notes = [...problems.map((problem) => `Damaged: ${problem}.`), ...outcome.notes];
  await writeReports(options, report, { a: outcome.reference ?? outcome.replayed, b: outcome.replayed, notes });
  const { mode, pipeline, level, steps, identical, digest } = outcome;
  printer.data({ mode, pipeline, level, steps, identical, digest, notes, report });
  printer.line(`mode ${mode}, ${pipeline}, ${steps} steps, ${identical ? "identical" : "not identical"}\n`);
  printer.line(reportMarkdown(report, notes).trimEnd());
  return report.ok && problems.length === 0 ? EXIT_OK : EXIT_FAILED;
}

async function sourceFor(
  target: string,
  options: EngineOptions,
  where: Where,
): Promise<{ source: ReplaySource; problems: readonly string[] }> {
  const loaded = await load(target, options, where);
  if (loaded.kind === "timeline")
    throw new InputError(
      `${target}: is a timeline, which has no journal to replay\n   help: compare timelines with \`rspp diff A B\``,
    );
  const source = sourceOfRecording(loaded.recording, loaded.problems.length > 0);
  if (!source.ok) throw new InputError(noJournal(target));
  return { source: source.value, problems: loaded.problems };
}

async function startRun(source: ReplaySource, candidate: Candidate | null, options: EngineOptions): Promise<ReplayRun> {
  const { mode = "recorded", cursor } = options;
  const paused = cursor === undefined ? undefined : await savedCursor(cursor);
  try {
    if (mode === "recorded" && candidate === null) return new Playback(source, paused);
    return new Rerun(source, {
      mode: mode === "recorded" ? "recorded" : "resimulate",
      ...(candidate === null ? {} : { against: candidate }),
      ...(paused === undefined ? {} : { paused }),
    });
  } catch (error) {
    if (!(error instanceof RangeError) && !(error instanceof SyntaxError)) throw error;
    throw new InputError(`${error.message}\n   help: a cursor fits the same recording, mode and version`);
  }
}

async function savedCursor(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new InputError(`--cursor ${file}: cannot be read\n   help: name a file; a new one is made at the first stop`);
  }
}

/** Where it stopped on its way; null at the end. */
function advance(run: ReplayRun, { until = [], step }: EngineOptions): StepView | null {
  if (step !== undefined) {
    let last: StepView | null = null;
    for (let i = 0; i < step; i++) {
      last = run.step();
      if (last === null) return null;
    }
    return last;
  }
  if (until.length > 0) return runUntil(run, until as Breakpoint[]);
  while (run.step() !== null);
  return null;
}

async function tellStop(run: ReplayRun, view: StepView, { cursor }: EngineOptions, printer: Printer): Promise<number> {
  if (cursor !== undefined) await writeFile(cursor, run.pause(), { mode: 0o600 });
  const { batch, effects } = view;
  const digest = run.stateDigest();
  const { mode } = run.outcome();
  printer.data({ mode, stopped: true, step: batch.index, at_ns: batch.monoNs, inputs: batch.inputs, effects, digest });
  printer.line(`stopped behind step ${batch.index} at ${Math.round(batch.monoNs / 1e6)} ms (mode ${mode})`);
  for (const { seq, body } of batch.inputs) printer.line(`  in  ${seq} ${body.type} ${summary(body)}`);
  for (const effect of effects) printer.line(`  out ${effect.type} ${summary(effect)}`);
  printer.line(`state ${digest.slice(0, 16)}${cursor === undefined ? "" : `; \`--cursor ${cursor}\` goes on here`}`);
  return EXIT_OK;
}

const SUMMARY_MAX = 140;

function summary(of: object): string {
  const { type: _, ...rest } = of as Record<string, unknown>;
  const text = JSON.stringify("event" in rest ? rest.event : rest);
  return text.length > SUMMARY_MAX ? `${text.slice(0, SUMMARY_MAX)}…` : text;
}
