/** P4: end of speech -> first output audio, one process, zero-delay providers, endpointing 0 (`docs/benchmarks.md`). */
import { setTimeout as wait } from "node:timers/promises";
import { createSystemClock } from "@rspp/host/system-clock";
import type { Clock } from "@rspp/ports/clock";
import { createLoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { type Bench, type BenchResult, quantile, quantileRow, waitedUs } from "./bench.ts";
import { createRig, type Rig, stamped } from "./runtime-rig.ts";

const TURNS = 150;
/** Callers that talk at once beforehand, so that the process is as warm as one that serves. */
const WARM_CALLERS = 25;
const WARM_TURNS = 12;
const SPEECH_SAMPLES = 960;
const TURN_MS_MAX = 5_000;
/** Longer than the reply plays: the next question is no barge-in. */
const BETWEEN_MS = 260;
const LOOP_TURNS = 5;

interface Sample {
  firstOutputMs: number;
  /** What the event loop alone costs. */
  loopMs: number;
}

/** One caller who asks again and again. */
class Caller {
  private readonly clock: Clock;
  private readonly adapter;
  private voiced = false;
  private endNs = 0;
  private firstNs = 0;
  private heard: (() => void) | null = null;

  constructor(clock: Clock, rig: Rig, id: string) {
    this.clock = clock;
    this.adapter = createLoopbackAdapter({ clock, epoch: 1, playoutBufferMs: 0 });
    const edge = stamped(this.adapter, {
      onIngress: (message) => {
        if (message.kind !== "audio") return;
        const speech = message.bytes[0] !== 0;
        if (this.voiced && !speech) this.endNs = clock.nowNs();
        this.voiced = speech;
      },
      onEgress: (message) => {
        if (message.kind !== "media" || message.end || this.endNs === 0 || this.firstNs !== 0) return;
        this.firstNs = clock.nowNs();
        this.heard?.();
      },
    });
    this.adapter.connect(edge.toward(rig.open(id, edge.line)));
  }

  async turn(): Promise<Sample> {
    this.endNs = 0;
    this.firstNs = 0;
    const first = new Promise<void>((resolve) => {
      this.heard = resolve;
    });
    this.adapter.speak(new Int16Array(SPEECH_SAMPLES).fill(1_025));
    await Promise.race([first, wait(TURN_MS_MAX, undefined, { ref: false })]);
    if (this.firstNs === 0) throw new Error(`no output within ${TURN_MS_MAX} ms`);
    const firstOutputMs = (this.firstNs - this.endNs) / 1e6;
    await wait(BETWEEN_MS);
    const from = this.clock.nowNs();
    for (let i = 0; i < LOOP_TURNS; i++) await new Promise((resolve) => setImmediate(resolve));
    return { firstOutputMs, loopMs: (this.clock.nowNs() - from) / 1e6 };
  }

  async turns(count: number): Promise<Sample[]> {
    const samples: Sample[] = [];
    for (let i = 0; i < count; i++) samples.push(await this.turn());
    this.adapter.end();
    return samples;
  }
}

export const p4: Bench = {
  name: "P4",
  title: "End of speech to first output audio, one process",
  async run(): Promise<BenchResult> {
    const clock = createSystemClock();
    const rig = createRig(clock, { text: "Good day to you. ", frames: 10, everyMs: 20 });
    await Promise.all(
      Array.from({ length: WARM_CALLERS }, (_, i) => new Caller(clock, rig, `warm-${i}`).turns(WARM_TURNS)),
    );
    const waitBefore = waitedUs();
    const wallBefore = clock.nowNs();
    const samples = await new Caller(clock, rig, "p4").turns(TURNS);
    const waited = (100_000 * (waitedUs() - waitBefore)) / (clock.nowNs() - wallBefore);
    await rig.close();
    return report(samples, waited);
  },
};

function report(samples: readonly Sample[], waitedPercent: number): BenchResult {
  const ms = samples.map((sample) => sample.firstOutputMs);
  const loop = samples.map((sample) => sample.loopMs);
  const ratio = quantile(ms, 0.5) / Math.max(quantile(loop, 0.5), 0.001);
  return {
    name: "P4",
    title: p4.title,
    topology:
      "one process, one session, real clock, loopback adapter, spool on disk at L0; providers answer in the next microtask and the voice makes 100 ms of audio every 20 ms (simulated), detector looks at one byte",
    compared: `${LOOP_TURNS} empty turns of the same event loop, measured between the turns`,
    rows: [
      quantileRow("end of speech to first output, p50", "ms", ms, 0.5, 1),
      quantileRow("end of speech to first output, p95", "ms", ms, 0.95, 2),
      quantileRow(`${LOOP_TURNS} empty loop turns, p50`, "ms", loop, 0.5),
      { what: "ratio of the medians", value: ratio, low: ratio, high: ratio, unit: "×" },
    ],
    notes: [
      `${samples.length} turns after ${WARM_CALLERS * WARM_TURNS} of ${WARM_CALLERS} callers at once; low and high are the least and the most`,
      "stamped where the first silent frame is handed to the runtime and where it hands out the first frame",
      `run-queue wait ${waitedPercent.toFixed(2)} % of wall time`,
    ],
  };
}
