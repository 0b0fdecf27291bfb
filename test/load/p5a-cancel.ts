/** P5a: cancel bytes read -> fence acknowledged by the adapter, with 300 calls on the core (`docs/benchmarks.md`). */
import { spawnSync } from "node:child_process";
import { setTimeout as wait } from "node:timers/promises";
import { createSystemClock } from "@rspp/host/system-clock";
import type { Clock } from "@rspp/ports/clock";
import type { RuntimeSession } from "@rspp/runtime/runtime";
import { createLoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { BareLine } from "./bare-line.ts";
import { type Bench, type BenchResult, quantile, quantileRow, waitedUs } from "./bench.ts";
import { createRig, type Rig, stamped } from "./runtime-rig.ts";

const CALLS = 300;
/** Calls over loopback adapters, which model playout and are cut; the others only load the core. */
const CUT_CALLS = 30;
const WARM_MS = 5_000;
const RUN_MS = 15_000;
/** Each of them is cut about once in this time, at an instant of its own. */
const CUT_EVERY_MS = 400;
const STEP_MS = 7;
const REPLY_FRAMES = 250;

/** A call whose agent talks all the time and is cut again and again; frames of the caller flow besides. */
class Call {
  private readonly clock: Clock;
  private readonly adapter;
  private readonly session: RuntimeSession;
  readonly samplesMs: number[] = [];
  /** The same, less the time in which the process was ready and had no core. */
  readonly ownMs: number[] = [];
  private cutWaitedUs = 0;
  framesAfterFence = 0;
  private cutNs = 0;
  private turn = 0;
  private fenced = 0;

  constructor(clock: Clock, rig: Rig, id: string) {
    this.clock = clock;
    this.adapter = createLoopbackAdapter({ clock, epoch: 1 });
    const edge = stamped(this.adapter, {
      onIngress: (message) => {
        if (message.kind !== "fence_ack" || this.cutNs === 0) return;
        const ms = (clock.nowNs() - this.cutNs) / 1e6;
        this.samplesMs.push(ms);
        this.ownMs.push(Math.max(0, ms - (waitedUs() - this.cutWaitedUs) / 1_000));
        this.cutNs = 0;
        this.fenced = message.turn;
      },
      onEgress: (message) => {
        if (message.kind !== "media") return;
        if (message.turn <= this.fenced) this.framesAfterFence += 1;
        this.turn = message.turn;
      },
    });
    this.session = rig.open(id, edge.line);
    this.adapter.connect(edge.toward(this.session));
  }

  talk(): void {
    const said = this.session.say("This is a long story that goes on and on. ");
    if (!said.ok) throw new Error(said.error.detail);
  }

  /** The caller's stop button, when something plays; then the agent begins anew. */
  cut(): void {
    if (this.cutNs !== 0 || this.turn <= this.fenced) return;
    this.cutWaitedUs = waitedUs();
    this.cutNs = this.clock.nowNs();
    this.adapter.stop();
    this.talk();
  }

  end(): void {
    this.adapter.end();
  }
}

/** Calls that talk all the time and take in frames all the time; an eighth of them is served every 2.5 ms. */
class Load {
  private readonly calls: { line: BareLine; session: RuntimeSession }[] = [];
  private readonly timer: NodeJS.Timeout;
  private tick = 0;
  private readonly startMs = performance.now();

  constructor(rig: Rig, count: number) {
    for (let i = 0; i < count; i++) {
      const line = new BareLine(true);
      const session = rig.open(`load-${i}`, line);
      line.connect(session);
      this.calls.push({ line, session });
    }
    this.timer = setInterval(() => this.serve(), GROUP_MS);
  }

  /** As many groups as time asks for, so that a late timer lowers no load. */
  private serve(): void {
    for (const dueTicks = (performance.now() - this.startMs) / GROUP_MS; this.tick < dueTicks; this.tick++) {
      const every = GROUPS * (1_000 / 20) * (TALK_MS / 1_000);
      this.calls.forEach(({ line, session }, i) => {
        if (i % GROUPS === this.tick % GROUPS) line.frame(false);
        if (this.tick % every === Math.floor((i * every) / this.calls.length))
          session.say("This is a long story that goes on and on. ");
      });
    }
  }

  stop(): void {
    clearInterval(this.timer);
  }
}

const GROUPS = 8;
const GROUP_MS = 20 / GROUPS;
/** A little longer than a reply plays. */
const TALK_MS = 5_200;

/** Pinned to one core where the system has `taskset`; said in the result. */
function pin(): boolean {
  return spawnSync("taskset", ["-a", "-p", "-c", "0", String(process.pid)], { stdio: "ignore" }).status === 0;
}

export const p5a: Bench = {
  name: "P5a",
  title: "Cancel to fence acknowledged, 300 calls on one core",
  async run(): Promise<BenchResult> {
    const pinned = pin();
    const clock = createSystemClock();
    const rig = createRig(clock, { text: "unused", frames: REPLY_FRAMES, everyMs: 50 });
    const load = new Load(rig, CALLS - CUT_CALLS);
    const calls: Call[] = [];
    for (let i = 0; i < CUT_CALLS; i++) {
      const call = new Call(clock, rig, `call-${i}`);
      calls.push(call);
      call.talk();
      if (i % 10 === 9) await wait(10);
    }
    const cuts = (ms: number) => cutFor(clock, calls, ms);
    await cuts(WARM_MS);
    for (const call of calls) {
      call.samplesMs.length = 0;
      call.ownMs.length = 0;
    }
    const before = { cpu: process.cpuUsage(), ns: clock.nowNs(), waitedUs: waitedUs() };
    const late = await cuts(RUN_MS);
    const cpu = process.cpuUsage(before.cpu);
    const wallUs = (clock.nowNs() - before.ns) / 1_000;
    const result = report(calls, late, {
      pinned,
      cpuPercent: (100 * (cpu.user + cpu.system)) / wallUs,
      waitedPercent: (100 * (waitedUs() - before.waitedUs)) / wallUs,
    });
    load.stop();
    for (const call of calls) call.end();
    await rig.close();
    return result;
  },
};

/** Cuts calls in turn, a few every step. @returns how late the steps came, milliseconds: the loop's own delay. */
async function cutFor(clock: Clock, calls: readonly Call[], ms: number): Promise<number[]> {
  const late: number[] = [];
  const endNs = clock.nowNs() + ms * 1e6;
  let next = 0;
  let due = 0;
  while (clock.nowNs() < endNs) {
    const from = clock.nowNs();
    await wait(STEP_MS);
    late.push(Math.max(0, (clock.nowNs() - from) / 1e6 - STEP_MS));
    for (due += (STEP_MS * calls.length) / CUT_EVERY_MS; due >= 1; due -= 1) {
      calls[next % calls.length]?.cut();
      next += 1;
    }
  }
  return late;
}

interface Measured {
  pinned: boolean;
  cpuPercent: number;
  waitedPercent: number;
}

function report(calls: readonly Call[], late: readonly number[], load: Measured): BenchResult {
  const ms = calls.flatMap((call) => call.samplesMs);
  const own = calls.flatMap((call) => call.ownMs);
  const after = calls.reduce((sum, call) => sum + call.framesAfterFence, 0);
  return {
    name: "P5a",
    title: p5a.title,
    topology: `one process${load.pinned ? ", all threads on core 0" : ", NOT pinned (no taskset)"}; ${CALLS} calls with 50 frames/s in and a reply out, ${CUT_CALLS} of them cut, over loopback adapters, the others without a device; all in the process; spool on disk at L0; the voice is simulated`,
    compared: "how late timers of the same event loop fired meanwhile: what any work in this process has to wait for",
    rows: [
      quantileRow("cancel to fence acknowledged, p50", "ms", ms, 0.5),
      quantileRow("cancel to fence acknowledged, p95", "ms", ms, 0.95),
      quantileRow("cancel to fence acknowledged, p99", "ms", ms, 0.99, 5),
      quantileRow("the same less run-queue wait, p99", "ms", own, 0.99),
      quantileRow("timer lateness, p50", "ms", late, 0.5),
      quantileRow("timer lateness, p99", "ms", late, 0.99),
      { what: "frames handed out after their fence", value: after, low: after, high: after, unit: "frames", bar: 0 },
      { what: "CPU of the process", value: load.cpuPercent, low: load.cpuPercent, high: load.cpuPercent, unit: "%" },
    ],
    notes: [
      `${ms.length} cancels in ${RUN_MS / 1_000} s; stamped where the adapter's stop is handed to the runtime and where its acknowledgement is`,
      `median ratio to timer lateness ${(quantile(ms, 0.5) / Math.max(0.001, quantile(late, 0.5))).toFixed(2)}; run-queue wait ${load.waitedPercent.toFixed(1)} % of wall time; low and high are the least and the most`,
      "the tail is the collector's: compare `node --expose-gc --max-semi-space-size=2 --single-threaded-gc test/load/main.ts P5a`",
    ],
  };
}
