/** Documents of the control plane that are in force (F-102). */
import type { ArtifactKind } from "./pipeline-store.ts";

/** Of one kind, told at once. */
export const ACTIVE_DOCUMENTS_MAX = 4_096;

export interface ActiveDocument {
  readonly tenantId: string;
  readonly kind: ArtifactKind;
  readonly name: string;
  readonly version: number;
  /** SHA-256 of the content, hexadecimal. */
  readonly digest: string;
  /** Normalised bytes. */
  readonly content: Uint8Array;
}

/** Every call may reject with a StoreError. */
export interface ActiveDocuments {
  /** Of one kind over all tenants, by tenant and name; at most {@link ACTIVE_DOCUMENTS_MAX}. */
  list(kind: ArtifactKind): Promise<readonly ActiveDocument[]>;
  /** Calls `wake` when another version came into force, and after every reconnect. */
  onChange(wake: () => void): { close(): void };
}
