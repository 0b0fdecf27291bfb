/** Public halves of signing keys, and access tokens as far as the registry remembers them (F-115, F-169). */

/** What a key signs. */
export type KeyPurpose = "session-token" | "lease-grant";

export interface PublicKeyRow {
  readonly keyId: string;
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Last instant it is good; 0: no end is known. */
  readonly notAfterWallMs: number;
}

export interface AccessTokenRow {
  readonly tokenId: string;
  readonly tenantId: string;
  readonly subject: string;
  /** Number of `rspp.common.v1.Role`. */
  readonly role: number;
  readonly issuedWallMs: number;
  readonly expiresWallMs: number;
  /** 0: it was not taken back. */
  readonly revokedWallMs: number;
  readonly createdBy: string;
}

export interface TokenStore {
  /** Those that are good at `nowWallMs`, newest first, 16 at most. */
  listKeys(purpose: KeyPurpose, nowWallMs: number): Promise<readonly PublicKeyRow[]>;
  /** Before anything is signed with it, and now and then. `stolen`: it was given up for good, and nobody believes it. */
  publishKey(
    purpose: KeyPurpose,
    key: { readonly keyId: string; readonly publicKey: Uint8Array },
    nowWallMs: number,
  ): Promise<"published" | "stolen">;
  /** What it signed is good until then at least; a later retirement honours it. */
  noteUse(purpose: KeyPurpose, keyId: string, untilWallMs: number): Promise<void>;
  /**
   * Signs no more. Good until `notAfterWallMs`, or until what it signed has ended, whichever is later; `stolen`: until now.
   * Gives the end.
   */
  retireKey(
    purpose: KeyPurpose,
    keyId: string,
    ask: { readonly notAfterWallMs: number; readonly stolen: boolean },
  ): Promise<number>;

  addToken(row: AccessTokenRow): Promise<void>;
  /** Newest first. */
  listTokens(ask: {
    readonly tenantId: string;
    readonly limit: number;
    readonly after: string | null;
  }): Promise<{ readonly tokens: readonly AccessTokenRow[]; readonly next: string | null }>;
  /** Undefined: there is none of the tenant. A second time changes nothing. */
  revokeToken(tenantId: string, tokenId: string, nowWallMs: number): Promise<AccessTokenRow | undefined>;
  /** Of those that have not ended by themselves. */
  revokedIds(nowWallMs: number): Promise<readonly string[]>;
}
