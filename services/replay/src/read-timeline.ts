/** Records of one session in order of (epoch, sequence), as they were stored. */
import { createHash } from "node:crypto";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { ReadTimelineRequest } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { fieldError } from "@rspp/host/store-failure";
import { type RpcError, rpcError } from "@rspp/rpc/errors";
import type { SessionKey } from "@rspp/store/state-store";
import { StoreError } from "@rspp/store/store-error";
import type { TimelineSegment } from "@rspp/store/timeline-index";
import { domain, sessionOf } from "./append-stream.ts";
import { limits } from "./limits.ts";
import { decodeSegment } from "./segment-format.ts";
import { isSessionEnd, type SegmentStores } from "./segment-writer.ts";
import { levelOf } from "./timeline-access.ts";
import type { TimelineKeeper } from "./timeline-keeper.ts";

/** The words that {@link ReadTimelineRequest.kinds} may hold: bodies of the contract, and what canonical records name. */
export const readKinds: readonly string[] = [
  "header",
  "batch",
  "effect",
  "signal",
  "evidence",
  "addendum",
  "turn_plan",
  "plan",
  "session_plan",
  "snapshot",
  "level_change",
  "predecessor_lost",
  "marker",
  "refusal",
  "erased",
  "canonical_record",
  "payload",
  "journal",
];

/** The words of {@link readKinds} that fit a record, the narrowest first. */
export function kindsOf({ body }: TimelineRecord): readonly string[] {
  const name = (body.case ?? "").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  if (body.case === "canonicalRecord" || body.case === "effect") return [body.value.kind, name];
  return [name];
}

export interface ReaderOptions extends SegmentStores {
  readonly keeper: TimelineKeeper;
  readonly after: (ms: number, fire: () => void) => void;
}

/** What was found of one stored segment. */
export interface ReadSegment {
  readonly segment: TimelineSegment;
  readonly records: readonly TimelineRecord[];
  /** Null when it is whole. */
  readonly problem: string | null;
}

/** All segments after `after`, each as far as it can be read. Rejects with a StoreError where the store is not there. */
export async function* readSegments(
  stores: SegmentStores,
  session: SessionKey,
  epoch?: number,
  after?: TimelineSegment,
): AsyncGenerator<ReadSegment> {
  for (let last = after; ; ) {
    const page = await stores.index.segments(session, limits.SEGMENTS_PAGE, last, epoch);
    for (let from = 0; from < page.length; from += limits.READ_AHEAD) {
      const some = page.slice(from, from + limits.READ_AHEAD);
      yield* await Promise.all(some.map((segment) => readSegment(stores, segment)));
    }
    last = page.at(-1) ?? last;
    if (page.length < limits.SEGMENTS_PAGE) return;
  }
}

async function readSegment({ objects }: SegmentStores, segment: TimelineSegment): Promise<ReadSegment> {
  const { objectKey, byteOffset, bytes } = segment;
  try {
    const content = await objects.getRange(objectKey, byteOffset, bytes);
    const found = decodeSegment(content);
    // The checksum of the whole says that something is wrong; the records' own say where.
    const whole = createHash("sha256").update(content).digest("hex") === segment.sha256;
    return { segment, ...found, problem: found.problem ?? (whole ? null : "the segment's checksum differs") };
  } catch (failure) {
    if (!(failure instanceof StoreError)) throw failure;
    if (failure.code === "not_found") return { segment, records: [], problem: "the segment's object is missing" };
    if (failure.code !== "corrupt") throw failure;
    return { segment, records: [], problem: "the segment's object is cut short or its end is damaged" };
  }
}

/** Batches of records for ReadTimeline. @throws RpcError */
export async function* readTimeline(
  options: ReaderOptions,
  ask: ReadTimelineRequest,
  signal: AbortSignal,
): AsyncGenerator<{ records: TimelineRecord[] }> {
  const wanted = filterOf(ask);
  const session = sessionOf(ask.session);
  const epoch = ask.epoch === 0n ? undefined : Number(ask.epoch);
  const follower = ask.follow ? follow(options, session, signal) : null;
  try {
    if (!ask.follow && (await options.index.info(session)) === undefined) throw notFound();
    let last: TimelineSegment | undefined;
    let ended = false;
    do {
      for await (const read of readSegments(options, session, epoch, last)) {
        if (signal.aborted) return;
        last = read.segment;
        if (Number(last.lastSequence) < Number(ask.fromSequence)) continue;
        yield* inBatches(read.records.filter(wanted));
        if (read.problem !== null) throw damaged(read);
        ended ||= read.records.some(isSessionEnd);
      }
    } while (!ended && follower !== null && (await follower.more()));
  } finally {
    follower?.stop();
  }
}

function filterOf(ask: ReadTimelineRequest): (record: TimelineRecord) => boolean {
  const { epoch, fromSequence, turnId, nodeId, lane, kinds, fidelity } = ask;
  if (fromSequence > 0n && epoch === 0n) {
    const message = "belongs to one epoch: give the epoch, too";
    throw fieldError(domain, { field: "epoch", rule: "read.from_sequence", message });
  }
  const unknown = kinds.findIndex((kind) => !readKinds.includes(kind));
  if (unknown !== -1) {
    const message = `is no kind of record: use ${readKinds.join(", ")}`;
    throw fieldError(domain, { field: `kinds[${unknown}]`, rule: "read.kinds", message });
  }
  return (record) =>
    record.sequence >= fromSequence &&
    (turnId === "" || record.turnId === turnId) &&
    (nodeId === "" || record.nodeId === nodeId) &&
    (lane === 0 || record.lane === lane) &&
    (fidelity === 0 || levelOf(record) <= fidelity) &&
    (kinds.length === 0 || kindsOf(record).some((kind) => kinds.includes(kind)));
}

function* inBatches(records: readonly TimelineRecord[]): Generator<{ records: TimelineRecord[] }> {
  let batch: TimelineRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    const size = sizeOf(record);
    if (batch.length > 0 && (batch.length >= limits.READ_RECORDS_MAX || bytes + size > limits.READ_BYTES_MAX)) {
      yield { records: batch };
      batch = [];
      bytes = 0;
    }
    batch.push(record);
    bytes += size;
  }
  if (batch.length > 0) yield { records: batch };
}

/** Rather too much: the typed body repeats the canonical form at most once. */
function sizeOf({ canonical, body }: TimelineRecord): number {
  if (body.case === "batch") return 512 + body.value.inputs.reduce((sum, { body: b }) => sum + b.length + 128, 0);
  if (body.case === "snapshot") return 512 + canonical.length + body.value.body.length;
  return 512 + 2 * canonical.length;
}

interface Follower {
  /** Settles when there may be more; false when nobody follows any longer. */
  more(): Promise<boolean>;
  stop(): void;
}

/** Told at once of what this process stores; what others do is looked for now and then. */
function follow(options: ReaderOptions, session: SessionKey, signal: AbortSignal): Follower {
  let news = false;
  let wake: () => void = () => undefined;
  const told = (): void => {
    news = true;
    wake();
  };
  const unwatch = options.keeper.watch(session, told);
  const aborted = (): void => wake();
  signal.addEventListener("abort", aborted);
  return {
    more: async () => {
      if (!news && !signal.aborted) {
        await new Promise<void>((resolve) => {
          wake = resolve;
          options.after(limits.FOLLOW_POLL_MS, resolve);
        });
      }
      news = false;
      return !signal.aborted;
    },
    stop: () => {
      unwatch();
      signal.removeEventListener("abort", aborted);
    },
  };
}

function damaged({ segment, records, problem }: ReadSegment): RpcError {
  const sequence = Number(records.at(-1)?.sequence ?? segment.firstSequence - 1) + 1;
  const metadata = {
    epoch: String(segment.epoch),
    sequence: String(sequence),
    object: segment.objectKey.slice(-64),
    problem: problem ?? "",
  };
  const remedy = "Restore the object from a backup; read on behind it by from_sequence.";
  return rpcError(ErrorReason.JOURNAL_TRUNCATED, { domain, metadata, remedy });
}

export function notFound(): RpcError {
  const remedy = "List the tenant's timelines; a session appears with its first exported record.";
  return rpcError(ErrorReason.SESSION_NOT_FOUND, { domain, remedy });
}
