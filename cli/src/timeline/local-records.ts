/** A session in the spool of this machine as records of the timeline contract, as the replay service would hold them. */
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { convert } from "@rspp/runtime/export/convert";
import { type ChainPlace, placeAtStart } from "@rspp/runtime/export/place";
import { scanStore } from "@rspp/runtime/spool/scan";
import type { SpoolStore } from "@rspp/runtime/spool/store";

const maker = { build: "rspp/0.1.0", instanceId: "local" };

/** In order of (epoch, sequence); what is damaged is left out. Empty for a session that is not there. */
export function localRecords(store: SpoolStore, sessionId: string, tenant: string): TimelineRecord[] {
  const records: TimelineRecord[] = [];
  let place: ChainPlace | null = null;
  scanStore(
    store,
    (record, _segment, _offset, whose) => {
      if (record.sessionId !== sessionId || whose !== tenant) return;
      if (place === null || place.epoch !== record.epoch) place = placeAtStart(sessionId, record.epoch, place);
      for (const made of convert(record, place, maker)) records.push(made.record);
    },
    () => {},
  );
  return records;
}
