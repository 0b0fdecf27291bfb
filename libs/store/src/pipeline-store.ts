/** What can be published; names as in the contracts, lower case. */
export type ArtifactKind =
  | "pipeline"
  | "profile"
  | "policy"
  | "module"
  | "rollout"
  | "node_package"
  | "provider_config"
  | "tenant_config";

export interface VersionInfo {
  readonly tenantId: string;
  readonly kind: ArtifactKind;
  readonly name: string;
  readonly version: number;
  /** SHA-256 of the content, hexadecimal. */
  readonly digest: string;
  readonly author: string;
  readonly publishedWallMs: number;
  readonly note: string;
  readonly deprecated: boolean;
}

export interface StoredVersion extends VersionInfo {
  /** Normalised bytes. */
  readonly content: Uint8Array;
  /** As the author wrote it. */
  readonly source: Uint8Array;
  readonly sourceFormat: string;
}

export interface NewVersion {
  readonly tenantId: string;
  readonly kind: ArtifactKind;
  readonly name: string;
  /** From 1; null: the next, unless the newest has the same bytes. */
  readonly version: number | null;
  readonly author: string;
  readonly publishedWallMs: number;
  readonly note: string;
  /** At most 1 MiB, as `source`. */
  readonly content: Uint8Array;
  readonly source: Uint8Array;
  readonly sourceFormat: string;
  /** True: the version in force stays. Default false; a pipeline with a rollout in force is never activated. */
  readonly keepActive?: boolean;
  /** More for its audit entry. */
  readonly auditDetail?: Readonly<Record<string, string | number>>;
}

export type PublishOutcome =
  | { readonly kind: "published" | "unchanged"; readonly version: VersionInfo; readonly activated: boolean }
  /** F-015: that version has other bytes, and keeps them. */
  | { readonly kind: "immutable"; readonly existing: VersionInfo; readonly offeredDigest: string };

export interface VersionPage {
  readonly versions: readonly VersionInfo[];
  /** For the next call; null at the end. */
  readonly next: string | null;
}

/** Immutable versions (F-015, F-092); each change stands in the audit or did not happen. Every call may reject with a StoreError. */
export interface PipelineStore {
  publish(version: NewVersion): Promise<PublishOutcome>;
  /** `version` 0: the newest. */
  get(tenantId: string, kind: ArtifactKind, name: string, version: number): Promise<StoredVersion | undefined>;
  /** Newest first: the versions of `name`, or without it the newest version of each name. `limit` 1…1000. */
  list(ask: {
    readonly tenantId: string;
    readonly kind: ArtifactKind;
    readonly name?: string;
    readonly limit: number;
    readonly after?: string | null;
  }): Promise<VersionPage>;
  /** The one thing that may change. False when there is no such version. */
  setDeprecated(
    version: Pick<VersionInfo, "tenantId" | "kind" | "name" | "version">,
    deprecated: boolean,
    by: { readonly actor: string; readonly atWallMs: number },
  ): Promise<boolean>;
}
