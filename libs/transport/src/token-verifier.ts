/** Who may come in: tokens of the registry, checked with the keys it publishes (F-088, F-119). */
import { err, ok, type Result } from "@rspp/base/result";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { SessionTokenClaims } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { TokenClaims } from "@rspp/ports/session-opener";
import type { RpcConnection } from "@rspp/rpc/clients";
import { TokenKeys, tokenKeyToJwk, verifySessionToken } from "@rspp/rpc/tokens";

export type TokenRefusal =
  /** Signed by the control plane, past its time. `claims` allow a session that is open to be resumed. */
  | { kind: "expired"; claims: TokenClaims | null }
  /** Altered, foreign, or no token at all. */
  | { kind: "invalid" };

export interface TokenVerifier {
  /** Never throws, never logs the token. */
  verify(token: string): Promise<Result<TokenClaims, TokenRefusal>>;
}

export interface RegistryVerifierOptions {
  readonly registry: RpcConnection;
  /** As routes name it, e.g. `websocket`: a token of another transport is none. */
  readonly transport: string;
  wallMs(): number;
}

/** After a fetch that failed, the next unknown key asks again no sooner. */
const retryMs = 500;
/** A token that ran out longer ago than any session lasts opens nothing and resumes nothing. */
const expiredMsMax = 86_400_000;

/**
 * Keys are fetched when a token names one that is not known. A registry that is away refuses no one whose key is known
 * (kernel.md §7); before the keys were ever read nobody can be told from a stranger, and `verify` rejects.
 */
export function createRegistryVerifier({ registry, transport, wallMs }: RegistryVerifierOptions): TokenVerifier {
  let away = true;
  let triedMs = Number.NEGATIVE_INFINITY;
  const fetch = async () => {
    triedMs = wallMs();
    try {
      const { keys } = await registry.client(RegistryService).listTokenKeys({});
      away = false;
      return keys.map(tokenKeyToJwk);
    } catch (failure) {
      away = true;
      throw failure;
    }
  };
  const keys = new TokenKeys([], fetch);
  const check = (token: string, atMs: number) =>
    verifySessionToken(token, keys, { transport }, atMs, `transport-${transport}`);
  return {
    verify: async (token): Promise<Result<TokenClaims, TokenRefusal>> => {
      const now = wallMs();
      let verified = await check(token, now);
      if (isUnknownKey(verified) && away) {
        // The key set itself asks again much more seldom, for the sake of foreign tokens.
        if (now - triedMs >= retryMs) keys.set(await fetch());
        verified = await check(token, now);
        if (isUnknownKey(verified) && away) throw new Error("the registry's token keys cannot be read");
      }
      if (verified.ok) return ok(claimsOf(verified.value));
      if (verified.error.reason !== ErrorReason.TOKEN_EXPIRED) return err({ kind: "invalid" });
      return err({ kind: "expired", claims: await lapsed(token, now, check) });
    },
  };
}

type Verified = Awaited<ReturnType<typeof verifySessionToken>>;

function isUnknownKey(verified: Verified): boolean {
  return !verified.ok && verified.error.detail.metadata.problem === "key_unknown";
}

/** What a token said while it held; its signature is checked as of then. Null when it was never good. */
async function lapsed(
  token: string,
  nowMs: number,
  check: (token: string, atMs: number) => Promise<Verified>,
): Promise<TokenClaims | null> {
  const endMs = endOf(token);
  if (endMs === null || nowMs - endMs > expiredMsMax) return null;
  const then = await check(token, endMs - 1);
  return then.ok ? claimsOf(then.value) : null;
}

/** Unverified: it only says as of when to look. */
function endOf(token: string): number | null {
  try {
    const body: unknown = JSON.parse(Buffer.from(token.split(".", 2)[1] ?? "", "base64url").toString("utf8"));
    if (typeof body !== "object" || body === null || !("exp" in body)) return null;
    return typeof body.exp === "number" && Number.isFinite(body.exp) ? body.exp * 1000 : null;
  } catch {
    return null;
  }
}

function claimsOf(claims: SessionTokenClaims): TokenClaims {
  const { tenantId, sessionId, pipelineVersion, instanceId, expiresWallMs, variables } = claims;
  return {
    tenant: tenantId,
    session: sessionId,
    pipelineVersion,
    instance: instanceId,
    expiresWallMs: Number(expiresWallMs),
    variables,
  };
}
