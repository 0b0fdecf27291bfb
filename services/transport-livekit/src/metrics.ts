import type { OwnMetric } from "@rspp/transport/metrics";
import type { LiveKitStats } from "./transport.ts";

/** What this adapter counts beside what all do. */
export const livekitMetrics: readonly OwnMetric<LiveKitStats>[] = [
  { kind: "gauge", name: "rooms", help: "Agents in rooms", read: (s) => s.rooms },
  { kind: "counter", name: "frames_in_total", help: "Frames of callers", read: (s) => s.framesIn },
  { kind: "counter", name: "frames_out_total", help: "Frames for callers", read: (s) => s.framesOut },
  { kind: "counter", name: "frames_dropped_total", help: "Frames no track had room for", read: (s) => s.dropped },
  { kind: "counter", name: "bad_signals_total", help: "Signals that were not legal", read: (s) => s.badSignals },
  { kind: "counter", name: "rejoins_total", help: "Rooms that were lost and joined again", read: (s) => s.rejoins },
];
