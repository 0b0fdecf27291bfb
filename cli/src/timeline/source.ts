/**
 * Where a session's records are: in the spool of this machine, or at the replay service. `rspp demo` and `rspp run` leave
 * theirs here, a platform's are exported. Without a word about it this machine is looked at first.
 */
import { join } from "node:path";
import { RecordingLevel } from "@rspp/gen/rspp/common/v1/lane_pb";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { openNodeStore } from "@rspp/runtime/spool/node-store";
import { listSessions } from "@rspp/runtime/spool/reader";
import type { SpoolStore } from "@rspp/runtime/spool/store";
import { levelNames } from "@rspp/wire/names";
import { CommandError, EXIT_INPUT, EXIT_UNREACHABLE, InputError, usageError } from "../errors.ts";
import { DATA_DEFAULT } from "../options.ts";
import { createProgress } from "../output/printer.ts";
import { connectTo, type Peer } from "../platform-client/connect.ts";
import type { RecordingOptions, Where } from "./options.ts";

export type Source =
  | { readonly kind: "local"; readonly store: SpoolStore; readonly data: string; readonly tenant: string }
  | {
      readonly kind: "service";
      readonly replay: Peer<typeof TimelineService>;
      readonly tenant: string;
      readonly purpose?: string;
      readonly fidelity?: string;
    };

/** @throws InputError, CommandError when the folder holds no recordings, or several tenants' of this id and none is named. */
export function openSource(session: string, options: RecordingOptions, where: Where): Source {
  const { addressGiven } = where;
  const local = options.local === true || options.data !== undefined;
  const data = options.data ?? DATA_DEFAULT;
  if (local && addressGiven && options.local)
    throw usageError("--local and --replay are one or the other", "leave one of them out");
  const here = (store: SpoolStore): Source => ({
    kind: "local",
    store,
    data,
    tenant: tenantOf(session, store, options, where),
  });
  if (local) return here(openSpool(data));
  if (!addressGiven) {
    const store = spoolWith(data, session);
    if (store !== null) return here(store);
  }
  const replay = connectTo("replay", options.replay, TimelineService, options);
  const { tenant, purpose = "", fidelity = "" } = options;
  return { kind: "service", replay, tenant, purpose, fidelity };
}

/** @throws InputError when there is no spool. */
export function openSpool(data: string): SpoolStore {
  const opened = openNodeStore(join(data, "spool"), { readOnly: true });
  if (!opened.ok)
    throw new InputError(`${opened.error.detail}\n   help: name the folder of an earlier run with --data DIR`);
  return opened.value;
}

/** Whose the session is: as it was said, or as the recording says where only one tenant has the id. */
function tenantOf(session: string, store: SpoolStore, { tenant }: RecordingOptions, { tenantGiven }: Where): string {
  if (tenantGiven) return tenant;
  const found = listSessions(store).filter(({ sessionId }) => sessionId === session);
  if (found.length < 2) return found[0]?.tenantId ?? tenant;
  const tenants = found.map(({ tenantId }) => tenantId || "one not recorded").join(", ");
  throw new InputError(`session ${session}: recorded for the tenants ${tenants}\n   help: say whose with --tenant ID`);
}

function spoolWith(data: string, session: string): SpoolStore | null {
  const opened = openNodeStore(join(data, "spool"), { readOnly: true });
  if (!opened.ok) return null;
  return listSessions(opened.value).some(({ sessionId }) => sessionId === session) ? opened.value : null;
}

/** Where nothing was said about the place, both places are named. */
export async function orNowhere<T>(
  session: string,
  options: RecordingOptions,
  where: Where,
  work: Promise<T>,
): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const guessed = !where.addressGiven && options.local !== true && options.data === undefined;
    if (!guessed || !(error instanceof CommandError) || error.facts.status !== EXIT_UNREACHABLE) throw error;
    throw new CommandError({
      ...error.facts,
      what: `session ${session} is not in ${DATA_DEFAULT} of this folder, and ${error.facts.what}`,
      remedy: "name the folder of its recording with --data DIR, or the replay service with --replay URL",
    });
  }
}

const recordsMax = 2_000_000;

/** Every record of a session, in order. @throws CommandError where nothing is known of it. */
export async function readRecords(session: string, source: Extract<Source, { kind: "service" }>) {
  const { replay, tenant, purpose = "", fidelity = "" } = source;
  const progress = createProgress();
  const records: TimelineRecord[] = [];
  const level = (levelNames.number(fidelity) ?? RecordingLevel.UNSPECIFIED) as RecordingLevel;
  const request = { session: { tenantId: tenant, sessionId: session }, purpose, fidelity: level };
  try {
    for await (const { records: some } of replay.stream((client) => client.readTimeline(request))) {
      for (const record of some) records.push(record);
      progress.tell(`reading the timeline: ${records.length} records`);
      if (records.length > recordsMax)
        throw usageError(`session ${session} has more than ${recordsMax} records`, "read a part of it with --turn");
    }
  } catch (error) {
    throw isUnknown(error) ? unknownSession(session, replay.url) : error;
  } finally {
    progress.done();
  }
  if (records.length === 0) throw unknownSession(session, replay.url);
  return records;
}

export function isUnknown(error: unknown): boolean {
  return error instanceof CommandError && error.facts.reason === "session_not_found";
}

export function unknownSession(session: string, url: string): CommandError {
  return new CommandError({
    status: EXIT_INPUT,
    reason: "session_not_found",
    what: `session ${session}: the replay service at ${url} holds nothing of it`,
    remedy: "`rspp sessions` lists the sessions of the platform; what was just said may take a moment to be exported",
  });
}
