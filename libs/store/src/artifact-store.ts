import type { ArtifactKind, StoredVersion, VersionInfo } from "./pipeline-store.ts";

export interface ActiveVersion {
  /** Who published it: the tenant that was asked for, or `*`. */
  readonly tenantId: string;
  readonly kind: ArtifactKind;
  readonly name: string;
  readonly version: number;
  /** SHA-256, hexadecimal. */
  readonly digest: string;
  readonly deprecated: boolean;
  readonly changedWallMs: number;
  readonly changedBy: string;
}

/** A version in force with its content, where the kind decides over routes. */
export interface InForce extends ActiveVersion {
  /** Of rollouts and configurations of tenants; else empty. */
  readonly content: Uint8Array;
}

export interface ChangeAsk {
  readonly tenantId: string;
  readonly kind: ArtifactKind;
  readonly name: string;
  readonly actor: string;
  readonly atWallMs: number;
  /** Words for the audit. */
  readonly reason: string;
}

export type RollbackOutcome =
  | {
      readonly kind: "rolled_back";
      readonly version: VersionInfo;
      readonly fromVersion: number;
      /** The pipeline's rollout was withdrawn with it. */
      readonly rolloutWithdrawn: boolean;
    }
  | { readonly kind: "not_found" }
  /** There is none before the one in force that is not deprecated. */
  | { readonly kind: "nothing_older"; readonly activeVersion: number }
  | { readonly kind: "deprecated"; readonly version: number };

/** Which versions are in force (F-100, F-102); each change stands in the audit. Every call may reject with a StoreError. */
export interface ArtifactStore {
  /** Of the tenant and, where it has none of that kind and name, of `*`; by kind and name, at most 4096. */
  active(ask: {
    readonly tenantId: string;
    readonly kinds?: readonly ArtifactKind[];
  }): Promise<readonly ActiveVersion[]>;
  /**
   * What decides over a session of a pipeline: pipeline and rollout of that name and all policies and configurations, of the
   * tenant and of `*`; neither beats the other here.
   */
  inForce(tenantId: string, pipelineName: string): Promise<readonly InForce[]>;
  /** The version without its content. */
  info(tenantId: string, kind: ArtifactKind, name: string, version: number): Promise<VersionInfo | undefined>;
  /** The tenant's version of that number, else the platform's; 0: the one in force, else the newest of either. */
  read(tenantId: string, kind: ArtifactKind, name: string, version: number): Promise<StoredVersion | undefined>;
  /** @param ask.version 0: the newest below the one in force that is not deprecated. */
  rollback(ask: ChangeAsk & { readonly version: number }): Promise<RollbackOutcome>;
  /** @returns the version that was in force; 0 none. */
  withdraw(ask: ChangeAsk): Promise<number>;
}
