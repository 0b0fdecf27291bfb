/** Tokens in the header of a call: attached at clients, and what a session's token lets its bearer ask. */
import type { DescMessage, DescMethod, Message } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { type ContextValues, createContextKey, type Interceptor } from "@connectrpc/connect";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { SessionTokenClaims } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { type RpcError, rpcError } from "./errors.ts";
import type { TokenBinding } from "./tokens.ts";

const claimsKey = createContextKey<SessionTokenClaims | null>(null, { description: "claims of the session token" });

/** What the caller's session token said; null where he showed none. */
export function claimsOfCall(values: ContextValues): SessionTokenClaims | null {
  return values.get(claimsKey);
}

export function setClaims(values: ContextValues, claims: SessionTokenClaims): void {
  values.set(claimsKey, claims);
}

/** The token of an `authorization` header; null when there is none. */
export function bearerOf(authorization: string | null | undefined): string | null {
  return /^Bearer +([^ ]+)$/i.exec(authorization ?? "")?.[1] ?? null;
}

/** @throws RpcError `token_invalid` for a request about another tenant or session than the token's, or about none. */
export function checkSession(claims: SessionTokenClaims, method: DescMethod, message: Message, domain: string): void {
  const wanted = sessionOf(method.input, message);
  // A list of a tenant's sessions is not one session's business, unless its handler cuts it to that ({@link claimsOfCall}).
  const cut = namesTenantAlone(method.input) && wanted.tenantId !== undefined;
  if (wanted.sessionId === undefined && !cut) throw foreign("no_session", domain);
  if (wanted.tenantId !== undefined && wanted.tenantId !== claims.tenantId) throw foreign("other_tenant", domain);
  if (wanted.sessionId !== undefined && wanted.sessionId !== claims.sessionId) throw foreign("other_session", domain);
}

function foreign(problem: string, domain: string): RpcError {
  return rpcError(ErrorReason.TOKEN_INVALID, { domain, metadata: { problem } });
}

const sessionKey = "rspp.common.v1.SessionKey";

function namesTenantAlone({ fields }: DescMessage): boolean {
  return (
    fields.some(({ name }) => name === "tenant_id") && !fields.some(({ message }) => message?.typeName === sessionKey)
  );
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
  const key = view.desc.fields.find((f) => f.name === "session" && f.message?.typeName === sessionKey);
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
