/** SnapshotService: the watches of this replica, and what is to be said about them. */
import { SnapshotService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { serverSettled } from "@rspp/protocol/snapshot-watch-server";
import { SNAPSHOT_KINDS, snapshotVersion, type WatchServerState } from "@rspp/protocol/snapshot-watch-types";
import { type RpcRoute, route } from "@rspp/rpc/route";
import type { MetricRegistry } from "@rspp/telemetry/metric-registry";
import type { SnapshotHub } from "./hub.ts";
import { watchSnapshots } from "./watch.ts";

export interface SnapshotRoutesOptions {
  readonly hub: SnapshotHub;
  /** Ids nobody can guess. */
  readonly newId: (prefix: string) => string;
}

export interface SnapshotRoutes {
  readonly route: RpcRoute;
  /** Watches now. */
  watchers(): readonly WatchServerState[];
}

export function snapshotRoutes({ hub, newId }: SnapshotRoutesOptions): SnapshotRoutes {
  const watches = new Set<WatchServerState>();
  const calls: Parameters<typeof route<typeof SnapshotService>>[1] = {
    watchSnapshots: (requests, { signal }) =>
      watchSnapshots(requests, {
        hub,
        connectionId: newId("w"),
        signal,
        register: (state) => {
          watches.add(state);
          return () => void watches.delete(state);
        },
      }),
    getSnapshotStatus: () => ({ kinds: SNAPSHOT_KINDS.flatMap((kind) => statusOf(hub, [...watches], kind)) }),
  };
  return { route: route(SnapshotService, calls), watchers: () => [...watches] };
}

function statusOf(hub: SnapshotHub, watches: readonly WatchServerState[], kind: (typeof SNAPSHOT_KINDS)[number]) {
  const newest = hub.newest(kind);
  if (newest === undefined) return [];
  const mine = watches.filter((state) => state.kinds[kind] !== undefined);
  return [
    {
      snapshot: {
        kind,
        version: snapshotVersion(kind, newest.version),
        takenWallMs: BigInt(newest.takenWallMs),
        stale: !hub.inTouch,
      },
      watchers: mine.length,
      settled: mine.filter((state) => serverSettled(state, kind) === newest.version).length,
      keptBack: hub
        .keptBack(kind)
        .slice(0, 64)
        .map((one) => ({ ...one, subject: one.subject.slice(0, 256) })),
      refusals: hub
        .refusals(kind)
        .slice(0, 64)
        .map((one) => ({ ...one })),
    },
  ];
}

/** What the hub counts, read when somebody asks. Gives a function that ends it. */
export function measureSnapshots(metrics: MetricRegistry, hub: SnapshotHub, routes: SnapshotRoutes): () => void {
  const version = metrics.gauge({
    name: "rspp_snapshot_version",
    help: "Version of the newest snapshot",
    unit: "1",
    labels: ["kind"],
  });
  const keptBack = metrics.gauge({
    name: "rspp_snapshot_kept_back_documents",
    help: "Documents that are not part of their snapshot since they are not consistent",
    unit: "1",
    labels: ["kind"],
  });
  const watchers = metrics.gauge({ name: "rspp_snapshot_watchers", help: "Watches on this replica", unit: "1" }).with();
  const refused = metrics
    .counter({ name: "rspp_snapshot_refused_total", help: "Snapshots that watchers refused", unit: "1" })
    .with();
  return metrics.beforeCollect(() => {
    for (const kind of SNAPSHOT_KINDS) {
      version.with(kind).set(hub.newest(kind)?.version ?? 0);
      keptBack.with(kind).set(hub.keptBack(kind).length);
    }
    watchers.set(routes.watchers().length);
    refused.value = hub.refusalCount;
  });
}
