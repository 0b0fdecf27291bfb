/** R-export: what recording's export costs the runtime and the replay service, and what it asks of the disk. */
import { convert } from "@rspp/runtime/export/convert";
import { placeAtStart } from "@rspp/runtime/export/place";
import { warmUp } from "@rspp/runtime/export/warm-up";
import { type Bench, type BenchResult, measure, quantileRow, type Row, row } from "./bench.ts";
import { Child, PINNED } from "./children.ts";
import { type RecordedCall, recordedCall } from "./export-call.ts";

const SESSIONS = [50, 300];
const SECONDS = 8;
const BACKLOG_RECORDS = 30_000;
const CONVERT_ROUNDS = 9;
const CALLS_PER_ROUND = 3;

/** Of `export-server.ts`, since it was last asked. */
export interface ExportServerFigures {
  seconds: number;
  objects: number;
  /** Of files and folders. */
  syncs: number;
  /** Of the database's log. */
  logSyncs: number;
  cpuUs: number;
  waitedUs: number;
}

/** Of `export-load.ts`. */
export interface ExportLoadFigures {
  seconds: number;
  offered: number;
  exported: number;
  cpuUs: number;
  lagMs: number[];
}

const one = (what: string, unit: string, value: number): Row => row(what, unit, [value]);

const percent = (us: number, seconds: number): string => `${((us / seconds / 1e6) * 100).toFixed(0)} %`;

async function load(sessions: number): Promise<{ rows: Row[]; notes: string[] }> {
  const server = new Child("./export-server.ts", [], 0);
  const { port } = await server.next<{ port: number }>(120_000);
  const args = [port, sessions, SECONDS, BACKLOG_RECORDS].map(String);
  const runtime = new Child("./export-load.ts", args, 1);
  const steady = await runtime.next<ExportLoadFigures>(120_000);
  const stored = await server.ask<ExportServerFigures>();
  const late = await runtime.ask<ExportLoadFigures>();
  const after = await server.ask<ExportServerFigures>();
  await runtime.stop();
  await server.stop();
  const at = `${sessions} calls`;
  return {
    rows: [
      one(`${at}: records offered`, "/s", steady.offered / steady.seconds),
      one(`${at}: records acknowledged`, "/s", steady.exported / steady.seconds),
      one(`${at}: objects written`, "/s", stored.objects / steady.seconds),
      one(`${at}: syncs of files and folders`, "/s", stored.syncs / steady.seconds),
      one(`${at}: syncs of the database's log`, "/s", stored.logSyncs / steady.seconds),
      one(`${at}: CPU of the replay service`, "µs/record", stored.cpuUs / Math.max(1, steady.exported)),
      quantileRow(`${at}: lag of export, p50`, "ms", steady.lagMs, 0.5),
      quantileRow(`${at}: lag of export, p99`, "ms", steady.lagMs, 0.99),
      one(`${at}, catching up: records acknowledged`, "/s", late.exported / late.seconds),
      one(`${at}, catching up: CPU of the runtime`, "µs/record", late.cpuUs / late.exported),
      one(`${at}, catching up: CPU of the replay service`, "µs/record", after.cpuUs / late.exported),
    ],
    notes: [
      `${at}: the service waited ${percent(stored.waitedUs, stored.seconds)} of the time for its core; the runtime's process, which makes the calls' lines too, used ${percent(steady.cpuUs, steady.seconds)} of its own`,
    ],
  };
}

function conversion(call: RecordedCall): Row[] {
  const stepsUs: number[] = [];
  const steps = warmUp();
  let done = false;
  const step = (): void => {
    done = steps.next().done === true;
  };
  while (!done) stepsUs.push(measure(step).wallUs);
  const perRecordUs: number[] = [];
  for (let round = 0; round < CONVERT_ROUNDS; round++) {
    let made = 0;
    const { threadUs } = measure(() => {
      for (let n = 0; n < CALLS_PER_ROUND; n++) {
        const place = placeAtStart("s", 1, null);
        for (const record of call.records)
          for (const _ of convert(record, place, { build: "b", instanceId: "" })) made += 1;
      }
    });
    if (round > 0) perRecordUs.push(threadUs / made);
  }
  return [
    one("start of an exporter: rules and codecs made ready", "ms", stepsUs.reduce((a, b) => a + b, 0) / 1_000),
    one("start of an exporter: its longest piece", "ms", Math.max(...stepsUs) / 1_000),
    row("a record of the spool made one of the timeline", "µs", perRecordUs),
  ];
}

export const rExport: Bench = {
  name: "R-export",
  title: "Export of timelines at L1: records, objects and syncs",
  async run(): Promise<BenchResult> {
    const call = await recordedCall();
    const rows = conversion(call);
    const notes = [
      `each call repeats ${call.lines.length} lines of one recorded in ${call.durationMs} ms of virtual time; the runtimes' spools are in memory`,
      `catching up: ${BACKLOG_RECORDS} records that gathered before the exporter began, transport included`,
      "300 calls at L1 are more than one runtime exports: what is made in a turn of its loop is bounded, and what waits stays in the spool",
    ];
    for (const sessions of SESSIONS) {
      const found = await load(sessions);
      rows.push(...found.rows);
      notes.push(...found.notes);
    }
    return {
      name: "R-export",
      title: rExport.title,
      topology: `the replay service with its database on one core, one runtime's exporter on another (${PINNED}); no kernel and no callers`,
      compared: "50 calls with 300 in the same run",
      rows,
      notes,
    };
  },
};
