/** P6: memory per session in the runtime, idle and talking (`docs/benchmarks.md`). */
import { asMonoNs } from "@rspp/base/brand";
import { createVirtualClock, type VirtualClock } from "@rspp/runtime/clock/virtual-clock";
import { BareLine } from "./bare-line.ts";
import { type Bench, type BenchResult, collectGarbage, row } from "./bench.ts";
import { createRig, FRAME_US, type Rig } from "./runtime-rig.ts";

const SESSIONS = 300;
const ROUNDS = 3;
const IDLE_MS = 3_000;
const IDLE_BAR_KIB = 64;
const TALKING_BAR_KIB = 400;

/** Moves virtual time, with the event loop's turns between, so that deferred work is done. */
async function pass(clock: VirtualClock, ms: number, each: () => void): Promise<void> {
  for (let at = 0; at < ms; at += 20) {
    each();
    await settle();
    clock.advanceTo(asMonoNs(clock.nowNs() + FRAME_US * 1_000));
    await settle();
  }
}

const LOOP_TURNS = 4;

async function settle(): Promise<void> {
  for (let i = 0; i < LOOP_TURNS; i++) await new Promise((resolve) => setImmediate(resolve));
}

interface Memory {
  heapKib: number;
  externalKib: number;
  rssKib: number;
}

async function memory(): Promise<Memory> {
  // Buffers are given back by finalisers that run between turns of the loop.
  for (let i = 0; i < 3; i++) {
    collectGarbage();
    await settle();
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heapKib: heapUsed / 1_024, externalKib: external / 1_024, rssKib: rss / 1_024 };
}

interface Round {
  idle: Memory;
  talking: Memory;
}

const perSession = (after: Memory, before: Memory): Memory => ({
  heapKib: (after.heapKib - before.heapKib) / SESSIONS,
  externalKib: (after.externalKib - before.externalKib) / SESSIONS,
  rssKib: (after.rssKib - before.rssKib) / SESSIONS,
});

async function round(): Promise<Round> {
  const clock = createVirtualClock({ wallOriginMs: 1_700_000_000_000 });
  // 2 s of reply, made faster than it plays.
  const rig: Rig = createRig(clock, { text: "Good day to you. ", frames: 100, everyMs: 50 });
  const before = await memory();
  const lines = Array.from({ length: SESSIONS }, (_, i) => {
    const line = new BareLine(false);
    line.connect(rig.open(`session-${i}`, line));
    return line;
  });
  await pass(clock, IDLE_MS, () => {
    for (const line of lines) line.frame(false);
  });
  const idle = perSession(await memory(), before);
  await pass(clock, 1_000, () => {
    for (const line of lines) line.frame(true);
  });
  await pass(clock, 600, () => {
    for (const line of lines) line.frame(false);
  });
  if (lines.some((line) => line.media === 0)) throw new Error("not every session talks");
  const talking = perSession(await memory(), before);
  const closing = rig.close();
  let closed = false;
  void closing.then(() => {
    closed = true;
  });
  while (!closed) await pass(clock, 1_000, () => {});
  return { idle, talking };
}

export const p6: Bench = {
  name: "P6",
  title: "Memory per session in the runtime",
  async run(): Promise<BenchResult> {
    const rounds: Round[] = [];
    await round();
    for (let i = 0; i < ROUNDS; i++) rounds.push(await round());
    const rows = (what: "idle" | "talking", bar: number) => [
      row(
        `${what}: heap and buffers`,
        "KiB/session",
        rounds.map((r) => r[what].heapKib + r[what].externalKib),
        bar,
      ),
      row(
        `${what}: heap`,
        "KiB/session",
        rounds.map((r) => r[what].heapKib),
      ),
      row(
        `${what}: buffers`,
        "KiB/session",
        rounds.map((r) => r[what].externalKib),
      ),
      row(
        `${what}: resident`,
        "KiB/session",
        rounds.map((r) => r[what].rssKib),
      ),
    ];
    return {
      name: "P6",
      title: p6.title,
      topology: `one process, ${SESSIONS} sessions kept at once under a virtual clock, spool on disk at L0; callers without a device, providers simulated`,
      compared:
        "the same process before its sessions were opened; the resident size beside, which holds freed memory too",
      rows: [...rows("idle", IDLE_BAR_KIB), ...rows("talking", TALKING_BAR_KIB)],
      notes: [
        "idle: 3 s of silence heard, its pre-roll kept; talking: 1 s of speech heard, in the midst of a reply of 2 s",
        "growth after forced collections; a first round is thrown away",
      ],
    };
  },
};
