/** How `rspp up` itself calls the services it has started as processes: as one of them, with their TLS and token. */
import { commonFields, type HostValues, portField } from "@rspp/host/common-fields";
import { resolveConfig } from "@rspp/host/config";
import { connectPeer, type Identity, openIdentity } from "@rspp/host/peers";
import type { RpcConnection } from "@rspp/rpc/clients";
import { noTracer } from "@rspp/rpc/tracing";
import { HealthService, ServingStatus } from "@rspp/rpc/well-known";
import { configFailure, startFailure } from "./failure.ts";
import type { UpOptions } from "./plan.ts";

/** @throws CommandError. */
export async function ownIdentity({ host }: Pick<UpOptions, "host">): Promise<Identity> {
  const { env } = process;
  // A file of all services holds keys that are none of ours: the environment alone says what they share.
  const { RSPP_CONFIG: _file, ...own } = env;
  const fields = { port: portField(0), ...commonFields };
  const config = resolveConfig(fields, { service: "up", argv: ["--host", host], env: own });
  if (!config.ok) throw configFailure("the platform", config.error);
  if ("help" in config.value) throw configFailure("the platform", []);
  return openIdentity(config.value.values as unknown as HostValues, env).catch((failure: unknown) => {
    throw startFailure("the platform", failure);
  });
}

export function connectAs(url: string, identity: Identity | null): RpcConnection {
  const none = { server: undefined, client: undefined, token: undefined, serviceTokens: undefined };
  const as = identity ?? { ...none, peerNames: [], close: () => undefined };
  return connectPeer("registry", url, as, noTracer);
}

export async function isServing(connection: RpcConnection): Promise<boolean> {
  const { status } = await connection
    .client(HealthService)
    .check({})
    .catch(() => ({ status: undefined }));
  return status === ServingStatus.SERVING;
}
