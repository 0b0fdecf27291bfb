/** Session tokens on the Connect stack: read at servers, attached at clients. */
import type { DescMessage, Message } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { type ContextValues, createContextKey, type Interceptor } from "@connectrpc/connect";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { SessionTokenClaims } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { type RpcError, rpcError } from "./errors.ts";
import { type TokenBinding, type TokenKeys, verifySessionToken } from "./tokens.ts";

const claimsKey = createContextKey<SessionTokenClaims | null>(null, { description: "claims of the session token" });

/** What the caller's token said; null where none was asked for. */
export function claimsOfCall(values: ContextValues): SessionTokenClaims | null {
  return values.get(claimsKey);
}

export interface TokenInterceptorOptions {
  readonly domain: string;
  readonly keys: TokenKeys;
  /** Services that answer without a token, by full name, e.g. health and reflection. */
  readonly open: ReadonlySet<string>;
  wallMs(): number;
}

/** Refuses calls without a good token, and requests for another tenant or session than the token's. */
export function tokenInterceptor(options: TokenInterceptorOptions): Interceptor {
  const { domain, keys, open, wallMs } = options;
  return (next) => async (request) => {
    if (open.has(request.service.typeName)) return next(request);
    const token = bearerOf(request.header.get("authorization"));
    if (token === null) throw rpcError(ErrorReason.UNAUTHENTICATED, { domain });
    return admitSession(request, next, { domain, keys, token, nowMs: wallMs() });
  };
}

export interface SessionAdmission {
  readonly domain: string;
  readonly keys: TokenKeys;
  readonly token: string;
  readonly nowMs: number;
  /** It lists, and shows the token's own session alone. Default false. */
  readonly list?: boolean;
}

/** Lets a call in for what its session token names, every message of it. */
export async function admitSession(
  request: Parameters<ReturnType<Interceptor>>[0],
  next: ReturnType<Interceptor>,
  { domain, keys, token, nowMs, list = false }: SessionAdmission,
): Promise<Awaited<ReturnType<ReturnType<Interceptor>>>> {
  const verified = await verifySessionToken(token, keys, {}, nowMs, domain);
  if (!verified.ok) throw verified.error;
  const claims = verified.value;
  request.contextValues.set(claimsKey, claims);
  if (!request.stream) {
    checkBound(claims, request.method.input, request.message, domain, list);
    return next(request);
  }
  return next({ ...request, message: bound(claims, request.method.input, request.message, domain) });
}

/** The token of an `authorization` header; null when there is none. */
export function bearerOf(authorization: string | null | undefined): string | null {
  return /^Bearer +([^ ]+)$/i.exec(authorization ?? "")?.[1] ?? null;
}

async function* bound<T extends Message>(
  claims: SessionTokenClaims,
  schema: DescMessage,
  messages: AsyncIterable<T>,
  domain: string,
): AsyncIterable<T> {
  for await (const message of messages) {
    checkBound(claims, schema, message, domain);
    yield message;
  }
}

function checkBound(
  claims: SessionTokenClaims,
  schema: DescMessage,
  message: Message,
  domain: string,
  list = false,
): void {
  const wanted = sessionOf(schema, message);
  // A list of a tenant's sessions is not one session's business, unless it is cut to it.
  const cut = list && wanted.tenantId !== undefined;
  if (wanted.sessionId === undefined && !cut) throw foreign("no_session", domain);
  if (wanted.tenantId !== undefined && wanted.tenantId !== claims.tenantId) throw foreign("other_tenant", domain);
  if (wanted.sessionId !== undefined && wanted.sessionId !== claims.sessionId) throw foreign("other_session", domain);
}

function foreign(problem: string, domain: string): RpcError {
  return rpcError(ErrorReason.TOKEN_INVALID, { domain, metadata: { problem } });
}

/** What a request names: its own `tenant_id`, or a `session` with both ids. */
function sessionOf(schema: DescMessage, message: Message): TokenBinding {
  const view = reflect(schema, message);
  const text = (from: typeof view, name: string): string | undefined => {
    const field = from.findNumber(from.desc.fields.find((f) => f.name === name)?.number ?? 0);
    if (field === undefined || field.fieldKind !== "scalar") return undefined;
    const value = from.get(field);
    return typeof value === "string" ? value : undefined;
  };
  const key = view.desc.fields.find((f) => f.name === "session" && f.message?.typeName === "rspp.common.v1.SessionKey");
  const nested = key !== undefined && key.fieldKind === "message" ? view.get(key) : undefined;
  const from = nested ?? view;
  const tenantId = text(from, "tenant_id");
  const sessionId = nested === undefined ? undefined : text(nested, "session_id");
  return { ...(tenantId === undefined ? {} : { tenantId }), ...(sessionId === undefined ? {} : { sessionId }) };
}

/** Sends a token with every call; asked for each time, so that a refreshed one is used. */
export function attachToken(tokenOf: () => string | null | Promise<string | null>): Interceptor {
  return (next) => async (request) => {
    const token = await tokenOf();
    if (token !== null) request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
}
