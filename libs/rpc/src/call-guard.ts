/** Who may call a service, on both stacks; see README.md, "Who may call". What each RPC wants stands in its descriptor. */
import type { DescMethod, Message } from "@bufbuild/protobuf";
import { Code, type Interceptor } from "@connectrpc/connect";
import { AccessScope, Role } from "@rspp/gen/rspp/common/v1/access_pb";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { accessOf, roleName, tenantsIn } from "./access.ts";
import { isAccessToken, type PlatformTokens, verifyAccessToken } from "./access-tokens.ts";
import type { CallAudit } from "./call-audit.ts";
import { type Caller, everyTenant, isAudited, type Peer, peerOfCall, setCaller } from "./caller.ts";
import { errorRule, RpcError, rpcError, toRpcError } from "./errors.ts";
import { isServiceToken } from "./service-token.ts";
import { bearerOf, checkSession, setClaims } from "./token-interceptor.ts";
import { headerOf, verifySessionToken } from "./tokens.ts";

export interface GuardOptions {
  readonly domain: string;
  /** Present ones; asked for each call, so that a rotated one is met. */
  readonly serviceTokens?: () => readonly string[];
  /** The server asks for certificates: one that its CA signed is as good as a token. */
  readonly mutualTls?: boolean;
  /** With mutual TLS: only these names may call. */
  readonly peerNames?: readonly string[];
  /** Tokens of the registry: of people and tools, and of sessions where an RPC is open to them. */
  readonly tokens?: PlatformTokens;
  readonly audit?: CallAudit;
}

export interface GuardedCall {
  readonly method: DescMethod;
  readonly authorization: string | null | undefined;
  readonly peer: Peer;
}

/** What was found out about a caller. */
export interface Admission {
  readonly caller: Caller;
  /** Of each request of the call, before its handler sees it. @throws RpcError for things of others. */
  check(message: Message): void;
  /** Told to handlers of calls that sessions' tokens open. */
  readonly claims: Parameters<typeof setClaims>[1] | null;
}

const ofServices = (name: string): Caller => ({ role: Role.SERVICE, tenantId: everyTenant, name });
const anybody: Caller = { role: Role.OPEN, tenantId: everyTenant, name: "anybody" };

export class CallGuard {
  readonly #options: GuardOptions;

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  /** False: every call is let in, which is for loopback alone. */
  get guards(): boolean {
    const { serviceTokens, mutualTls = false } = this.#options;
    return serviceTokens !== undefined || mutualTls;
  }

  /**
   * Who calls, when he may call this at all.
   * @throws RpcError `unauthenticated`, `token_invalid`, `token_expired`, `permission_denied`; the audit log is told.
   */
  async admit(call: GuardedCall): Promise<Admission> {
    const { method } = call;
    if (accessOf(method).role === Role.OPEN) return { caller: anybody, check: () => undefined, claims: null };
    let known: Caller | null = null;
    try {
      const found = await this.#identify(call);
      known = found.caller;
      this.#allow(method, found.caller);
      const check = (message: Message): void => {
        try {
          if (found.claims === null) this.#checkTenant(method, found.caller, message);
          else checkSession(found.claims, method, message, this.#options.domain);
        } catch (failure) {
          throw this.#deny(method, found.caller, failure, message);
        }
      };
      return { ...found, check };
    } catch (failure) {
      throw this.#deny(method, known, failure, null);
    }
  }

  /**
   * The same at once, for streams whose reader must not wait: those of services, where no token of people or sessions counts.
   * Null when the stream may be opened.
   */
  streamRefusal({ method, authorization, peer }: GuardedCall): RpcError | null {
    const { role } = accessOf(method);
    if (role === Role.OPEN || peer.inProcess) return null;
    const token = bearerOf(authorization);
    const refused =
      token !== null && headerOf(token) !== null && isAccessToken(token)
        ? this.#lacksRole(Role.SERVICE, null)
        : this.#serviceRefusal(token, peer);
    if (refused !== null) this.#options.audit?.denied(method, null, refused, null);
    return refused;
  }

  interceptor(): Interceptor {
    return (next) => async (request) => {
      const { method, contextValues } = request;
      const authorization = request.header.get("authorization");
      const { caller, check, claims } = await this.admit({ method, authorization, peer: peerOfCall(contextValues) });
      setCaller(contextValues, caller);
      if (claims !== null) setClaims(contextValues, claims);
      if (request.stream) return next({ ...request, message: checked(request.message, check) });
      const { message } = request;
      check(message);
      const { audit, domain } = this.#options;
      if (audit === undefined || !accessOf(method).mutates) return next(request);
      try {
        const answer = await next(request);
        if (!isAudited(contextValues)) await audit.changed(method, caller, message, "done");
        return answer;
      } catch (failure) {
        const error = toRpcError(failure, domain, "");
        if (unknownOutcome.has(error.code)) {
          await audit.changed(method, caller, message, errorRule(error.reason).name);
        }
        throw failure;
      }
    };
  }

  /** For a call of the other stack that changed something. */
  async changed(method: DescMethod, caller: Caller, message: Message): Promise<void> {
    if (accessOf(method).mutates) await this.#options.audit?.changed(method, caller, message, "done");
  }

  async #identify({ authorization, peer }: GuardedCall): Promise<Pick<Admission, "caller" | "claims">> {
    const { domain, tokens } = this.#options;
    const token = bearerOf(authorization);
    // Whoever shows a token of his own is no more than it says, whatever certificate he has.
    if (token !== null && headerOf(token) !== null && tokens !== undefined) {
      if (isAccessToken(token)) {
        const verified = await verifyAccessToken(token, tokens, domain);
        if (!verified.ok) throw verified.error;
        const { role, tenantId, subject, tokenId } = verified.value;
        return { caller: { role, tenantId, name: `${subject} (${tokenId})` }, claims: null };
      }
      const verified = await verifySessionToken(token, tokens.keys, {}, tokens.wallMs(), domain);
      if (!verified.ok) throw verified.error;
      const claims = verified.value;
      const name = `session ${claims.sessionId} (${claims.tokenId})`;
      return { caller: { role: Role.SESSION, tenantId: claims.tenantId, name }, claims };
    }
    if (peer.inProcess) return { caller: ofServices("in-process"), claims: null };
    if (!this.guards) return { caller: ofServices("local"), claims: null };
    const refused = this.#serviceRefusal(token, peer);
    if (refused !== null) throw refused;
    return { caller: ofServices(peer.names[0] === undefined ? "service" : `service ${peer.names[0]}`), claims: null };
  }

  /** Why it is no service of this platform; null when it is one. */
  #serviceRefusal(token: string | null, peer: Peer): RpcError | null {
    const { domain, serviceTokens, peerNames = [] } = this.#options;
    if (!this.guards) return null;
    if (peer.names.length > 0) {
      if (peerNames.length === 0 || peer.names.some((name) => peerNames.includes(name))) return null;
      const remedy = "Add one of its certificate's names to peer_names, or show another certificate.";
      return rpcError(ErrorReason.PERMISSION_DENIED, { domain, metadata: { problem: "peer_name" }, remedy });
    }
    if (serviceTokens === undefined) {
      const remedy = "Show a client certificate that the service's tls_ca has signed.";
      return rpcError(ErrorReason.UNAUTHENTICATED, { domain, metadata: { wants: "certificate" }, remedy });
    }
    if (token === null) {
      const remedy = "Send an access token, or the platform's service_token, as `authorization: Bearer …`.";
      return rpcError(ErrorReason.UNAUTHENTICATED, { domain, metadata: { wants: "service_token" }, remedy });
    }
    if (isServiceToken(token, serviceTokens())) return null;
    const remedy = "Give both services the same service_token.";
    return rpcError(ErrorReason.TOKEN_INVALID, { domain, metadata: { problem: "service_token" }, remedy });
  }

  /** @throws RpcError `permission_denied` */
  #allow(method: DescMethod, caller: Caller): void {
    const { role, session, scope } = accessOf(method);
    if (caller.role === Role.SERVICE) return;
    if (caller.role === Role.SESSION ? !session && role > Role.SESSION : caller.role < role) {
      throw this.#lacksRole(role, caller.role);
    }
    if (scope === AccessScope.PLATFORM && caller.tenantId !== everyTenant) {
      const remedy = "This is about the platform as a whole: use a token of the tenant `*`.";
      const metadata = { problem: "platform", tenant: caller.tenantId };
      throw rpcError(ErrorReason.PERMISSION_DENIED, { domain: this.#options.domain, metadata, remedy });
    }
  }

  #lacksRole(needs: Role, has: Role | null): RpcError {
    const word = roleName(needs);
    const metadata = { problem: "role", needs: word, ...(has === null ? {} : { has: roleName(has) }) };
    const remedy =
      needs === Role.SERVICE
        ? "Only services of the platform call this, with their service_token or certificate."
        : `Ask an administrator for a token of the role ${word}: \`rspp token create --role ${word}\`.`;
    return rpcError(ErrorReason.PERMISSION_DENIED, { domain: this.#options.domain, metadata, remedy });
  }

  /** F-114: a tenant's token opens what is the tenant's alone. @throws RpcError `permission_denied` */
  #checkTenant(method: DescMethod, caller: Caller, message: Message): void {
    if (caller.role === Role.SERVICE || caller.tenantId === everyTenant) return;
    if (accessOf(method).scope !== AccessScope.TENANT) return;
    const named = tenantsIn(method.input, message);
    const foreign = named.find((tenant) => tenant !== caller.tenantId && tenant !== "");
    if (foreign === undefined && named.includes(caller.tenantId) && !named.includes("")) return;
    const problem = foreign === undefined ? "no_tenant" : "other_tenant";
    const remedy = `Name the tenant of the token (${caller.tenantId}), or use a token of the other tenant.`;
    const metadata = { problem, tenant: caller.tenantId };
    throw rpcError(ErrorReason.PERMISSION_DENIED, { domain: this.#options.domain, metadata, remedy });
  }

  #deny(method: DescMethod, caller: Caller | null, failure: unknown, message: Message | null): unknown {
    if (failure instanceof RpcError) this.#options.audit?.denied(method, caller, failure, message);
    return failure;
  }
}

/** Codes after which it is not known whether something was changed. */
const unknownOutcome = new Set([Code.Internal, Code.Unknown, Code.DeadlineExceeded, Code.DataLoss, Code.Canceled]);

async function* checked<T extends Message>(messages: AsyncIterable<T>, check: (message: Message) => void) {
  for await (const message of messages) {
    check(message);
    yield message;
  }
}
