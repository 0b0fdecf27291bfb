/** P5 b and c: barge-in to the last audible sample at the client, and what is heard after its flush (`docs/benchmarks.md`). */
import { type Bench, type BenchResult, quantileRow } from "./bench.ts";
import { Child, PINNED, type ServerFigures } from "./children.ts";

const CALLERS = 10;
const CUTS = 20;

interface BargeFigures {
  silenceMs: number[];
  backMs: number[];
  afterFlush: number;
  lateP99: number;
}

interface Way {
  readonly name: string;
  readonly title: string;
  readonly callers: string;
  readonly end: string;
  readonly told: string;
  readonly note?: string;
}

export const p5bc: Bench = benchOf({
  name: "P5bc",
  title: "Barge-in to silence at the client, over WebSocket",
  callers: "./ws-barge.ts",
  end: "libs/client with its paced player",
  told: "flush",
});

export const p5Realtime: Bench = benchOf({
  name: "P5-realtime",
  title: "Barge-in to silence at the client, over the OpenAI Realtime protocol",
  callers: "./realtime-barge.ts",
  end: "a client of the protocol that plays what comes in order",
  told: "speech_started",
  note: "24 kHz becomes 16 kHz: the byte that the detector looks at is the filter's, so that it sees a loud frame 20 ms later",
});

function benchOf(way: Way): Bench {
  return { name: way.name, title: way.title, run: () => run(way) };
}

async function run({ name, title, callers, end, told, note }: Way): Promise<BenchResult> {
  const server = new Child("./ws-server.ts", ["story"], 0);
  const { port } = await server.next<{ port: number }>();
  const load = new Child(callers, [String(port), String(CALLERS), String(CUTS)], 1);
  const seen = await load.next<BargeFigures>(240_000);
  const used = await server.ask<ServerFigures>();
  await load.stop();
  await server.stop();
  const after = { value: seen.afterFlush, low: seen.afterFlush, high: seen.afterFlush };
  return {
    name,
    title,
    topology: `two processes, ${PINNED}; ${CALLERS} calls at once in ${end}; the detector looks at one byte and asks for one loud frame, the voice is simulated`,
    compared: `the arrival of the ${told} itself in the same run; LiveKit Agents (its own harness) p50 9, p95 20 ms`,
    rows: [
      quantileRow("barge-in to last audible sample, p50", "ms", seen.silenceMs, 0.5),
      quantileRow("barge-in to last audible sample, p95", "ms", seen.silenceMs, 0.95),
      quantileRow("barge-in to last audible sample, p99", "ms", seen.silenceMs, 0.99, 40),
      quantileRow(`the ${told} arrives, p50`, "ms", seen.backMs, 0.5),
      quantileRow(`the ${told} arrives, p99`, "ms", seen.backMs, 0.99),
      {
        what: `frames heard after their ${told === "flush" ? told : "response.done"}`,
        unit: "frames",
        ...after,
        bar: 0,
      },
    ],
    notes: [
      `${seen.silenceMs.length} interruptions; from the first loud frame handed to the socket to the end of the last frame that the player began`,
      `a frame is 20 ms: what plays when the ${told} arrives is heard to its end, up to 20 ms of each figure`,
      `platform CPU ${used.cpuPercent.toFixed(0)} %, waited ${used.waitedPercent.toFixed(1)} % for its core; callers' timers late p99 ${seen.lateP99.toFixed(1)} ms`,
      ...(note === undefined ? [] : [note]),
    ],
  };
}
