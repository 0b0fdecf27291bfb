/** P9: what recording at L1 and L2 costs beside L0, and how fast a recording is replayed (`docs/benchmarks.md`). */
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { replayJournal } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { Playback } from "@rspp/replay/engine/playback";
import { runToEnd } from "@rspp/replay/engine/replay-run";
import { Rerun } from "@rspp/replay/engine/rerun";
import { type ReplaySource, sourceOfRecording } from "@rspp/replay/engine/source";
import { createVirtualClock, runFast } from "@rspp/runtime/clock/virtual-clock";
import { openNodeStore } from "@rspp/runtime/spool/node-store";
import { listSessions, readSession } from "@rspp/runtime/spool/reader";
import { BareLine } from "./bare-line.ts";
import { type Bench, type BenchResult, measure, row } from "./bench.ts";
import { createRig } from "./runtime-rig.ts";

const CALLS = 20;
const RUN_S = 30;
const ROUNDS = 3;
const FRAME_MS = 20;
/** One second of speech in every five, two of reply. */
const TALK = { periodMs: 5_000, speechMs: 1_000 } as const;
const REPLY = { text: "This is a short answer. ", frames: 100, everyMs: 0 } as const;
const LEVELS = ["L0", "L1", "L2"] as const;
type Level = (typeof LEVELS)[number];
/** A minute of a call at 1000 times real time. */
const REPLAY_BAR_MS = 60;

interface Round {
  /** CPU of the process for one second of one call, microseconds. */
  cpuUs: number;
  sources: ReplaySource[];
}

async function calls(level: Level, seconds: number): Promise<Round> {
  const clock = createVirtualClock({ wallOriginMs: 1_700_000_000_000 });
  const recording: SessionConfig["recording"] = { policyId: "bench", ceiling: level, evidenceQuotaBytes: 1 << 30 };
  const rig = createRig(clock, REPLY, { recording });
  const lines = Array.from({ length: CALLS }, (_, i) => {
    const line = new BareLine(true);
    line.connect(rig.open(`call-${i}`, line));
    return line;
  });
  let atMs = 0;
  const tick = (): void => {
    for (const line of lines) line.frame(atMs % TALK.periodMs < TALK.speechMs);
    atMs += FRAME_MS;
    if (atMs < seconds * 1_000) clock.timerAt(asMonoNs(msToNs(atMs)), tick);
  };
  const before = process.cpuUsage();
  tick();
  await runFast(clock, { until: () => false, maxNs: asMonoNs(msToNs(seconds * 1_000)) });
  const { user, system } = process.cpuUsage(before);
  if (lines.some(({ media }) => media === 0)) throw new Error(`${level}: a call had no reply`);
  const sources: ReplaySource[] = [];
  await rig.close((folder) => {
    if (level !== "L0") sources.push(...recorded(folder));
  });
  return { cpuUs: (user + system) / CALLS / seconds, sources };
}

function recorded(folder: string): ReplaySource[] {
  const store = openNodeStore(folder, { readOnly: true });
  if (!store.ok) throw new Error(store.error.detail);
  return listSessions(store.value).map(({ sessionId, tenantId }) => {
    const run = readSession(store.value, sessionId, tenantId).runs.at(-1);
    const source = run === undefined ? null : sourceOfRecording(run);
    if (source?.ok !== true) throw new Error(`${sessionId}: no journal was recorded`);
    return source.value;
  });
}

/** Milliseconds of CPU for one minute of a call. */
function replayMs(sources: readonly ReplaySource[], replay: (source: ReplaySource) => boolean): number {
  const { processUs } = measure(() => {
    for (const source of sources) if (!replay(source)) throw new Error("a replay diverged");
  });
  return processUs / 1_000 / sources.length / (RUN_S / 60);
}

const UNIT = "µs of CPU per second of call";
type Costs = Record<Level, number[]>;

/** Per round, against L0 of the same round. */
function more(of: Costs, level: Level): number[] {
  return of[level].map((us, i) => (us / (of.L0[i] ?? Number.POSITIVE_INFINITY) - 1) * 100);
}

export const p9: Bench = {
  name: "P9",
  title: "Recording beside L0, and replay",
  async run(): Promise<BenchResult> {
    const cost: Costs = { L0: [], L1: [], L2: [] };
    const engine: number[] = [];
    const bare: number[] = [];
    const rerun: number[] = [];
    for (const level of LEVELS) await calls(level, 5);
    for (let round = 0; round < ROUNDS; round++)
      for (const level of LEVELS) {
        const { cpuUs, sources } = await calls(level, RUN_S);
        cost[level].push(cpuUs);
        if (level !== "L1") continue;
        bare.push(replayMs(sources, ({ config, entries }) => replayJournal(config, entries).identical));
        engine.push(replayMs(sources, (source) => runToEnd(new Playback(source)).identical));
        rerun.push(replayMs(sources, (source) => runToEnd(new Rerun(source, { mode: "recorded" })).identical));
      }
    return {
      name: "P9",
      title: p9.title,
      topology: `one process, virtual time; ${CALLS} calls of ${RUN_S} s, one second of speech and two of reply in every five; providers simulated without delay; spool on disk`,
      compared: "the same calls at L0; a replay without timelines and cursor",
      rows: [
        ...LEVELS.map((level) => row(level, UNIT, cost[level])),
        row("L1 more than L0", "%", more(cost, "L1"), 10),
        row("L2 more than L0", "%", more(cost, "L2"), 25),
        row("kernel alone, a minute of call at L1", "ms", bare),
        row("playback, a minute of call at L1", "ms", engine, REPLAY_BAR_MS),
        row("rerun, a minute of call at L1", "ms", rerun),
      ],
      notes: [
        `${REPLAY_BAR_MS} ms for a minute are 1000 times real time; a rerun runs the recorded version first, then the other`,
        "nothing is encrypted or exported here; with the trivial detector and providers without delay there is little but the kernel and the spool to compare with",
      ],
    };
  },
};
