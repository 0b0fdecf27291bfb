/** `rspp timeline`: what happened in a session, turn by turn. */
import { writeFile } from "node:fs/promises";
import { toJsonString } from "@bufbuild/protobuf";
import { type TimelineRecord, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { buildWaterfall } from "@rspp/replay/waterfall";
import { type Command, InvalidArgumentError, Option } from "commander";
import { EXIT_OK, InputError, usageError } from "../errors.ts";
import { type Done, examples, gathered } from "../options.ts";
import { createPrinter } from "../output/printer.ts";
import { filtered, timelineKinds } from "../timeline/filters.ts";
import { localRecords } from "../timeline/local-records.ts";
import { renderWaterfall } from "../timeline/render.ts";
import {
  openSource,
  orNowhere,
  type RecordingOptions,
  readRecords,
  type Where,
  whereOf,
  withRecording,
} from "../timeline/source.ts";

interface TimelineOptions extends RecordingOptions {
  turn?: string[];
  kind?: string[];
  lane?: string;
  node?: string;
  explain?: boolean;
  signals?: boolean;
  export?: string;
}

export function registerTimeline(cli: Command, done: Done): void {
  const command = cli
    .command("timeline")
    .summary("what happened in a session, turn by turn")
    .description("show a session's turns as a waterfall with their latencies; --explain tells each turn in words")
    .argument("<session>", "session id")
    .option("--explain", "tell each turn in plain words instead of bars")
    .option("--signals", "list the control signals too")
    .addOption(new Option("--turn <number...>", "only these turns").argParser(turnNumbers))
    .addOption(new Option("--kind <kind...>", `only these: ${timelineKinds.join(", ")}`).argParser(kindWords))
    .addOption(new Option("--lane <lane>", "only this lane").choices(["control", "data"]))
    .option("--node <id>", "only this node")
    .option("--export <file>", "write the records instead, one JSON object a line; `rspp schema --check` reads them")
    .action(async (session: string, options: TimelineOptions) =>
      done(await timeline(session, options, whereOf(command))),
    );
  withRecording(command);
  examples(
    command,
    ["rspp timeline SESSION", "bars, latencies, words"],
    ["rspp timeline SESSION --explain --turn 2", "why turn 2 opened, what ran, what cut it"],
    ["rspp timeline SESSION --kind invocation --node llm", ""],
    ["rspp timeline SESSION --local --json", "a recording of `rspp run` or `rspp demo`"],
  );
}

function turnNumbers(text: string, before: string[] | undefined): string[] {
  const found = gathered(text, before);
  for (const word of found)
    if (!/^[1-9]\d{0,8}$/.test(word)) throw new InvalidArgumentError("turns are numbered from 1");
  return found;
}

function kindWords(text: string, before: string[] | undefined): string[] {
  const found = gathered(text, before);
  for (const word of found)
    if (!timelineKinds.some((kind) => kind === word))
      throw new InvalidArgumentError(`${word} is none of ${timelineKinds.join(", ")}`);
  return found;
}

async function timeline(session: string, options: TimelineOptions, where: Where): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const records = await orNowhere(session, options, where, recordsOf(session, options, where));
  if (options.export !== undefined) {
    await exportRecords(options.export, records);
    printer.data({ session, records: records.length, file: options.export });
    printer.line(`${records.length} records of ${session} are in ${options.export}`);
    return EXIT_OK;
  }
  const whole = buildWaterfall(records);
  const shown = filtered(whole, {
    turns: (options.turn ?? []).map(Number),
    kinds: options.kind ?? [],
    lane: options.lane ?? "",
    node: options.node ?? "",
  });
  if (shown.turns.length === 0 && (options.turn ?? []).length > 0)
    throw usageError(
      `session ${session} has no turn ${(options.turn ?? []).join(", ")}`,
      `it has ${whole.turns.length === 0 ? "none" : whole.turns.map(({ turn }) => turn).join(", ")}`,
    );
  printer.data(shown);
  const signals = options.signals === true || (options.kind ?? []).includes("signal");
  const width = process.stdout.columns ?? 100;
  printer.lines(renderWaterfall(shown, { width, explain: options.explain ?? false, signals }));
  return EXIT_OK;
}

async function recordsOf(session: string, options: RecordingOptions, where: Where): Promise<TimelineRecord[]> {
  const source = openSource(session, options, where);
  if (source.kind === "service") return readRecords(session, source);
  const records = localRecords(source.store, session);
  if (records.length === 0)
    throw new InputError(
      `session ${session}: not in this spool\n   help: list the sessions with \`rspp sessions --data ${source.data}\``,
    );
  return records;
}

async function exportRecords(file: string, records: readonly TimelineRecord[]): Promise<void> {
  const lines = records.map((record) => toJsonString(TimelineRecordSchema, record, { useProtoFieldName: true }));
  try {
    await writeFile(file, `${lines.join("\n")}\n`, { mode: 0o600 });
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "error";
    throw new InputError(
      `--export ${file}: cannot be written (${code})\n   help: name a file in a folder you may write to`,
    );
  }
}
