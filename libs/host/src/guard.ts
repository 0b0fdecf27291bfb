/** Who may call a service that the host runs, and what the audit log is told of it. */
import type { PlatformTokens } from "@rspp/rpc/access-tokens";
import { CallAudit } from "@rspp/rpc/call-audit";
import { CallGuard } from "@rspp/rpc/call-guard";
import type { Database } from "@rspp/store/database";
import { StoreError } from "@rspp/store/store-error";
import { AuditWriter, writeToRegistry, writeToStore } from "./audit-writer.ts";
import type { HostValues } from "./common-fields.ts";
import type { Identity } from "./peers.ts";
import { tokensOfRegistry, tokensOfStore } from "./platform-tokens.ts";
import type { ServiceContext, StartedService } from "./service.ts";

/** @throws StoreError `invalid`: what others can reach asks who they are (NF-015). */
export function checkExposure({ host, peer_names, tls_ca }: HostValues, { serviceTokens, server }: Identity): void {
  if (peer_names !== "" && tls_ca === "") {
    throw new StoreError("invalid", "peer_names names certificates that nobody asks for", "Set tls_ca too");
  }
  if (isLoopback(host) || serviceTokens !== undefined || server?.ca !== undefined) return;
  const what = `It would listen on ${host} for anybody`;
  const remedy = "Set service_token, or tls_cert, tls_key and tls_ca, or leave host at 127.0.0.1";
  throw new StoreError("invalid", what, remedy);
}

function isLoopback(host: string): boolean {
  return /^127\.\d+\.\d+\.\d+$/.test(host) || host === "::1" || host === "localhost";
}

export interface GuardParts {
  readonly started: StartedService;
  readonly context: ServiceContext;
  readonly identity: Identity;
  /** Of the service; null where it has none. Shared with the registry unless `registryUrl` says where that is. */
  readonly db: Database | null;
  /** Where the registry is; empty: not known. */
  readonly registryUrl: string;
}

export interface OpenGuard {
  readonly guard: CallGuard;
  /** Brings what was recorded into the log, within a moment. */
  close(): Promise<void>;
}

/**
 * A service that is told of the registry asks that for keys and revocations, and brings it what is to be audited, whatever
 * database it has itself. One with the platform's database reads and writes there. One with neither knows service tokens alone.
 */
export async function openGuard({ started, context, identity, db, registryUrl }: GuardParts): Promise<OpenGuard> {
  const { service: domain, log } = context;
  const { server, serviceTokens, peerNames } = identity;
  const registry = registryUrl !== "" ? context.connect("registry", registryUrl) : null;
  let tokens: PlatformTokens | undefined;
  let audit: AuditWriter | undefined;
  if (registry !== null) {
    tokens = tokensOfRegistry(registry);
    // Nobody who steers a session waits for a registry that is away.
    audit = new AuditWriter({ write: writeToRegistry(registry), log, waitMs: 0 });
  } else if (db !== null) {
    const { pgTokenStore } = await import("@rspp/store/pg-token-store");
    const { pgAuditStore } = await import("@rspp/store/pg-audit-store");
    tokens = tokensOfStore(pgTokenStore(db));
    audit = new AuditWriter({ write: writeToStore(pgAuditStore(db)), log });
  }
  tokens = started.tokens ?? tokens;
  const guard = new CallGuard({
    domain,
    peerNames,
    mutualTls: server?.ca !== undefined,
    ...(serviceTokens === undefined ? {} : { serviceTokens }),
    ...(tokens === undefined ? {} : { tokens }),
    ...(audit === undefined ? {} : { audit: new CallAudit(audit) }),
  });
  return { guard, close: async () => audit?.close() };
}
