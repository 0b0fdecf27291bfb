import type { OwnMetric } from "@rspp/transport/metrics";
import type { TelephoneStats } from "./server.ts";

/** What this adapter counts beside what all do. */
export const telephonyMetrics: readonly OwnMetric<TelephoneStats>[] = [
  { kind: "gauge", name: "streams", help: "Streams of the carrier", read: (s) => s.streams },
  { kind: "counter", name: "messages_in_total", help: "Messages of the carrier", read: (s) => s.messagesIn },
  { kind: "counter", name: "messages_out_total", help: "Messages to the carrier", read: (s) => s.messagesOut },
  { kind: "counter", name: "bad_messages_total", help: "Messages that were not legal", read: (s) => s.badMessages },
  { kind: "counter", name: "late_messages_total", help: "Messages after a stop", read: (s) => s.lateMessages },
  { kind: "counter", name: "packets_lost_total", help: "Packets that never came in time", read: (s) => s.lost },
  {
    kind: "counter",
    name: "concealed_seconds_total",
    help: "Audio of callers made up for packets that were lost",
    unit: "s",
    read: (s) => s.concealedMs / 1_000,
  },
  {
    kind: "counter",
    name: "clears_total",
    help: "Times the carrier was told to drop what it held",
    read: (s) => s.clears,
  },
];
