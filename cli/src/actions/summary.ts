/** `rspp summary`: what became of sessions (F-075). */
import { RecordingLevelSchema } from "@rspp/gen/rspp/common/v1/lane_pb";
import { type SessionSummary, TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import type { SummaryOptions } from "../commands/summary.ts";
import { wordOf } from "../enum-words.ts";
import { EXIT_OK } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { facts, table } from "../output/table.ts";
import { timeWords } from "../output/words.ts";
import { connectTo } from "../platform-client/connect.ts";
import { isUnknown, unknownSession } from "../timeline/source.ts";

export async function summary(session: string | undefined, options: SummaryOptions): Promise<number> {
  const { tenant: tenantId, purpose = "" } = options;
  const printer = createPrinter(options.json ?? false);
  const replay = connectTo("replay", options.replay, TimelineService, options);
  if (session !== undefined) {
    const ask = { session: { tenantId, sessionId: session }, purpose };
    const told = await replay
      .ask((client) => client.getSessionSummary(ask))
      .catch((error: unknown) => {
        throw isUnknown(error) ? unknownSession(session, replay.url) : error;
      });
    if (told.summary === undefined) throw unknownSession(session, replay.url);
    const row = summaryData(told.summary);
    printer.data({ ended: told.ended, summary: row });
    printer.lines(facts(summaryRows(row, told.ended)));
    return EXIT_OK;
  }
  const { pipeline: pipelineName = "", limit } = options;
  const found = await replay.ask((client) =>
    client.listSessionSummaries({ tenantId, purpose, pipelineName, page: { size: limit } }),
  );
  const rows = found.summaries.map(summaryData);
  printer.data({ summaries: rows, more: found.nextPageToken !== "" });
  if (rows.length === 0) printer.line("no session of this tenant has ended");
  else printer.lines(summaryTable(rows));
  if (found.nextPageToken !== "") printer.note(`there are more: raise --limit (${limit})`);
  return EXIT_OK;
}

/** `null`: not known, since the recording level keeps no journal, or the pipeline has no prices. */
function summaryData(of: SessionSummary) {
  const known = (value: bigint | undefined): number | null => (value === undefined ? null : Number(value));
  return {
    session: of.session?.sessionId ?? "",
    pipeline: of.pipeline === undefined ? "" : `${of.pipeline.name}@${of.pipeline.version}`,
    started_wall_ms: Number(of.startedWallMs),
    ended_wall_ms: Number(of.endedWallMs),
    reason: of.reason,
    complete: of.complete,
    recording: wordOf(RecordingLevelSchema, of.level).toUpperCase(),
    turns: of.turns,
    turns_committed: of.turnsCommitted,
    turns_aborted: of.turnsAborted,
    interruptions: of.interruptions,
    refusals: of.refusals,
    invocations: of.invocations,
    invocations_failed: of.invocationsFailed,
    input_tokens: known(of.inputTokens),
    output_tokens: known(of.outputTokens),
    caller_audio_ms: known(of.callerAudioMs),
    heard_audio_ms: Number(of.heardAudioMs),
    cost_micros: known(of.costMicros),
    latencies: Object.fromEntries(
      of.latencies.map(({ name, turns, p50Ms, p95Ms, maxMs }) => [
        name,
        { turns, p50_ms: p50Ms, p95_ms: p95Ms, max_ms: maxMs },
      ]),
    ),
  };
}

type Row = ReturnType<typeof summaryData>;

const seconds = (ms: number | null): string => (ms === null ? "not recorded" : `${(ms / 1_000).toFixed(1)} s`);
const count = (value: number | null): string => (value === null ? "not recorded" : String(value));
const cost = (micros: number | null): string => (micros === null ? "not known" : (micros / 1e6).toFixed(6));

function summaryRows(row: Row, ended: boolean): (readonly [string, string])[] {
  const lost = row.complete ? "" : ", incomplete";
  return [
    ["session", paint("bold", row.session)],
    ["pipeline", row.pipeline],
    ["started", timeWords(row.started_wall_ms)],
    ["lasted", seconds(row.ended_wall_ms - row.started_wall_ms)],
    ["ended", ended ? `${row.reason}${lost}` : "goes on: so far"],
    ["recording", row.recording],
    ["turns", `${row.turns}: ${row.turns_committed} committed, ${row.turns_aborted} aborted, ${row.refusals} refused`],
    ["interruptions", String(row.interruptions)],
    ["invocations", `${row.invocations}, ${row.invocations_failed} failed`],
    ["tokens", `${count(row.input_tokens)} in, ${count(row.output_tokens)} out`],
    ["audio", `caller ${seconds(row.caller_audio_ms)}, heard ${seconds(row.heard_audio_ms)}`],
    ["cost", cost(row.cost_micros)],
    ...Object.entries(row.latencies).map(([name, { p50_ms, p95_ms, max_ms, turns }]): [string, string] => [
      name.replace(/_ms$/, ""),
      `p50 ${p50_ms} ms, p95 ${p95_ms} ms, max ${max_ms} ms over ${turns}`,
    ]),
  ];
}

function summaryTable(rows: readonly Row[]): string[] {
  const right = ["TURNS", "CUT", "TOKENS", "HEARD", "COST"].map((head) => ({ head, right: true }));
  const columns = [{ head: "SESSION" }, { head: "ENDED" }, { head: "PIPELINE" }, ...right, { head: "REASON" }];
  const cells = rows.map((row) => [
    paint("bold", row.session),
    timeWords(row.ended_wall_ms),
    row.pipeline,
    String(row.turns),
    String(row.interruptions),
    row.input_tokens === null ? "-" : String(row.input_tokens + (row.output_tokens ?? 0)),
    seconds(row.heard_audio_ms),
    row.cost_micros === null ? "-" : cost(row.cost_micros),
    row.complete ? row.reason : paint("yellow", `${row.reason} (incomplete)`),
  ]);
  return table(columns, cells);
}
