/** P1: kernel CPU per 20 ms audio frame (`docs/benchmarks.md`). */
import { assistantGraph } from "@rspp/kernel/testing/harness";
import { type Bench, type BenchResult, type Cost, measure, quantile, row } from "./bench.ts";
import { audioInput, BareShell, benchConfig, FRAME_US, filterChain } from "./graphs.ts";

const FRAMES = 20_000;
const ROUNDS = 15;
const WARM_ROUNDS = 2;
const BAR_US = 5;

interface PassedEvent {
  seq: number;
  monoNs: number;
  body: ReturnType<typeof audioInput>;
}

let baselineSeq = 0;
const hop = (event: PassedEvent): PassedEvent => {
  baselineSeq += 1;
  return { seq: baselineSeq, monoNs: event.monoNs, body: event.body };
};
const hops: readonly ((event: PassedEvent) => PassedEvent)[] = Array.from({ length: 7 }, () => hop);

/** The same frames, stamped and boxed alike, through seven plain calls. */
function baseline(): () => void {
  let sequence = 0;
  let nowNs = 0;
  let bytes = 0;
  return () => {
    nowNs += FRAME_US * 1_000;
    sequence += 1;
    let event: PassedEvent = { seq: sequence, monoNs: nowNs, body: audioInput(sequence) };
    for (const call of hops) event = call(event);
    bytes += event.body.payload.bytes;
    if (bytes < 0) throw new Error("unreachable; keeps the loop's result in use");
  };
}

/** The seven-node graph; each frame must come out once, or nothing was measured. */
function chain(level: "step" | "digest" | "journal"): () => void {
  const shell = new BareShell(benchConfig(filterChain()), level);
  return () => {
    let out = 0;
    for (const effect of shell.frame()) if (effect.type === "egress_media") out += 1;
    if (out !== 1) throw new Error("a frame did not come out at the output once");
  };
}

/** The voice assistant while it listens. */
function assistant(): () => void {
  const shell = new BareShell(benchConfig(assistantGraph()), "journal");
  return () => shell.listen();
}

/** What is measured: a name, and one frame through it. */
export function p1Subjects(): [string, () => void][] {
  return [
    ["baseline: 7 plain calls", baseline()],
    ["7-node graph, step only", chain("step")],
    ["7-node graph, step and digest", chain("digest")],
    ["7-node graph, journal L1", chain("journal")],
    ["voice assistant listening, journal L1", assistant()],
  ];
}

export const p1: Bench = {
  name: "P1",
  title: "Kernel CPU per 20 ms audio frame",
  run(): BenchResult {
    const subjects = p1Subjects();
    const costs = new Map<string, Cost[]>(subjects.map(([name]) => [name, []]));
    for (let round = -WARM_ROUNDS; round < ROUNDS; round++) {
      for (const [name, frame] of subjects) {
        const cost = measure(() => {
          for (let i = 0; i < FRAMES; i++) frame();
        });
        if (round >= 0) costs.get(name)?.push(cost);
      }
    }
    return report(costs);
  },
};

function report(costs: ReadonlyMap<string, Cost[]>): BenchResult {
  const perFrame = (name: string, field: keyof Cost) => (costs.get(name) ?? []).map((cost) => cost[field] / FRAMES);
  const names = [...costs.keys()];
  const base = quantile(perFrame(names[0] ?? "", "processUs"), 0.5);
  const rows = names.flatMap((name) => {
    const cpu = perFrame(name, "processUs");
    const bar = name.startsWith("7-node graph, journal") ? BAR_US : undefined;
    return [
      row(`${name}: CPU, all threads`, "µs/frame", cpu, bar),
      row(`${name}: CPU, own thread`, "µs/frame", perFrame(name, "threadUs")),
      row(`${name}: wall`, "µs/frame", perFrame(name, "wallUs")),
      row(
        `${name}: ratio to baseline`,
        "×",
        cpu.map((us) => us / base),
      ),
    ];
  });
  const all = [...costs.values()].flat();
  const waited = all.reduce((sum, cost) => sum + cost.waitUs, 0);
  const wall = all.reduce((sum, cost) => sum + cost.wallUs, 0);
  return {
    name: "P1",
    title: p1.title,
    topology:
      "one process, one session, no I/O; a shell reduced to stamping, batching, digest and the lines of the journal",
    compared: "the same frames through 7 plain calls, which pass an event object each, interleaved round by round",
    rows,
    notes: [
      `${ROUNDS} rounds of ${FRAMES} frames each; run-queue wait ${((100 * waited) / wall).toFixed(1)} % of wall time`,
      "journal L1: a line of batch, facts and rolling digest per step, as the runtime encodes it; the payload's keyed hash is given, not computed, and nothing is written to disk",
    ],
  };
}
