/** Session tokens (F-088, F-119): EdDSA, minutes long, bound to tenant, session and pipeline version. */
import { create } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@rspp/base/result";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { type SessionTokenClaims, SessionTokenClaimsSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import type { TokenKey } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { validate } from "@rspp/wire/validate";
import type { createLocalJWKSet, JWK, JWTPayload, SignJWT } from "jose";
import { type RpcError, rpcError } from "./errors.ts";
import { limits } from "./limits.ts";

/** Of every token of the registry. */
export const algorithm = "EdDSA";
/** Loaded with the first token: most of a process's start needs none. */
export const jose = (): Promise<typeof import("jose")> => import("jose");
const tokenType = "rspp-session+jwt";

/** The private key of a signer, as `node:crypto` or WebCrypto hold it, and the id its public half is published under. */
export interface SigningKey {
  readonly keyId: string;
  readonly privateKey: Parameters<SignJWT["sign"]>[0];
}

/** Signs the claims; their own instants decide how long the token lives. */
export async function signSessionToken(claims: SessionTokenClaims, key: SigningKey): Promise<string> {
  const { tenantId, sessionId, pipelineVersion, instanceId, transport, tokenId, variables, degraded } = claims;
  const { SignJWT } = await jose();
  return new SignJWT({
    tnt: tenantId,
    sid: sessionId,
    ver: pipelineVersion,
    ins: instanceId,
    trn: transport,
    vars: variables,
    ...(degraded ? { dgr: true } : {}),
  })
    .setProtectedHeader({ alg: algorithm, typ: tokenType, kid: key.keyId })
    .setJti(tokenId)
    .setIssuedAt(Number(claims.issuedWallMs) / 1000)
    .setExpirationTime(Number(claims.expiresWallMs) / 1000)
    .sign(key.privateKey);
}

/** A JWK with its end, in seconds. */
export type PublishedKey = JWK & { readonly exp?: number };

/** The published form of an Ed25519 key, 32 bytes, as a JWK; `exp`, in seconds, of one that is on its way out (F-169). */
export function tokenKeyToJwk(
  key: Pick<TokenKey, "keyId" | "publicKey"> & Partial<Pick<TokenKey, "notAfterWallMs">>,
): PublishedKey {
  const x = Buffer.from(key.publicKey).toString("base64url");
  const { notAfterWallMs = 0n } = key;
  const end = notAfterWallMs === 0n ? {} : { exp: Number(notAfterWallMs) / 1000 };
  return { kty: "OKP", crv: "Ed25519", alg: algorithm, use: "sig", kid: key.keyId, x, ...end };
}

/**
 * The keys a verifier trusts. Fetched again when a token names one it does not know, at most every so often, and in the
 * background once they are old, so that a key that was given up is not trusted for ever.
 */
export class TokenKeys {
  readonly #fetch: (() => Promise<readonly PublishedKey[]>) | undefined;
  readonly #refreshMs: number;
  #keys: readonly PublishedKey[];
  #set: ReturnType<typeof createLocalJWKSet> | null = null;
  /** Until when each key is good, milliseconds since the Unix epoch. */
  #ids: ReadonlyMap<string, number>;
  #fetchedAtMs = Number.NEGATIVE_INFINITY;
  #fetching: Promise<void> | null = null;

  /** `refreshMs`: how often an unknown key may make them be fetched; default {@link limits.TOKEN_KEYS_REFRESH_MS}. */
  constructor(
    keys: readonly PublishedKey[],
    fetch?: () => Promise<readonly PublishedKey[]>,
    refreshMs: number = limits.TOKEN_KEYS_REFRESH_MS,
  ) {
    this.#fetch = fetch;
    this.#refreshMs = refreshMs;
    this.#keys = keys;
    this.#ids = idsOf(keys);
  }

  set(keys: readonly PublishedKey[]): void {
    this.#keys = keys;
    this.#set = null;
    this.#ids = idsOf(keys);
  }

  async resolver(): Promise<ReturnType<typeof createLocalJWKSet>> {
    const { createLocalJWKSet } = await jose();
    this.#set ??= createLocalJWKSet({ keys: [...this.#keys] });
    return this.#set;
  }

  has(keyId: string, nowMs: number): boolean {
    return nowMs <= (this.#ids.get(keyId) ?? Number.NEGATIVE_INFINITY);
  }

  /** Whether any were ever there. */
  get some(): boolean {
    return this.#ids.size > 0;
  }

  /** Knows `keyId` afterwards, where the registry does. */
  async learn(keyId: string, nowMs: number): Promise<boolean> {
    if (!this.has(keyId, nowMs)) await this.refresh(nowMs);
    else if (nowMs - this.#fetchedAtMs > limits.TOKEN_KEYS_AGE_MS) void this.refresh(nowMs);
    return this.has(keyId, nowMs);
  }

  /** A failed fetch keeps the keys there are: a registry that is away refuses no one (kernel.md §7). */
  async refresh(nowMs: number): Promise<void> {
    if (this.#fetch === undefined || nowMs - this.#fetchedAtMs < this.#refreshMs) return this.#fetching ?? undefined;
    this.#fetchedAtMs = nowMs;
    this.#fetching = this.#fetch()
      .then((keys) => this.set(keys))
      .catch(() => undefined)
      .finally(() => {
        this.#fetching = null;
      });
    await this.#fetching;
  }
}

function idsOf(keys: readonly PublishedKey[]): ReadonlyMap<string, number> {
  const end = (exp: unknown): number => (typeof exp === "number" ? exp * 1000 : Number.POSITIVE_INFINITY);
  return new Map(keys.flatMap(({ kid, exp }) => (kid === undefined ? [] : [[kid, end(exp)] as const])));
}

/** What the bearer wants to do; what is not set is not compared. */
export interface TokenBinding {
  readonly tenantId?: string;
  readonly sessionId?: string;
  readonly pipelineVersion?: string;
  readonly instanceId?: string;
  readonly transport?: string;
}

/**
 * Reads a token. `token_expired` past its time; else `token_invalid` with the problem: form, key_unknown, signature, claims,
 * not_yet_valid, or the binding that is another. Nothing of the token is told.
 */
export async function verifySessionToken(
  token: string,
  keys: TokenKeys,
  binding: TokenBinding,
  nowMs: number,
  domain: string,
  expiredToo = false,
): Promise<Result<SessionTokenClaims, RpcError>> {
  const invalid = (problem: string): { readonly ok: false; readonly error: RpcError } =>
    err(rpcError(ErrorReason.TOKEN_INVALID, { domain, metadata: { problem } }));
  if (token.length > limits.TOKEN_CHARS_MAX) return invalid("form");
  const keyId = keyIdOf(token);
  if (keyId === null) return invalid("form");
  if (!(await keys.learn(keyId, nowMs))) return invalid("key_unknown");
  const { errors, jwtVerify } = await jose();
  try {
    const { payload } = await jwtVerify(token, await keys.resolver(), {
      algorithms: [algorithm],
      typ: tokenType,
      currentDate: new Date(expiredToo ? 0 : nowMs),
      clockTolerance: limits.TOKEN_CLOCK_SKEW_MS / 1000,
      requiredClaims: ["tnt", "sid", "ver", "exp", "iat", "jti"],
    });
    const claims = claimsOf(payload);
    if (!validate(SessionTokenClaimsSchema, claims).ok) return invalid("claims");
    if (Number(claims.issuedWallMs) > nowMs + limits.TOKEN_CLOCK_SKEW_MS) return invalid("not_yet_valid");
    const other = otherBinding(claims, binding);
    return other === null ? ok(claims) : invalid(`other_${other}`);
  } catch (failure) {
    if (failure instanceof errors.JWTExpired) return err(rpcError(ErrorReason.TOKEN_EXPIRED, { domain }));
    if (failure instanceof errors.JWSSignatureVerificationFailed) return invalid("signature");
    return invalid(failure instanceof errors.JWTClaimValidationFailed ? "claims" : "form");
  }
}

/** The id in the protected header, unverified: it only chooses the key. */
export function keyIdOf(token: string): string | null {
  const keyId = headerOf(token)?.kid;
  return typeof keyId === "string" && keyId !== "" ? keyId : null;
}

/** The protected header, unverified; null for what is no signed token. */
export function headerOf(token: string): { readonly kid?: unknown; readonly typ?: unknown } | null {
  if (token.length > limits.TOKEN_CHARS_MAX || !/^[\w-]+\.[\w-]*\.[\w-]*$/.test(token)) return null;
  try {
    const header: unknown = JSON.parse(Buffer.from(token.split(".", 1)[0] ?? "", "base64url").toString("utf8"));
    return typeof header === "object" && header !== null && !Array.isArray(header) ? header : null;
  } catch {
    return null;
  }
}

function claimsOf(payload: JWTPayload): SessionTokenClaims {
  const text = (value: unknown): string => (typeof value === "string" ? value : "");
  const ms = (seconds: number | undefined): bigint => BigInt(Math.max(0, Math.round((seconds ?? 0) * 1000)));
  const variables = typeof payload.vars === "object" && payload.vars !== null ? Object.entries(payload.vars) : [];
  return create(SessionTokenClaimsSchema, {
    tenantId: text(payload.tnt),
    sessionId: text(payload.sid),
    pipelineVersion: text(payload.ver),
    instanceId: text(payload.ins),
    transport: text(payload.trn),
    tokenId: text(payload.jti),
    issuedWallMs: ms(payload.iat),
    expiresWallMs: ms(payload.exp),
    variables: Object.fromEntries(variables.map(([name, value]) => [name, text(value)])),
    degraded: payload.dgr === true,
  });
}

/** The first binding that differs, by name. A token for any instance or transport fits all. */
function otherBinding(claims: SessionTokenClaims, wanted: TokenBinding): string | null {
  const { tenantId, sessionId, pipelineVersion, instanceId, transport } = wanted;
  if (tenantId !== undefined && tenantId !== claims.tenantId) return "tenant";
  if (sessionId !== undefined && sessionId !== claims.sessionId) return "session";
  if (pipelineVersion !== undefined && pipelineVersion !== claims.pipelineVersion) return "pipeline_version";
  if (instanceId !== undefined && claims.instanceId !== "" && instanceId !== claims.instanceId) return "instance";
  if (transport !== undefined && claims.transport !== "" && transport !== claims.transport) return "transport";
  return null;
}
