import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { Waterfall } from "./waterfall-types.ts";

/** What happened in a session, from its records in order of (epoch, sequence). Never throws for what the records hold. */
export function buildWaterfall(records: readonly TimelineRecord[]): Waterfall {
  const { tenantId = "", sessionId = "" } = records[0]?.session ?? {};
  return {
    tenantId,
    sessionId,
    pipeline: "",
    level: "L0",
    epochs: [],
    basis: "evidence",
    startedWallMs: 0,
    originNs: 0,
    endNs: 0,
    turns: [],
    signals: [],
    ended: false,
    notes: [],
  };
}
