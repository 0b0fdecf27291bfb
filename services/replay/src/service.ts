import { create } from "@bufbuild/protobuf";
import { type TimelineSummary, TimelineSummarySchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { overStore, storeFailure } from "@rspp/host/store-failure";
import type { Log } from "@rspp/rpc/log";
import { type RpcRoute, route } from "@rspp/rpc/route";
import type { ObjectStore } from "@rspp/store/object-store";
import type { TimelineIndex, TimelineInfo } from "@rspp/store/timeline-index";
import { appendStream, domain, sessionOf } from "./append-stream.ts";
import { limits } from "./limits.ts";
import { OrphanSweep } from "./orphan-sweep.ts";
import { notFound, type ReaderOptions, readSegments, readTimeline } from "./read-timeline.ts";
import { type RetentionPorts, RetentionSweep } from "./retention-sweep.ts";
import { TimelineKeeper } from "./timeline-keeper.ts";
import { TimelineVerifier } from "./verify-timeline.ts";

export interface ReplayPorts {
  readonly objects: ObjectStore;
  readonly index: TimelineIndex;
  readonly log: Log;
  /** Runs `fire` after `ms`; such a timer keeps no process alive. */
  readonly after: (ms: number, fire: () => void) => void;
  readonly wallMs: () => number;
  /** Default: timelines stay for ever. */
  readonly retention?: RetentionPorts;
}

export interface ReplayService {
  readonly routes: readonly RpcRoute[];
  /** Settles when everything that was taken is stored. */
  idle(): Promise<void>;
  /** Removes some timelines past their time, and some objects that no timeline needs; called now and then, by any number of processes. */
  sweep(): Promise<void>;
}

/** Timelines as a library: put the routes on any server. */
export function createReplayService(ports: ReplayPorts): ReplayService {
  const keeper = new TimelineKeeper(ports);
  const reader: ReaderOptions = { ...ports, keeper };
  const orphans = new OrphanSweep(ports);
  const expiry = ports.retention === undefined ? null : new RetentionSweep({ ...ports, ...ports.retention });
  return {
    routes: [timelineRoute(ports, reader)],
    idle: () => keeper.idle(),
    sweep: async () => {
      await expiry?.step();
      await orphans.step();
    },
  };
}

function timelineRoute(ports: ReplayPorts, reader: ReaderOptions): RpcRoute {
  return route(TimelineService, {
    appendTimeline: (requests, { signal }) => appendStream(reader.keeper, requests, signal),
    listTimelines: (ask) =>
      overStore(domain, async () => {
        const found = await ports.index.list({
          tenantId: ask.tenantId,
          ...(ask.pipelineName === "" ? {} : { pipelineName: ask.pipelineName }),
          ...(ask.sinceWallMs === 0n ? {} : { sinceWallMs: Number(ask.sinceWallMs) }),
          limit: ask.page?.size || limits.LIST_PAGE_DEFAULT,
          after: ask.page?.token || null,
        });
        return { timelines: found.timelines.map(summaryOf), nextPageToken: found.next ?? "" };
      }),
    readTimeline: async function* (ask, { signal }) {
      try {
        yield* readTimeline(reader, ask, signal);
      } catch (failure) {
        throw storeFailure(failure, domain);
      }
    },
    verifyTimeline: ({ session }) =>
      overStore(domain, async () => {
        const key = sessionOf(session);
        if ((await ports.index.info(key)) === undefined) throw notFound();
        const verifier = new TimelineVerifier();
        for await (const segment of readSegments(ports, key)) verifier.segment(segment);
        const { records, faults, declaredLosses, ...verdict } = verifier.verdict();
        return {
          ...verdict,
          records: BigInt(records),
          faults: faults.map((fault) => ({
            ...fault,
            epoch: BigInt(fault.epoch),
            sequence: BigInt(fault.sequence),
          })),
          declaredLosses: [...declaredLosses],
        };
      }),
  });
}

function summaryOf(info: TimelineInfo): TimelineSummary {
  return create(TimelineSummarySchema, {
    session: info.session,
    ...(info.pipelineName === "" ? {} : { pipeline: { name: info.pipelineName, version: info.pipelineVersion } }),
    startedWallMs: BigInt(info.startedWallMs),
    lastWallMs: BigInt(info.lastWallMs),
    epochs: info.epochs.map(BigInt),
    records: BigInt(info.records),
    bytes: BigInt(info.bytes),
    turns: info.turns,
    level: info.recordingLevel,
    complete: info.ended && info.losses === 0,
  });
}
