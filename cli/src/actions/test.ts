/** `rspp test`: scripted callers against pipelines. 0 all holds, 1 something does not, 2 a script cannot be run. */
import { writeFile } from "node:fs/promises";
import { catalogueOf } from "@rspp/runtime/nodes/open-hosts";
import type { TestOptions } from "../commands/test.ts";
import { EXIT_FAILED, EXIT_INPUT, EXIT_OK, InputError, usageError } from "../errors.ts";
import { openNodes } from "../node-packages.ts";
import { createPrinter, createProgress } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { countWords } from "../output/words.ts";
import { type BrokenScript, junitXml } from "../scripted/junit.ts";
import { reportLines } from "../scripted/report.ts";
import { type LoadOptions, loadScript, runScript, type ScriptReport } from "../scripted/run-script.ts";

/** A script that cannot be run does not keep the others from it. */
export async function test(paths: readonly string[], options: TestOptions): Promise<number> {
  const { data, time, junit, nodes, json = false } = options;
  const printer = createPrinter(json);
  const progress = createProgress();
  const reports: ScriptReport[] = [];
  const broken: BrokenScript[] = [];
  const hosts = await openNodes(nodes);
  const load: LoadOptions = { data, ...catalogueOf(hosts), ...(time === undefined ? {} : { time }) };
  for (const path of paths) {
    try {
      const loaded = await loadScript(path, load);
      const { length } = loaded.script.steps;
      const onStep = (i: number): void => progress.tell(`${path}: step ${i + 1} of ${length}`);
      const report = await runScript(loaded, { nodes: hosts, onStep });
      progress.done();
      reports.push(report);
      printer.lines([...reportLines(report), ""]);
    } catch (error) {
      progress.done();
      if (!(error instanceof InputError) && !(error instanceof Error && error.name === "WavSourceError")) throw error;
      broken.push({ path, problem: error.message });
      printer.note(`${error.message}\n`);
    }
  }
  await hosts?.close();
  if (junit !== undefined) await save(junit, junitXml(reports, broken));
  const failed = reports.filter(({ ok }) => !ok);
  const ok = failed.length === 0 && broken.length === 0;
  printer.data({ ok, scripts: reports.map(reportData), broken });
  printer.line(verdict(reports.length, failed.length, broken.length));
  if (broken.length > 0) return EXIT_INPUT;
  return ok ? EXIT_OK : EXIT_FAILED;
}

function verdict(ran: number, failed: number, broken: number): string {
  const parts = [`${countWords(ran - failed, "script")} passed`];
  if (failed > 0) parts.push(`${failed} failed`);
  if (broken > 0) parts.push(`${broken} could not be run`);
  return paint(failed + broken === 0 ? "green" : "red", parts.join(", "));
}

function reportData({ path, pipeline, time, ok, checks, facts, callMs, tookMs }: ScriptReport) {
  const { turns, lines, tools, ended, replay, framesLost } = facts;
  return {
    file: path,
    pipeline,
    time,
    ok,
    call_ms: callMs,
    took_ms: tookMs,
    checks,
    turns,
    lines,
    tools,
    ended,
    replay,
    frames_lost: framesLost,
  };
}

async function save(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "error";
    throw usageError(`--junit ${file}: cannot be written (${code})`, "name a file in a folder you may write to");
  }
}
