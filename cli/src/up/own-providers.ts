import type { Clock } from "@rspp/ports/clock";
import type { ProviderPort } from "@rspp/ports/provider";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { createProviders } from "@rspp/provider-gateway/providers";

/** All providers that ship with RSPP, within the runtime's process. */
export async function openOwnProviders(clock: Clock): Promise<ProviderPort> {
  const gateway = createProviderGateway({ clock, providers: createProviders({ clock }) });
  await gateway.warm();
  return gateway;
}
