/** Who may call a service, on both stacks; see README.md, "Who may call". */
import { type ContextValues, createContextKey, createContextValues, type Interceptor } from "@connectrpc/connect";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { type RpcError, rpcError } from "./errors.ts";
import { isServiceToken } from "./service-token.ts";
import { admitSession, bearerOf } from "./token-interceptor.ts";
import type { TokenKeys } from "./tokens.ts";
import { HealthService, reflectionContracts } from "./well-known.ts";

/** Where a call comes from. */
export interface Peer {
  /** In the certificate it showed, which the CA of the server has signed; none without mutual TLS. */
  readonly names: readonly string[];
  /** Of this process, without a socket. */
  readonly inProcess: boolean;
}

const inProcess: Peer = { names: [], inProcess: true };
// What a server sets for what came by a socket; without it a call came from within.
const peerKey = createContextKey<Peer>(inProcess, { description: "where a call comes from" });

/** The context of a call that came by a socket. */
export function peerContext(names: readonly string[]): ContextValues {
  return createContextValues().set(peerKey, { names, inProcess: false });
}

export interface GuardOptions {
  readonly domain: string;
  /** Present ones; asked for each call, so that a rotated one is met. */
  readonly serviceTokens?: () => readonly string[];
  /** The server asks for certificates: one that its CA signed is as good as a token. */
  readonly mutualTls?: boolean;
  /** With mutual TLS: only these names may call. */
  readonly peerNames?: readonly string[];
  /** Services that callers may reach with the token of their session too, bound to what it names. */
  readonly sessions?: SessionAccess;
}

export interface SessionAccess {
  readonly keys: TokenKeys;
  /** Full names. */
  readonly services: readonly string[];
  /** Methods of them, by name, that name a tenant alone and show the token's session of it ({@link claimsOfCall}). */
  readonly lists?: readonly string[];
  wallMs(): number;
}

export interface GuardedCall {
  /** Full name. */
  readonly service: string;
  readonly authorization: string | null | undefined;
  readonly peer: Peer;
}

/** Health and reflection tell nothing of anybody, and are asked by those who hold no secret. */
const open = new Set([HealthService, ...reflectionContracts.map(({ service }) => service)].map((s) => s.typeName));

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

  /** Why a service may not call; null when it may. */
  refusal({ service, authorization, peer }: GuardedCall): RpcError | null {
    const { domain, serviceTokens, peerNames = [] } = this.#options;
    if (!this.guards || peer.inProcess || open.has(service)) return null;
    if (peer.names.length > 0) {
      if (peerNames.length === 0 || peer.names.some((name) => peerNames.includes(name))) return null;
      const remedy = "Add one of its certificate's names to peer_names, or show another certificate.";
      return rpcError(ErrorReason.PERMISSION_DENIED, { domain, metadata: { problem: "peer_name" }, remedy });
    }
    if (serviceTokens === undefined) {
      const remedy = "Show a client certificate that the service's tls_ca has signed.";
      return rpcError(ErrorReason.UNAUTHENTICATED, { domain, metadata: { wants: "certificate" }, remedy });
    }
    const token = bearerOf(authorization);
    if (token === null) {
      const remedy = "Send the platform's service_token as `authorization: Bearer …`.";
      return rpcError(ErrorReason.UNAUTHENTICATED, { domain, metadata: { wants: "service_token" }, remedy });
    }
    if (isServiceToken(token, serviceTokens())) return null;
    const remedy = "Give both services the same service_token.";
    return rpcError(ErrorReason.TOKEN_INVALID, { domain, metadata: { problem: "service_token" }, remedy });
  }

  interceptor(): Interceptor {
    const { domain, sessions } = this.#options;
    return (next) => (request) => {
      const service = request.service.typeName;
      const authorization = request.header.get("authorization");
      const token = bearerOf(authorization);
      // A service that holds no session's token uses its own here too.
      if (sessions?.services.includes(service) === true && token !== null && isSessionToken(token)) {
        const list = sessions.lists?.includes(request.method.name) === true;
        return admitSession(request, next, { domain, keys: sessions.keys, token, nowMs: sessions.wallMs(), list });
      }
      const refused = this.refusal({ service, authorization, peer: request.contextValues.get(peerKey) });
      if (refused !== null) return Promise.reject(refused);
      return next(request);
    };
  }
}

/** The three parts of a signed token, of which the first is JSON. */
function isSessionToken(token: string): boolean {
  return /^eyJ[\w-]*\.[\w-]*\.[\w-]*$/.test(token);
}
