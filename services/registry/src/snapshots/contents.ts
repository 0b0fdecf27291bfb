/** The content of each kind of snapshot, made from what the database says now; equal states make equal bytes. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  AdmissionSnapshotSchema,
  PolicySnapshotSchema,
  ProviderHealthSnapshotSchema,
  RolloutSnapshotSchema,
  RoutingSnapshotSchema,
} from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import type { SnapshotKind } from "@rspp/protocol/snapshot-watch-types";
import type { ActiveDocuments } from "@rspp/store/active-documents";
import type { SnapshotStore, StoredSnapshot } from "@rspp/store/snapshot-store";
import type { Statuses } from "../statuses.ts";
import { viewToWire } from "../wire.ts";
import { admissionContent } from "./admission-content.ts";
import { type DocumentCheck, type KeptBack, siftDocuments } from "./consistency.ts";
import { aggregateHealth, HEALTH_REPORT_FRESH_MS } from "./health-aggregate.ts";

export interface Made {
  readonly content: Uint8Array;
  readonly keptBack: readonly KeptBack[];
}

export interface ContentPorts {
  readonly documents: Pick<ActiveDocuments, "list">;
  readonly store: Pick<SnapshotStore, "providerReports">;
  readonly statuses: Pick<Statuses, "view">;
  readonly wallMs: () => number;
  /** By kind of document; absent: anything may go out. */
  readonly checks: Readonly<Partial<Record<"policy" | "provider_config" | "rollout", DocumentCheck>>>;
}

export const CONTENT_TYPES: Readonly<Record<SnapshotKind, string>> = {
  routing: RoutingSnapshotSchema.typeName,
  policy: PolicySnapshotSchema.typeName,
  rollout: RolloutSnapshotSchema.typeName,
  admission: AdmissionSnapshotSchema.typeName,
  provider_health: ProviderHealthSnapshotSchema.typeName,
};

const anything: DocumentCheck = () => Promise.resolve(null);

export async function makeContent(
  kind: SnapshotKind,
  ports: ContentPorts,
  current: StoredSnapshot | null,
): Promise<Made> {
  switch (kind) {
    case "routing":
      return plain(await routing(ports));
    case "policy":
      return policies(ports, current);
    case "rollout":
      return rollouts(ports, current);
    case "admission":
      return plain(admissionContent(await ports.documents.list("tenant_config"), await runtimesOf(ports)));
    case "provider_health": {
      const reports = await ports.store.providerReports(ports.wallMs() - HEALTH_REPORT_FRESH_MS);
      const message = create(ProviderHealthSnapshotSchema, { providers: [...aggregateHealth(reports)] });
      return plain(toBinary(ProviderHealthSnapshotSchema, message));
    }
  }
}

async function runtimesOf({ statuses }: ContentPorts): Promise<number> {
  const { instances } = await statuses.view();
  return instances.filter(({ role, ready, draining }) => role === "runtime" && ready && !draining).length;
}

/** Without what moves all the time: load is for placement, which the registry does itself. */
async function routing({ statuses }: ContentPorts): Promise<Uint8Array> {
  const view = viewToWire(await statuses.view());
  const instances = (view.instances ?? []).map((instance) => ({ ...instance, sessions: 0 }));
  const still = { ...view, takenWallMs: 0n, instances } as typeof view;
  return toBinary(RoutingSnapshotSchema, create(RoutingSnapshotSchema, { view: still }));
}

async function policies(ports: ContentPorts, current: StoredSnapshot | null): Promise<Made> {
  const { documents, checks } = ports;
  const before = current === null ? create(PolicySnapshotSchema) : fromBinary(PolicySnapshotSchema, current.content);
  const sifted = await siftDocuments(await documents.list("policy"), before.policies, checks.policy ?? anything);
  const check = checks.provider_config ?? anything;
  const configs = await siftDocuments(await documents.list("provider_config"), before.providerConfigs, check);
  const message = create(PolicySnapshotSchema, {
    policies: [...sifted.documents],
    providerConfigs: [...configs.documents],
  });
  return { content: toBinary(PolicySnapshotSchema, message), keptBack: [...sifted.keptBack, ...configs.keptBack] };
}

async function rollouts(ports: ContentPorts, current: StoredSnapshot | null): Promise<Made> {
  const before = current === null ? create(RolloutSnapshotSchema) : fromBinary(RolloutSnapshotSchema, current.content);
  const found = await ports.documents.list("rollout");
  const { documents, keptBack } = await siftDocuments(found, before.rollouts, ports.checks.rollout ?? anything);
  const message = create(RolloutSnapshotSchema, { rollouts: [...documents] });
  return { content: toBinary(RolloutSnapshotSchema, message), keptBack };
}

function plain(content: Uint8Array): Made {
  return { content, keptBack: [] };
}
