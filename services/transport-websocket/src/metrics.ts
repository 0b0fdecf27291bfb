import type { OwnMetric } from "@rspp/transport/metrics";
import type { WebSocketTransportStats } from "./server.ts";

/** What this adapter counts beside what all do. */
export const websocketMetrics: readonly OwnMetric<WebSocketTransportStats>[] = [
  { kind: "gauge", name: "connections", help: "Connections of callers", read: (s) => s.connections },
  { kind: "counter", name: "frames_in_total", help: "Frames of callers", read: (s) => s.framesIn },
  { kind: "counter", name: "frames_out_total", help: "Frames to callers", read: (s) => s.framesOut },
  { kind: "counter", name: "bad_frames_total", help: "Frames that were not legal", read: (s) => s.badFrames },
  {
    kind: "counter",
    name: "adopted_total",
    help: "Sessions of other adapters that went on here",
    read: (s) => s.adopted,
  },
  { kind: "counter", name: "in_bytes_total", help: "Bytes of frames of callers", unit: "By", read: (s) => s.bytesIn },
  {
    kind: "counter",
    name: "out_bytes_total",
    help: "Bytes on the wire to callers",
    unit: "By",
    read: (s) => s.wireBytesOut,
  },
];
