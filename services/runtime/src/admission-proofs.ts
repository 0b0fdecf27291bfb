/** Signatures of what a session is opened with: the registry's token and the lease service's grant (kernel.md §7, F-088). */
import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import { msToNs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { type Grant, GrantSchema, type SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import type { SessionTokenClaims } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { Clock } from "@rspp/ports/clock";
import type { OpenRefusal } from "@rspp/ports/session-opener";
import type { RpcConnection } from "@rspp/rpc/clients";
import { TokenKeys, tokenKeyToJwk, verifySessionToken } from "@rspp/rpc/tokens";
import { validate } from "@rspp/wire/validate";
import type { AdmissionProofs, ProofVerifier, VerifiedProofs } from "./admission.ts";
import { limits } from "./limits.ts";

export interface ProofVerifierOptions {
  readonly registry: RpcConnection;
  readonly lease: RpcConnection;
  readonly clock: Clock;
}

/** Keys are fetched when first needed, and again for a key id that is not known, at most every KEYS_REFRESH_MS. */
export function createProofVerifier({ registry, lease, clock }: ProofVerifierOptions): ProofVerifier {
  const tokens = new TokenReader(registry, clock);
  const grants = new GrantReader(lease, clock);
  return {
    async verify({ token, grant, bound, takeover }: AdmissionProofs): Promise<Result<VerifiedProofs, OpenRefusal>> {
      const claims = await tokens.read(token, bound, takeover === true);
      if (!claims.ok) return claims;
      const held = await grants.read(grant);
      if (!held.ok) return held;
      if (Number(held.value.epoch) === bound.epoch) return ok({ claims: claims.value, grant: held.value });
      const remedy = `the grant is of epoch ${held.value.epoch}, not ${bound.epoch}: bind the epoch of the grant`;
      return refused("authority_epoch_mismatch", remedy);
    },
  };
}

/** Fetches keys one at a time, seldom; a failed fetch keeps the keys there are and soon may be tried again. */
class Refresh {
  /** The last fetch failed. */
  away = false;
  readonly #fetch: () => Promise<void>;
  readonly #clock: Clock;
  #nextNs = Number.NEGATIVE_INFINITY;
  #running: Promise<void> | null = null;

  constructor(fetch: () => Promise<void>, clock: Clock) {
    this.#fetch = fetch;
    this.#clock = clock;
  }

  async run(): Promise<void> {
    if (this.#running === null && this.#clock.nowNs() >= this.#nextNs) {
      this.#running = this.#fetch()
        .then(
          () => this.#done(false, limits.KEYS_REFRESH_MS),
          () => this.#done(true, limits.KEYS_RETRY_MS),
        )
        .finally(() => {
          this.#running = null;
        });
    }
    await this.#running;
  }

  #done(away: boolean, waitMs: number): void {
    this.away = away;
    this.#nextNs = this.#clock.nowNs() + msToNs(waitMs);
  }
}

class TokenReader {
  readonly #keys = new TokenKeys([]);
  readonly #refresh: Refresh;
  readonly #clock: Clock;

  constructor(registry: RpcConnection, clock: Clock) {
    this.#clock = clock;
    this.#refresh = new Refresh(async () => {
      const { keys } = await registry.client(RegistryService).listTokenKeys({});
      this.#keys.set(keys.map(tokenKeyToJwk));
    }, clock);
  }

  async read(
    token: string,
    { tenantId, sessionId, pipelineVersion }: AdmissionProofs["bound"],
    expiredToo: boolean,
  ): Promise<Result<SessionTokenClaims, OpenRefusal>> {
    const binding = { tenantId, sessionId, pipelineVersion };
    const check = () => verifySessionToken(token, this.#keys, binding, this.#clock.wallMs(), "runtime", expiredToo);
    let claims = await check();
    if (!claims.ok && claims.error.detail.metadata.problem === "key_unknown") {
      await this.#refresh.run();
      claims = await check();
    }
    if (claims.ok) return claims;
    const { reason, detail } = claims.error;
    const problem = detail.metadata.problem ?? "";
    if (problem === "key_unknown" && this.#refresh.away) {
      return refused("dependency_unavailable", "the registry's token keys cannot be read: try again soon");
    }
    return refused("permission_denied", tokenRemedy(reason, problem));
  }
}

function tokenRemedy(reason: ErrorReason, problem: string): string {
  if (reason === ErrorReason.TOKEN_EXPIRED) return "the session token ran out: ask the registry for a new route";
  const field = /^other_(\w+)$/.exec(problem)?.[1];
  if (field !== undefined) return `the session token binds another ${field}: open what its route says`;
  return `the session token is not believed (${problem}): ask the registry for a new route`;
}

class GrantReader {
  #keys = new Map<string, KeyObject>();
  readonly #refresh: Refresh;

  constructor(lease: RpcConnection, clock: Clock) {
    this.#refresh = new Refresh(async () => {
      const { keys } = await lease.client(LeaseService).listSigningKeys({});
      this.#keys = new Map(keys.map(({ keyId, publicKey }) => [keyId, publicKeyOf(publicKey)]));
    }, clock);
  }

  async read({ grant, keyId, signature }: SignedGrant): Promise<Result<Grant, OpenRefusal>> {
    if (!this.#keys.has(keyId)) await this.#refresh.run();
    const key = this.#keys.get(keyId);
    if (key === undefined) {
      if (this.#refresh.away) {
        return refused("dependency_unavailable", "the lease service's keys cannot be read: try again soon");
      }
      return refused("permission_denied", "the grant's key is not of the lease service: ask it for a grant");
    }
    if (!verify(null, grant, key, signature)) {
      return refused("permission_denied", "the grant's signature does not hold: ask the lease service for a grant");
    }
    try {
      const read = fromBinary(GrantSchema, grant);
      if (validate(GrantSchema, read).ok) return ok(read);
    } catch {
      // Told below.
    }
    return refused("permission_denied", "the grant cannot be read: ask the lease service for a grant");
  }
}

function publicKeyOf(publicKey: Uint8Array): KeyObject {
  const x = Buffer.from(publicKey).toString("base64url");
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
}

function refused(reason: OpenRefusal["reason"], remedy: string): Result<never, OpenRefusal> {
  return err({ reason, remedy });
}
