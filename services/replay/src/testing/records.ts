/** Records, stores and clients for tests of the replay service; the stores keep everything in memory. */
import { create } from "@bufbuild/protobuf";
import { type TimelineRecord, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { AppendTimelineRequest, AppendTimelineResponse } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { AppendTimelineRequestSchema } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import type { ObjectStore } from "@rspp/store/object-store";
import { StoreError } from "@rspp/store/store-error";
import type { TimelineIndex, TimelineSegment } from "@rspp/store/timeline-index";
import { recordDigest } from "@rspp/wire/timeline-chain";

export interface RecordInit {
  tenant?: string;
  session?: string;
  epoch?: number;
  /** Of the first record. */
  previous?: Uint8Array;
  wallMs?: number;
  /** Bytes of text in each marker. */
  filler?: number;
  /** Ends with the session's end. */
  ended?: boolean;
}

/** A chain of a header and markers. */
export function chainOf(count: number, init: RecordInit = {}): TimelineRecord[] {
  const { tenant = "t", session = "s", epoch = 1, wallMs = 1_000, filler = 8, ended = false } = init;
  const records: TimelineRecord[] = [];
  let previous = init.previous ?? new Uint8Array(0);
  for (let n = 1; n <= count; n++) {
    const record = create(TimelineRecordSchema, {
      schemaVersion: 1,
      session: { tenantId: tenant, sessionId: session },
      epoch: BigInt(epoch),
      sequence: BigInt(n),
      level: 2,
      wallMs: BigInt(wallMs + n),
      previousDigest: previous,
      body:
        n === 1
          ? {
              case: "header",
              value: { pipeline: { name: "p", version: 1 }, build: "b", predecessorHead: previous, instanceId: "i" },
            }
          : {
              case: "marker",
              value: {
                name: ended && n === count ? "session_end" : "note",
                fields: { n: `${n} ${"x".repeat(filler)}` },
              },
            },
    });
    record.digest = recordDigest(previous, record);
    previous = record.digest;
    records.push(record);
  }
  return records;
}

export const open: AppendTimelineRequest = create(AppendTimelineRequestSchema, {
  message: { case: "open", value: { instanceId: "runtime-1", build: "test" } },
});

export function appendOf(records: TimelineRecord[]): AppendTimelineRequest {
  return create(AppendTimelineRequestSchema, { message: { case: "append", value: { records } } });
}

export function resumeOf(session: string, epoch = 1, tenantId = "t"): AppendTimelineRequest {
  const value = { session: { tenantId, sessionId: session }, epoch: BigInt(epoch) };
  return create(AppendTimelineRequestSchema, { message: { case: "resume", value } });
}

/** An append stream by hand: what is pushed is sent, what comes is awaited one by one. */
export class AppendCall {
  private readonly requests: AppendTimelineRequest[] = [];
  private ended = false;
  private wake: () => void = () => undefined;
  private readonly answers: AsyncIterator<AppendTimelineResponse>;

  constructor(begin: (requests: AsyncIterable<AppendTimelineRequest>) => AsyncIterable<AppendTimelineResponse>) {
    this.answers = begin(this.stream())[Symbol.asyncIterator]();
  }

  push(...requests: AppendTimelineRequest[]): this {
    this.requests.push(...requests);
    this.wake();
    return this;
  }

  end(): this {
    this.ended = true;
    this.wake();
    return this;
  }

  /** The next answer; undefined at the end. Rejects with what ended the stream. */
  async next(): Promise<AppendTimelineResponse["message"] | undefined> {
    const { value, done } = await this.answers.next();
    return done === true ? undefined : value.message;
  }

  /** Answers up to the end of the stream. */
  async rest(): Promise<AppendTimelineResponse["message"][]> {
    const found: AppendTimelineResponse["message"][] = [];
    for (let one = await this.next(); one !== undefined; one = await this.next()) found.push(one);
    return found;
  }

  private async *stream(): AsyncGenerator<AppendTimelineRequest> {
    for (;;) {
      const next = this.requests.shift();
      if (next !== undefined) yield next;
      else if (this.ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    }
  }
}

/** `fails`: asked before each change; true makes it fail, before or after it was done. */
export function memoryStores(fails: () => "no" | "before" | "after" = () => "no") {
  const kept = new Map<string, Uint8Array>();
  const rows: TimelineSegment[] = [];
  const givenUp = new Set<string>();
  const lost = (): StoreError => new StoreError("unavailable", "The store is away", "Try again");
  const objects: Pick<ObjectStore, "put" | "getRange" | "list" | "delete"> = {
    put: async (key, content) => {
      if (fails() === "before") throw lost();
      kept.set(key, content);
      return { key, bytes: content.length, sha256: "" };
    },
    getRange: async (key, offset, length) =>
      kept.get(key)?.slice(offset, offset + length) ?? Promise.reject(new StoreError("not_found", "none", "none")),
    list: async (prefix, { after = "", limit = 1_000 } = {}) => {
      const keys = [...kept.keys()].sort().filter((key) => key.startsWith(prefix) && key > after);
      return keys.slice(0, limit).map((key) => ({ key, bytes: 0, sha256: "" }));
    },
    delete: async (key) => kept.delete(key),
  };
  const ofSession = ({ tenantId, sessionId }: { tenantId: string; sessionId: string }) =>
    rows
      .filter(({ session }) => session.tenantId === tenantId && session.sessionId === sessionId)
      .sort((a, b) => a.epoch - b.epoch || a.firstSequence - b.firstSequence);
  const index: Pick<TimelineIndex, "add" | "giveUpObjects" | "heads" | "segments"> = {
    add: async (added) => {
      const when = fails();
      if (when === "before") throw lost();
      if (added.some(({ segment }) => givenUp.has(segment.objectKey)))
        throw new StoreError("conflict", "gone", "again");
      const outcomes = added.map(({ segment }) => {
        const last = ofSession(segment.session).findLast(({ epoch }) => epoch === segment.epoch);
        if (segment.firstSequence !== (last?.lastSequence ?? 0) + 1) return "does_not_follow" as const;
        rows.push(segment);
        return "added" as const;
      });
      if (when === "after") throw lost();
      return outcomes;
    },
    giveUpObjects: async (keys) => {
      const given = keys.filter((key) => !rows.some(({ objectKey }) => objectKey === key));
      for (const key of given) givenUp.add(key);
      return given;
    },
    heads: async (session) => {
      const last = new Map(ofSession(session).map((one) => [one.epoch, one]));
      return [...last.values()].map(({ epoch, lastSequence, headDigest }) => ({ epoch, lastSequence, headDigest }));
    },
    segments: async (session, limit, after, epoch) =>
      ofSession(session)
        .filter((one) => epoch === undefined || one.epoch === epoch)
        .filter(
          (one) =>
            after === undefined ||
            one.epoch > after.epoch ||
            (one.epoch === after.epoch && one.firstSequence > after.firstSequence),
        )
        .slice(0, limit),
  };
  return { objects: objects as ObjectStore, index: index as TimelineIndex, rows, kept };
}
