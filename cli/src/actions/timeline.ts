/** `rspp timeline`: what happened in a session, turn by turn. */
import { writeFile } from "node:fs/promises";
import { toJsonString } from "@bufbuild/protobuf";
import { type TimelineRecord, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { buildWaterfall } from "@rspp/replay/waterfall";
import type { TimelineOptions } from "../commands/timeline.ts";
import { EXIT_OK, InputError, usageError } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { deadLettersOf, renderDeadLetters } from "../timeline/dead-letters.ts";
import { filtered } from "../timeline/filters.ts";
import type { Where } from "../timeline/options.ts";
import { recordsOf } from "../timeline/records.ts";
import { renderWaterfall } from "../timeline/render.ts";
import { orNowhere } from "../timeline/source.ts";

export async function timeline(session: string, options: TimelineOptions, where: Where): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const records = await orNowhere(session, options, where, recordsOf(session, options, where));
  if (options.export !== undefined) {
    await exportRecords(options.export, records);
    printer.data({ session, records: records.length, file: options.export });
    printer.line(`${records.length} records of ${session} are in ${options.export}`);
    return EXIT_OK;
  }
  if (options.deadLetters === true) {
    const letters = deadLettersOf(records);
    printer.data({ session, deadLetters: letters });
    printer.lines(renderDeadLetters(letters));
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
