/** What the snapshots of the registry are made of, and what must hold of a document before it goes out. */
import { parsePolicy, providersOf } from "@rspp/spec/policy/parse-policy";
import { readProviderConfig } from "@rspp/spec/published/provider-config";
import { type Rollout, versionsOf } from "@rspp/spec/rollout/rollout";
import type { ActiveDocuments } from "@rspp/store/active-documents";
import { PLATFORM_TENANT } from "@rspp/store/active-versions";
import type { PipelineStore } from "@rspp/store/pipeline-store";
import type { SnapshotStore } from "@rspp/store/snapshot-store";
import type { WallClock } from "../ports.ts";
import type { Statuses } from "../statuses.ts";
import type { DocumentCheck } from "./consistency.ts";
import type { ContentPorts } from "./contents.ts";

export interface SnapshotPorts {
  readonly documents: ActiveDocuments;
  readonly snapshots: SnapshotStore;
  readonly pipelines: Pick<PipelineStore, "get">;
  readonly clock: WallClock;
}

export function snapshotContents(ports: SnapshotPorts, statuses: Statuses): ContentPorts {
  const { documents, snapshots, clock } = ports;
  const checks = {
    policy: policyCheck(snapshots),
    rollout: rolloutCheck(ports.pipelines),
    provider_config: providerConfigCheck,
  };
  return {
    documents,
    store: snapshots,
    statuses,
    wallMs: () => clock.wallMs(),
    checks,
  };
}

/** A policy can be read by this build and names providers that some gateway has; while none ever told, nothing is known. */
export function policyCheck(store: Pick<SnapshotStore, "providerReports">): DocumentCheck {
  return async ({ name, content }) => {
    const read = parsePolicy(new TextDecoder().decode(content), name);
    if (!read.ok) {
      const [first] = read.error;
      return `${first?.path ?? ""}: ${first?.message ?? "cannot be read"}: ${first?.remedy ?? ""}`;
    }
    const known = new Set((await store.providerReports(0)).map(({ provider }) => provider));
    const missing = known.size === 0 ? undefined : providersOf(read.value).find((provider) => !known.has(provider));
    if (missing === undefined) return null;
    return `it names the provider ${missing}, which no gateway has: start a gateway that has it, or publish a policy without it`;
  };
}

/** What a gateway of this build could not read, it is not sent. */
export const providerConfigCheck: DocumentCheck = ({ content }) =>
  Promise.resolve(readProviderConfig(content) === null ? "it cannot be read: publish it again" : null);

/** Every version a rollout names was published, by the tenant or by the platform. */
export function rolloutCheck(pipelines: Pick<PipelineStore, "get">): DocumentCheck {
  return async ({ tenantId, name, content }) => {
    const rollout = readRollout(content);
    if (rollout === null) return "it cannot be read: publish it again";
    for (const version of versionsOf(rollout)) {
      const found =
        (await pipelines.get(tenantId, "pipeline", name, version)) ??
        (await pipelines.get(PLATFORM_TENANT, "pipeline", name, version));
      if (found === undefined) return `it names ${name}@${version}, which is not published: publish that version`;
    }
    return null;
  };
}

function readRollout(content: Uint8Array): Rollout | null {
  try {
    const { rollout } = JSON.parse(new TextDecoder().decode(content)) as { rollout?: Rollout };
    return typeof rollout?.stable === "number" ? rollout : null;
  } catch {
    return null;
  }
}
