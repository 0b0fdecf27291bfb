/** TLS of a process and its calls to other services. */
import { connectRpc, type RpcClientOptions, type RpcConnection } from "@rspp/rpc/clients";
import { type Log, silentLog } from "@rspp/rpc/log";
import { serviceTokensOf } from "@rspp/rpc/service-token";
import type { ClientTls, ServerTls } from "@rspp/rpc/tls";
import { type SecretSource, secretSource } from "@rspp/store/secret";
import { StoreError } from "@rspp/store/store-error";
import type { HostValues } from "./common-fields.ts";
import type { Environment, PeerService, StreamAccess } from "./service.ts";
import { openTls } from "./tls-files.ts";

export interface Identity {
  readonly server: ServerTls | undefined;
  readonly client: ClientTls | undefined;
  readonly token: RpcClientOptions["token"] | undefined;
  /** The tokens that are accepted now, the one that is shown first; undefined without one. */
  readonly serviceTokens: (() => readonly string[]) | undefined;
  readonly peerNames: readonly string[];
  close(): void;
}

/** How often files that were changed are looked for. */
const lookEveryMs = 5_000;

/**
 * Certificates and tokens of a process. Both may change while it runs (F-120, F-061): files are read again every 5 seconds and
 * on SIGHUP; what does not hold together leaves the last in force, and the log says so.
 * @throws StoreError `invalid` or `secret_missing`, RpcError `config_invalid`, by the key that is wrong.
 */
export async function openIdentity(values: HostValues, env: Environment, log: Log = silentLog): Promise<Identity> {
  const tls = await openTls(values, env, log);
  const names = values.peer_names.split(",").map((name) => name.trim());
  const peerNames = names.filter((name) => name !== "");
  const { service_token } = values;
  const source = service_token === "" ? null : secretSource(service_token, env);
  const read = async (from: SecretSource): Promise<readonly string[]> =>
    serviceTokensOf((await from.read()).reveal(), "host");
  // Looked at once, so that a missing one is told at the start; then now and then, so that a changed one is met.
  let tokens = source === null ? [] : await read(source);
  const look = (): void => {
    void tls.look();
    if (source === null) return;
    read(source).then(
      (found) => {
        tokens = found;
      },
      // One that cannot be read for a moment leaves the last.
      () => undefined,
    );
  };
  const { server, client } = tls;
  const shown = (): string | null => tokens[0] ?? null;
  const told =
    source === null ? { token: undefined, serviceTokens: undefined } : { token: shown, serviceTokens: () => tokens };
  const without = { server, client, peerNames, ...told };
  if (source === null && server === undefined && client === undefined) return { ...without, close: () => undefined };
  const refresh = setInterval(look, lookEveryMs);
  refresh.unref();
  process.on("SIGHUP", look);
  const close = (): void => {
    clearInterval(refresh);
    process.off("SIGHUP", look);
  };
  return { ...without, close };
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
  const { client, token, server } = identity;
  if (server?.ca !== undefined && url.protocol === "http:") {
    const what = `The address of ${peer} is plain http, and mutual TLS is on (tls_ca)`;
    throw new StoreError("invalid", what, "Write it as https://host:port");
  }
  return connectRpc({
    baseUrl,
    domain: peer,
    tracer,
    ...(client === undefined || url.protocol === "http:" ? {} : { tls: client }),
    ...(token === undefined ? {} : { token }),
  });
}
