/** The runtime's watch of snapshots, with what it does to sessions. */
import { join } from "node:path";
import { AuditWriter, writeToRegistry } from "@rspp/host/audit-writer";
import type { ServiceContext } from "@rspp/host/service";
import { measureSnapshotWatch } from "@rspp/host/snapshot-metrics";
import type { Clock } from "@rspp/ports/clock";
import type { ProviderPort } from "@rspp/ports/provider";
import { openSnapshotDisk } from "@rspp/remote/snapshot-disk";
import { keep, SnapshotWatch } from "@rspp/remote/snapshot-watch";
import type { RpcConnection } from "@rspp/rpc/clients";
import type { RuntimeConfig } from "./config.ts";
import { ControlSnapshots } from "./control-snapshots.ts";
import { PolicyBook } from "./policy-book.ts";

export interface RunningSnapshots {
  readonly policies: ControlSnapshots;
  close(): Promise<void>;
}

/** Ageing is looked at so often, too: nothing is heard of an outage. */
const lookEveryMs = 1_000;

export function openControlSnapshots(
  { data, region }: Pick<RuntimeConfig, "data" | "region">,
  { instanceId, log, telemetry }: Pick<ServiceContext, "instanceId" | "log" | "telemetry">,
  parts: { readonly clock: Clock; readonly registry: RpcConnection; readonly providers: ProviderPort },
): RunningSnapshots {
  const { clock, registry, providers } = parts;
  const book = new PolicyBook(region);
  const watch = new SnapshotWatch({
    clock,
    registry,
    instanceId,
    log,
    take: {
      policy: (content) => book.takePolicies(content),
      provider_health: (content) => book.takeHealth(content),
      rollout: keep,
      admission: keep,
      routing: keep,
    },
    disk: openSnapshotDisk(join(data, "snapshots")),
    onHeard: () => policies.changed(),
  });
  const available = () => providers.providers();
  const audit = new AuditWriter({ write: writeToRegistry(registry), log, waitMs: 0 });
  const policies = new ControlSnapshots({ watch, book, available, logger: log, audit, instanceId });
  const measured = measureSnapshotWatch(telemetry.metrics, () => watch.stats());
  const timer = setInterval(() => policies.changed(), lookEveryMs);
  timer.unref();
  void watch.start();
  return {
    policies,
    close: async () => {
      clearInterval(timer);
      measured();
      await watch.close();
      await audit.close();
    },
  };
}
