/** Where a runtime's providers are: within its process, or at a gateway. */
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { InstanceService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { streamsAt } from "@rspp/host/peers";
import type { ServiceContext } from "@rspp/host/service";
import type { Clock } from "@rspp/ports/clock";
import type { ProviderPort } from "@rspp/ports/provider";
import { createRemoteProviders } from "@rspp/remote/invocation-client";
import type { RpcConnection } from "@rspp/rpc/clients";
import { rpcError } from "@rspp/rpc/errors";
import type { MetricRegistry } from "@rspp/telemetry/metric-registry";
import type { RuntimeConfig } from "./config.ts";
import { limits } from "./limits.ts";
import { measureInvocations } from "./metrics-links.ts";
import { pause } from "./stream-loop.ts";

/** Providers within the runtime's process, which measure where it does. */
export type OwnProviders = (clock: Clock, metrics: MetricRegistry) => Promise<ProviderPort>;

export interface OpenProviders {
  readonly values: RuntimeConfig;
  readonly context: ServiceContext;
  readonly clock: Clock;
  readonly registry: RpcConnection;
  readonly own: OwnProviders | undefined;
}

/** @throws RpcError `config_invalid` where there are neither. */
export async function openProviders(options: OpenProviders): Promise<ProviderPort> {
  const { values, context, clock, own } = options;
  if (values.gateway === "") {
    if (own !== undefined) return own(clock, context.telemetry.metrics);
    const message = "is empty, and this process has no providers of its own";
    const remedy = "Name the provider gateway, e.g. --gateway http://127.0.0.1:7104, or run `rspp up`.";
    throw rpcError(ErrorReason.CONFIG_INVALID, {
      domain: "runtime",
      violations: [{ field: "gateway", rule: "required", message }],
      remedy,
    });
  }
  const address = values.gateway_streams || (await streamAddress(options));
  const { tls, headers } = streamsAt(values.gateway, context.streams);
  context.log.info({ gateway: address }, "providers are at a gateway");
  const providers = createRemoteProviders({
    address,
    clock,
    headers,
    onReachable: (there) => context.dependency("provider-gateway", there),
    ...(tls === undefined ? {} : { tls }),
  });
  measureInvocations(context.telemetry.metrics, () => providers);
  await providers.refresh();
  return providers;
}

/** The stream port of a gateway that is known by its API: as it reported itself, else by the platform's convention. */
async function streamAddress({ values, clock, registry }: OpenProviders): Promise<string> {
  const url = URL.parse(values.gateway);
  if (url === null || url.port === "") {
    const message = "is no URL with a port";
    const violations = [{ field: "gateway", rule: "url", message }];
    const remedy = "Write it as http://host:port, or set gateway_streams to host:port.";
    throw rpcError(ErrorReason.CONFIG_INVALID, { domain: "runtime", violations, remedy });
  }
  const usual = `${url.hostname}:${Number(url.port) + 100}`;
  const endNs = clock.nowNs() + limits.GATEWAY_LOOK_MS * 1e6;
  const never = new AbortController();
  while (clock.nowNs() < endNs) {
    const known = await reported(registry);
    if (known.includes(usual)) return usual;
    const here = known.find((address) => address.startsWith(`${url.hostname}:`));
    if (here !== undefined) return here;
    await pause(clock, limits.GATEWAY_LOOK_EVERY_MS, never.signal);
  }
  return usual;
}

async function reported(registry: RpcConnection): Promise<readonly string[]> {
  try {
    const call = { timeoutMs: limits.GATEWAY_LOOK_MS };
    const { view } = await registry.client(InstanceService).getRoutingView({ knownVersion: "" }, call);
    const gateways = view?.instances.filter(({ role, ready }) => role === "provider-gateway" && ready) ?? [];
    return gateways.map(({ address }) => address);
  } catch {
    return [];
  }
}
