import type { Clock } from "@rspp/ports/clock";
import type { ProviderPort } from "@rspp/ports/provider";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { createProviders } from "@rspp/provider-gateway/providers";
import { toolAccessOf } from "@rspp/provider-gateway/tools/access";
import { vendorsOf } from "@rspp/provider-gateway/vendors/vendors";
import type { MetricRegistry } from "@rspp/telemetry/metric-registry";

/** All providers that ship with RSPP, within the runtime's process. */
export async function openOwnProviders(clock: Clock, metrics?: MetricRegistry): Promise<ProviderPort> {
  const vendors = await vendorsOf(process.env);
  const tools = toolAccessOf(process.env);
  const providers = createProviders({ clock, vendors, tools });
  const gateway = createProviderGateway({ clock, providers, ...(metrics === undefined ? {} : { metrics }) });
  await gateway.warm();
  return gateway;
}
