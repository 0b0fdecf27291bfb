import type { WallMs } from "@rspp/base/brand";

/** What a session token says before it is signed (F-119); names as in the contracts. */
export interface TokenClaims {
  readonly tenantId: string;
  readonly sessionId: string;
  /** `name@version`. */
  readonly pipelineVersion: string;
  readonly instanceId: string;
  readonly transport: string;
  readonly issuedWallMs: number;
  readonly expiresWallMs: number;
  readonly tokenId: string;
  /** JSON values. */
  readonly variables: Readonly<Record<string, string>>;
  /** Admitted past a soft quota (F-050). */
  readonly degraded: boolean;
}

/** Signs with the platform's Ed25519 key; the key never comes near this service's logic. */
export interface TokenSigner {
  sign(claims: TokenClaims): Promise<string>;
}

export interface WallClock {
  wallMs(): WallMs;
}

/** Ids nobody can guess, e.g. `ses_…`. */
export type NewId = (prefix: string) => string;

/** One finding of the checker, as the contracts have it. */
export interface SpecFinding {
  readonly severity: "warning" | "error";
  /** Field path; empty for the file as a whole. */
  readonly path: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
  readonly remedy: string;
}

/** A spec that may be published: its name and the bytes its hash is taken over. */
export interface CheckedSpec {
  readonly name: string;
  /** `packages`: the digest of each package of nodes that is pinned, by `name@version`. */
  normalised(packages?: Readonly<Record<string, string>>): Uint8Array;
  /** Packages its custom nodes name, and where. */
  readonly packages: readonly { readonly name: string; readonly path: string }[];
  readonly warnings: readonly SpecFinding[];
  /** MAJOR of the version the author gave it. */
  readonly major: string;
  /** What of it breaks a version of the same MAJOR (NF-010), whose content is given; `from` names that version. */
  breakingSince(content: Uint8Array, from: string): readonly SpecFinding[];
}
