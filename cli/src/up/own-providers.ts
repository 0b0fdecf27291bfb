import type { Clock } from "@rspp/ports/clock";
import type { ProviderPort } from "@rspp/ports/provider";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { createProviders } from "@rspp/provider-gateway/providers";
import { toolAccessOf } from "@rspp/provider-gateway/tools/access";
import type { MetricRegistry } from "@rspp/telemetry/metric-registry";

/** The one secret that a provider here may have. Pipelines come from tenants, who are not to choose from our environment. */
const keyReference = "env:OPENAI_API_KEY";

/** All providers that ship with RSPP, within the runtime's process. */
export async function openOwnProviders(clock: Clock, metrics?: MetricRegistry): Promise<ProviderPort> {
  const secret = (reference: string) => (reference === keyReference ? process.env.OPENAI_API_KEY : undefined);
  const tools = toolAccessOf(process.env);
  const providers = createProviders({ clock, openai: { secret }, tools });
  const gateway = createProviderGateway({ clock, providers, ...(metrics === undefined ? {} : { metrics }) });
  await gateway.warm();
  return gateway;
}
