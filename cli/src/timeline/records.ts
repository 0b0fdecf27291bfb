/** The records of a session, wherever they are. */
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { InputError } from "../errors.ts";
import { localRecords } from "./local-records.ts";
import type { RecordingOptions, Where } from "./options.ts";
import { openSource, readRecords } from "./source.ts";

/** @throws InputError, CommandError for a session that is not there, or a place that cannot be read. */
export async function recordsOf(session: string, options: RecordingOptions, where: Where): Promise<TimelineRecord[]> {
  const source = openSource(session, options, where);
  if (source.kind === "service") return readRecords(session, source);
  const records = localRecords(source.store, session, source.tenant);
  if (records.length === 0)
    throw new InputError(
      `session ${session}: not in this spool\n   help: list the sessions with \`rspp sessions --data ${source.data}\``,
    );
  return records;
}
