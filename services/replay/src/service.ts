import { create } from "@bufbuild/protobuf";
import { RecordingLevel } from "@rspp/gen/rspp/common/v1/lane_pb";
import { type TimelineSummary, TimelineSummarySchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { overStore, storeFailure } from "@rspp/host/store-failure";
import type { AuditSink } from "@rspp/rpc/call-audit";
import { callerOf } from "@rspp/rpc/caller";
import type { Log } from "@rspp/rpc/log";
import { type RpcRoute, route } from "@rspp/rpc/route";
import type { ActiveDocuments } from "@rspp/store/active-documents";
import type { ObjectStore } from "@rspp/store/object-store";
import type { SessionEnds } from "@rspp/store/session-ends";
import type { TimelineIndex, TimelineInfo } from "@rspp/store/timeline-index";
import { appendStream, domain, sessionOf } from "./append-stream.ts";
import { limits } from "./limits.ts";
import { OrphanSweep } from "./orphan-sweep.ts";
import { notFound, type ReaderOptions, readSegments, readTimeline } from "./read-timeline.ts";
import { type RetentionPorts, RetentionSweep } from "./retention-sweep.ts";
import { SessionCloser, summarise } from "./session-closer.ts";
import { summaryToWire } from "./summary-wire.ts";
import { TenantDirectory } from "./tenant-settings.ts";
import { type AccessAsk, TimelineAccess } from "./timeline-access.ts";
import { TimelineKeeper } from "./timeline-keeper.ts";
import { TimelineVerifier } from "./verify-timeline.ts";
import type { WebhookAccess } from "./webhooks/access.ts";
import { type PostWebhook, postWebhook } from "./webhooks/post.ts";
import { WebhookSender } from "./webhooks/sender.ts";

export interface ReplayPorts {
  readonly objects: ObjectStore;
  readonly index: TimelineIndex;
  readonly log: Log;
  /** Runs `fire` after `ms`; such a timer keeps no process alive. */
  readonly after: (ms: number, fire: () => void) => void;
  readonly wallMs: () => number;
  /** Default: timelines stay for ever. */
  readonly retention?: RetentionPorts;
  /** Default: nobody sums sessions up, and nobody is told of their end. */
  readonly ends?: EndPorts;
  /** Default: tenants' configurations limit no access, and none is written down. */
  readonly access?: { readonly documents: Pick<ActiveDocuments, "list">; readonly sink: AuditSink };
}

/** For what happens when sessions have ended (F-075, X-06). */
export interface EndPorts {
  readonly ends: SessionEnds;
  readonly documents: Pick<ActiveDocuments, "list">;
  /** Who stands in the audit log. */
  readonly actor: string;
  readonly webhooks: WebhookAccess;
  /** Default: over the network. */
  readonly post?: PostWebhook;
  /** For the jitter of retries. */
  readonly random: () => number;
}

export interface ReplayService {
  readonly routes: readonly RpcRoute[];
  /** Settles when everything that was taken is stored. */
  idle(): Promise<void>;
  /** Removes some timelines past their time, and some objects that no timeline needs; called now and then, by any number of processes. */
  sweep(): Promise<void>;
  /** Calls of webhooks that are under way end; others make them again. */
  close(): Promise<void>;
}

/** Timelines as a library: put the routes on any server. */
export function createReplayService(ports: ReplayPorts): ReplayService {
  const keeper = new TimelineKeeper(ports);
  const reader: ReaderOptions = { ...ports, keeper };
  const orphans = new OrphanSweep(ports);
  const expiry = ports.retention === undefined ? null : new RetentionSweep({ ...ports, ...ports.retention });
  const ending = ports.ends === undefined ? null : endingOf(ports, ports.ends);
  return {
    routes: [timelineRoute(ports, reader, accessOf(ports))],
    idle: () => keeper.idle(),
    sweep: async () => {
      await expiry?.step();
      await orphans.step();
      await ending?.step();
    },
    close: async () => ending?.close(),
  };
}

function endingOf(ports: ReplayPorts, { webhooks, post = postWebhook, ...ends }: EndPorts) {
  const tenants = new TenantDirectory(ends.documents, ports.wallMs);
  const closer = new SessionCloser({ ...ports, ...ends, tenants });
  const sender = new WebhookSender({ ...ports, ...ends, access: webhooks, post });
  let forgotWallMs = 0;
  return {
    step: async (): Promise<void> => {
      await closer.step();
      await sender.step();
      const nowWallMs = ports.wallMs();
      if (nowWallMs - forgotWallMs < limits.WEBHOOK_FORGET_EVERY_MS) return;
      forgotWallMs = nowWallMs;
      await ends.ends.forget(nowWallMs - limits.WEBHOOK_KEPT_MS);
    },
    close: () => sender.close(),
  };
}

type ContextValues = Parameters<typeof callerOf>[0];
type Calls = Parameters<typeof route<typeof TimelineService>>[1];

/** Whether the caller may do so; says so in the audit log. */
type Check = (ask: Omit<AccessAsk, "caller">, values: ContextValues, recorded?: number) => Promise<void>;

function accessOf({ access, wallMs }: ReplayPorts): Check {
  if (access === undefined) return () => Promise.resolve();
  const { documents, sink } = access;
  const checked = new TimelineAccess({ tenants: new TenantDirectory(documents, wallMs), sink });
  return (ask, values, recorded) => checked.check({ ...ask, caller: callerOf(values) }, recorded);
}

function timelineRoute(ports: ReplayPorts, reader: ReaderOptions, check: Check): RpcRoute {
  return route(TimelineService, {
    appendTimeline: (requests, { signal }) => appendStream(reader.keeper, requests, signal),
    listTimelines: (ask, { values }) =>
      overStore(domain, async () => {
        const { tenantId, purpose } = ask;
        await check({ action: "timeline.list", tenantId, sessionId: "", purpose }, values);
        const found = await ports.index.list({
          tenantId,
          ...(ask.pipelineName === "" ? {} : { pipelineName: ask.pipelineName }),
          ...(ask.sinceWallMs === 0n ? {} : { sinceWallMs: Number(ask.sinceWallMs) }),
          limit: ask.page?.size || limits.LIST_PAGE_DEFAULT,
          after: ask.page?.token || null,
        });
        return { timelines: found.timelines.map(summaryOf), nextPageToken: found.next ?? "" };
      }),
    readTimeline: async function* (ask, { signal, values }) {
      try {
        const key = sessionOf(ask.session);
        const { purpose, fidelity } = ask;
        // Of one that goes on nobody knows what is recorded next.
        const recorded = ask.follow ? RecordingLevel.L2 : (await ports.index.info(key))?.recordingLevel;
        await check({ action: "timeline.read", ...key, purpose, fidelity }, values, recorded);
        yield* readTimeline(reader, ask, signal);
      } catch (failure) {
        throw storeFailure(failure, domain);
      }
    },
    verifyTimeline: ({ session, purpose }, { values }) =>
      overStore(domain, async () => {
        const key = sessionOf(session);
        await check({ action: "timeline.verify", ...key, purpose }, values);
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
    ...summaryCalls(ports, check),
  });
}

/** Summaries: those that were stored; of a session that goes on, or ended before there were any, from its records. */
function summaryCalls(ports: ReplayPorts, check: Check): Pick<Calls, "getSessionSummary" | "listSessionSummaries"> {
  return {
    getSessionSummary: ({ session, purpose }, { values }) =>
      overStore(domain, async () => {
        const key = sessionOf(session);
        await check({ action: "timeline.summary", ...key, purpose }, values);
        const stored = await ports.ends?.ends.summary(key);
        if (stored !== undefined) return { summary: summaryToWire(stored.summary), ended: true };
        const info = await ports.index.info(key);
        if (info === undefined) throw notFound();
        return { summary: summaryToWire(await summarise(ports, key)), ended: info.ended };
      }),
    listSessionSummaries: (ask, { values }) =>
      overStore(domain, async () => {
        const { tenantId, purpose, pipelineName } = ask;
        await check({ action: "timeline.summaries", tenantId, sessionId: "", purpose }, values);
        const found = await ports.ends?.ends.summaries({
          tenantId,
          ...(pipelineName === "" ? {} : { pipelineName }),
          ...(ask.sinceWallMs === 0n ? {} : { sinceWallMs: Number(ask.sinceWallMs) }),
          limit: ask.page?.size || limits.LIST_PAGE_DEFAULT,
          after: ask.page?.token || null,
        });
        const summaries = found?.summaries.map(({ summary }) => summaryToWire(summary)) ?? [];
        return { summaries, nextPageToken: found?.next ?? "" };
      }),
  };
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
