/** TLS of a process and its calls to other services. */
import { readFileSync } from "node:fs";
import { connectRpc, type RpcClientOptions, type RpcConnection } from "@rspp/rpc/clients";
import { serviceTokensOf } from "@rspp/rpc/service-token";
import type { ClientTls, ServerTls } from "@rspp/rpc/tls";
import { secretSource } from "@rspp/store/secret";
import { osCode, StoreError } from "@rspp/store/store-error";
import type { HostValues } from "./common-fields.ts";
import type { Environment, PeerService, StreamAccess } from "./service.ts";

export interface Identity {
  readonly server: ServerTls | undefined;
  readonly client: ClientTls | undefined;
  readonly token: RpcClientOptions["token"] | undefined;
  /** The tokens that are accepted now, the one that is shown first; undefined without one. */
  readonly serviceTokens: (() => readonly string[]) | undefined;
  readonly peerNames: readonly string[];
  close(): void;
}

/** How often a token that was changed is looked for. */
const tokenEveryMs = 5_000;

/**
 * @throws StoreError `invalid` or `secret_missing`, RpcError `config_invalid`, by the key that is wrong.
 */
export async function openIdentity(values: HostValues, env: Environment): Promise<Identity> {
  const server = await serverTls(values, env);
  const { peer_ca, tls_ca, service_token } = values;
  const caFile = peer_ca || tls_ca;
  const ca = caFile === "" ? {} : { ca: textOf(peer_ca === "" ? "tls_ca" : "peer_ca", caFile) };
  const pair = server === undefined ? {} : { cert: server.cert, key: server.key };
  const client = { ...ca, ...pair };
  const names = values.peer_names.split(",").map((name) => name.trim());
  const peerNames = names.filter((name) => name !== "");
  const without = { server, client: none(client), token: undefined, serviceTokens: undefined, peerNames };
  if (service_token === "") return { ...without, close: () => undefined };
  const source = secretSource(service_token, env);
  const read = async (): Promise<readonly string[]> => serviceTokensOf((await source.read()).reveal(), "host");
  // Looked at once, so that a missing one is told at the start; then now and then, so that a changed one is met.
  let tokens = await read();
  const refresh = setInterval(() => {
    read().then(
      (found) => {
        tokens = found;
      },
      // One that cannot be read for a moment leaves the last.
      () => undefined,
    );
  }, tokenEveryMs);
  refresh.unref();
  const shown = (): string | null => tokens[0] ?? null;
  return { ...without, token: shown, serviceTokens: () => tokens, close: () => clearInterval(refresh) };
}

/** For links and invocations to other services. */
export function streamAccess({ client, serviceTokens }: Identity): StreamAccess {
  return {
    ...(client === undefined ? {} : { tls: client }),
    headers: () => {
      const [token] = serviceTokens?.() ?? [];
      return token === undefined ? {} : { authorization: `Bearer ${token}` };
    },
  };
}

/**
 * The same for the streams of services that are found by `baseUrl`: their addresses have no scheme, so they speak TLS where
 * it does. A certificate that a service has for those who call it says nothing of those whom it calls.
 */
export function streamsAt(baseUrl: string, { tls, headers }: StreamAccess): StreamAccess {
  return tls === undefined || !baseUrl.startsWith("https:") ? { headers } : { tls, headers };
}

function none(tls: ClientTls): ClientTls | undefined {
  return Object.keys(tls).length === 0 ? undefined : tls;
}

export function connectPeer(
  peer: PeerService,
  baseUrl: string,
  identity: Identity,
  tracer: NonNullable<RpcClientOptions["tracer"]>,
): RpcConnection {
  const url = URL.parse(baseUrl);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    const what = `The address of ${peer} is no http or https URL`;
    throw new StoreError("invalid", what, "Write it as http://host:port");
  }
  const { client, token } = identity;
  return connectRpc({
    baseUrl,
    domain: peer,
    tracer,
    ...(client === undefined || url.protocol === "http:" ? {} : { tls: client }),
    ...(token === undefined ? {} : { token }),
  });
}

async function serverTls(common: HostValues, env: Environment): Promise<ServerTls | undefined> {
  const { tls_cert, tls_key, tls_ca } = common;
  if (tls_cert === "" && tls_key === "" && tls_ca === "") return undefined;
  if (tls_cert === "" || tls_key === "") {
    throw new StoreError("invalid", "TLS needs both tls_cert and tls_key", "Set both, or none of the tls keys");
  }
  const cert = textOf("tls_cert", tls_cert);
  const key = (await secretSource(tls_key, env).read()).reveal();
  return { cert, key, ...(tls_ca === "" ? {} : { ca: textOf("tls_ca", tls_ca) }) };
}

function textOf(key: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new StoreError("invalid", `${key} cannot be read (${osCode(error)})`, "Check the path and its rights");
  }
}
