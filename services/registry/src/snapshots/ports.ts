/** What the snapshots of the registry are made of. */
import type { ActiveDocuments } from "@rspp/store/active-documents";
import type { SnapshotStore } from "@rspp/store/snapshot-store";
import type { WallClock } from "../ports.ts";
import type { Statuses } from "../statuses.ts";
import type { ContentPorts } from "./contents.ts";

export interface SnapshotPorts {
  readonly documents: ActiveDocuments;
  readonly snapshots: SnapshotStore;
  readonly clock: WallClock;
}

export function snapshotContents({ documents, snapshots, clock }: SnapshotPorts, statuses: Statuses): ContentPorts {
  return { documents, store: snapshots, statuses, wallMs: () => clock.wallMs(), checks: {} };
}
