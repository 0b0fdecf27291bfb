/** Access tokens of people and tools (F-115): EdDSA like session tokens, with a role within a tenant, or within all (`*`). */
import { create } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@rspp/base/result";
import { Role } from "@rspp/gen/rspp/common/v1/access_pb";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { type AccessTokenClaims, AccessTokenClaimsSchema } from "@rspp/gen/rspp/registry/v1/access_pb";
import { validate } from "@rspp/wire/validate";
import type { JWTPayload } from "jose";
import { roleName } from "./access.ts";
import { type RpcError, rpcError } from "./errors.ts";
import { limits } from "./limits.ts";
import { algorithm, headerOf, jose, keyIdOf, type SigningKey, type TokenKeys } from "./tokens.ts";

const tokenType = "rspp-access";

/** Signs the claims; their own instants decide how long the token lives. */
export async function signAccessToken(claims: AccessTokenClaims, key: SigningKey): Promise<string> {
  const { SignJWT } = await jose();
  return new SignJWT({ role: roleName(claims.role), tnt: claims.tenantId })
    .setProtectedHeader({ alg: algorithm, typ: tokenType, kid: key.keyId })
    .setSubject(claims.subject)
    .setJti(claims.tokenId)
    .setIssuedAt(Number(claims.issuedWallMs) / 1000)
    .setExpirationTime(Number(claims.expiresWallMs) / 1000)
    .sign(key.privateKey);
}

/** Whether it says of itself, unverified, that it is one. */
export function isAccessToken(token: string): boolean {
  return headerOf(token)?.typ === tokenType;
}

/** Ids of access tokens that were taken back, fetched when they are old. */
export class RevokedTokens {
  readonly #fetch: () => Promise<readonly string[]>;
  #ids: ReadonlySet<string> = new Set();
  #fetchedAtMs = Number.NEGATIVE_INFINITY;
  #triedAtMs = Number.NEGATIVE_INFINITY;
  #fetching: Promise<void> | null = null;

  constructor(fetch: () => Promise<readonly string[]>) {
    this.#fetch = fetch;
  }

  /** Null when it cannot be known: there is no list, or it is too old (limits.TOKEN_REVOKED_AGE_MAX_MS). */
  async has(tokenId: string, nowMs: number): Promise<boolean | null> {
    if (nowMs - this.#fetchedAtMs > limits.TOKEN_REVOKED_REFRESH_MS) await this.#refresh(nowMs);
    if (this.#ids.has(tokenId)) return true;
    return nowMs - this.#fetchedAtMs > limits.TOKEN_REVOKED_AGE_MAX_MS ? null : false;
  }

  /** One fetch at a time; after one that failed no other for a second. */
  async #refresh(nowMs: number): Promise<void> {
    if (this.#fetching === null && nowMs - this.#triedAtMs >= 1_000) {
      this.#triedAtMs = nowMs;
      this.#fetching = this.#fetch()
        .then(
          (ids) => {
            this.#ids = new Set(ids);
            this.#fetchedAtMs = nowMs;
          },
          // The last list stays in force for a while.
          () => undefined,
        )
        .finally(() => {
          this.#fetching = null;
        });
    }
    await this.#fetching;
  }
}

/** What a service needs to know the tokens of the platform. */
export interface PlatformTokens {
  readonly keys: TokenKeys;
  readonly revoked: RevokedTokens;
  wallMs(): number;
}

/**
 * Reads an access token. `token_expired` past its time; `dependency_unavailable` when it cannot be known whether it was taken
 * back; else `token_invalid` with the problem: form, key_unknown, signature, claims, not_yet_valid, revoked.
 */
export async function verifyAccessToken(
  token: string,
  { keys, revoked, wallMs }: PlatformTokens,
  domain: string,
): Promise<Result<AccessTokenClaims, RpcError>> {
  const nowMs = wallMs();
  const remedy = "Ask an administrator for a token: `rspp token create`.";
  const invalid = (problem: string): { readonly ok: false; readonly error: RpcError } =>
    err(rpcError(ErrorReason.TOKEN_INVALID, { domain, metadata: { problem }, remedy }));
  const keyId = keyIdOf(token);
  if (keyId === null || !isAccessToken(token)) return invalid("form");
  if (!(await keys.learn(keyId, nowMs))) return invalid("key_unknown");
  const { errors, jwtVerify } = await jose();
  try {
    const { payload } = await jwtVerify(token, await keys.resolver(), {
      algorithms: [algorithm],
      typ: tokenType,
      currentDate: new Date(nowMs),
      clockTolerance: limits.TOKEN_CLOCK_SKEW_MS / 1000,
      requiredClaims: ["role", "tnt", "sub", "exp", "iat", "jti"],
    });
    const claims = claimsOf(payload);
    if (!validate(AccessTokenClaimsSchema, claims).ok) return invalid("claims");
    if (Number(claims.issuedWallMs) > nowMs + limits.TOKEN_CLOCK_SKEW_MS) return invalid("not_yet_valid");
    const gone = await revoked.has(claims.tokenId, nowMs);
    if (gone === true) return invalid("revoked");
    if (gone === null) {
      const metadata = { dependency: "registry", wants: "revoked tokens" };
      return err(rpcError(ErrorReason.DEPENDENCY_UNAVAILABLE, { domain, metadata, retryAfterMs: 1_000 }));
    }
    return ok(claims);
  } catch (failure) {
    if (failure instanceof errors.JWTExpired) return err(rpcError(ErrorReason.TOKEN_EXPIRED, { domain, remedy }));
    if (failure instanceof errors.JWSSignatureVerificationFailed) return invalid("signature");
    return invalid(failure instanceof errors.JWTClaimValidationFailed ? "claims" : "form");
  }
}

const roles: Readonly<Record<string, Role>> = Object.fromEntries(
  [Role.VIEWER, Role.OPERATOR, Role.ADMIN].map((role) => [roleName(role), role]),
);

function claimsOf(payload: JWTPayload): AccessTokenClaims {
  const text = (value: unknown): string => (typeof value === "string" ? value : "");
  const ms = (seconds: number | undefined): bigint => BigInt(Math.max(0, Math.round((seconds ?? 0) * 1000)));
  return create(AccessTokenClaimsSchema, {
    tokenId: text(payload.jti),
    subject: text(payload.sub),
    role: Object.hasOwn(roles, text(payload.role)) ? (roles[text(payload.role)] ?? Role.UNSPECIFIED) : Role.UNSPECIFIED,
    tenantId: text(payload.tnt),
    issuedWallMs: ms(payload.iat),
    expiresWallMs: ms(payload.exp),
  });
}
