/** Checks signed grants with the public keys of the lease service (kernel.md §7), fetched when one is named that is unknown. */
import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { msToNs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import type { SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import type { Clock } from "@rspp/ports/clock";
import type { RpcConnection } from "@rspp/rpc/clients";
import { limits } from "./link-limits.ts";
import { readGrant } from "./link-open.ts";
import type { GrantVerifier, VerifiedGrant } from "./link-session-types.ts";

/** A verifier over `ListSigningKeys`. A lease service that is away leaves the keys there are in force. */
export function createGrantVerifier(lease: RpcConnection, clock: Clock): GrantVerifier {
  return new Verifier(lease, clock);
}

class Verifier implements GrantVerifier {
  readonly #lease: RpcConnection;
  readonly #clock: Clock;
  #keys = new Map<string, KeyObject>();
  #fetchedAtNs = Number.NEGATIVE_INFINITY;
  #fetching: Promise<void> | null = null;

  constructor(lease: RpcConnection, clock: Clock) {
    this.#lease = lease;
    this.#clock = clock;
  }

  async verify(signed: SignedGrant): Promise<Result<VerifiedGrant, "form" | "key_unknown" | "signature">> {
    const grant = readGrant(signed);
    if (grant?.session === undefined) return err("form");
    if (!this.#keys.has(signed.keyId)) await this.#fetch();
    const key = this.#keys.get(signed.keyId);
    if (key === undefined) return err("key_unknown");
    if (!verify(null, signed.grant, key, signed.signature)) return err("signature");
    return ok({
      tenant: grant.session.tenantId,
      session: grant.session.sessionId,
      epoch: Number(grant.epoch),
      holder: grant.holderId,
      expiresWallMs: Number(grant.expiresWallMs),
      receivers: grant.receivers.map(({ receiverId }) => receiverId),
    });
  }

  #fetch(): Promise<void> {
    const now = this.#clock.nowNs();
    if (this.#fetching === null && now - this.#fetchedAtNs < msToNs(limits.GRANT_KEYS_REFRESH_MS)) {
      return Promise.resolve();
    }
    this.#fetchedAtNs = now;
    this.#fetching ??= this.#ask().finally(() => {
      this.#fetching = null;
    });
    return this.#fetching;
  }

  async #ask(): Promise<void> {
    try {
      const { keys } = await this.#lease.client(LeaseService).listSigningKeys({});
      this.#keys = new Map(keys.map(({ keyId, publicKey }) => [keyId, keyOf(publicKey)]));
    } catch {
      // The keys there are stay in force; the grant is refused as signed with an unknown one.
    }
  }
}

function keyOf(publicKey: Uint8Array): KeyObject {
  const x = Buffer.from(publicKey).toString("base64url");
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
}
