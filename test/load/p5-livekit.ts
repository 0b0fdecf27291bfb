/** P5 b over LiveKit: barge-in to the last audible sample at a participant of a real server (`docs/benchmarks.md`). */
import { startLiveKit } from "../livekit/livekit-server.ts";
import { type Bench, type BenchResult, quantileRow } from "./bench.ts";
import { Child, PINNED } from "./children.ts";

const ROOMS = 4;
const CUTS = 50;

export const p5LiveKit: Bench = {
  name: "P5lk",
  title: "Barge-in to silence at the participant, over LiveKit",
  async run(): Promise<BenchResult> {
    // Else the SDK tells everything on the children's standard output.
    process.env.NODE_ENV = "production";
    const livekit = await startLiveKit();
    const platform = new Child("./livekit-platform.ts", [livekit.url, String(ROOMS)], 0);
    try {
      await platform.next(60_000);
      const load = new Child("./livekit-barge.ts", [livekit.url, String(ROOMS), String(CUTS)], 1);
      const { silenceMs } = await load.next<{ silenceMs: number[] }>(400_000);
      const used = await platform.ask<{ cpuPercent: number; fence: { p50Ms: number; p99Ms: number } | null }>();
      await load.stop();
      return {
        name: "P5lk",
        title: p5LiveKit.title,
        topology: `a LiveKit server, adapter and runtime in one process, participants in another; ${PINNED}; ${ROOMS} rooms at once; the detector asks for one loud frame, the voice is simulated`,
        compared: "cancel to fence at the adapter in the same run; P5bc, over WebSocket",
        rows: [
          quantileRow("barge-in to last audible sample, p50", "ms", silenceMs, 0.5),
          quantileRow("barge-in to last audible sample, p95", "ms", silenceMs, 0.95),
          quantileRow("barge-in to last audible sample, p99", "ms", silenceMs, 0.99),
          quantileRow("cancel to fence at the adapter, p99", "ms", [used.fence?.p99Ms ?? 0], 0.5),
        ],
        notes: [
          `${silenceMs.length} interruptions; from the first loud sample handed to the participant's SDK to the arrival of the last loud 10 ms of the reply`,
          "within it: 60 ms that the participant's microphone is ahead, WebRTC's jitter buffers in both directions, the server, up to 80 ms in the agent's track",
          `platform CPU ${used.cpuPercent.toFixed(0)} %`,
        ],
      };
    } finally {
      await platform.stop();
      await livekit.stop();
    }
  },
};
