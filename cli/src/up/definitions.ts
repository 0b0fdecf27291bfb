/** The services' definitions, loaded only where they run in this process. */
import type { ServiceFields } from "@rspp/host/common-fields";
import type { ServiceDefinition } from "@rspp/host/service";
import type { UpOptions, UpService } from "./plan.ts";

export type Definitions = Readonly<Record<UpService, () => ServiceDefinition<ServiceFields>>>;

/** A function each, since the adapter is given the runtime beside it. */
export async function loadDefinitions(_options: Pick<UpOptions, "gateway">): Promise<Definitions> {
  const [{ registryDefinition }, { leaseDefinition }, { gatewayDefinition }] = await Promise.all([
    import("@rspp/registry/definition"),
    import("@rspp/lease/definition"),
    import("@rspp/provider-gateway/definition"),
  ]);
  const none = (): never => {
    throw new Error("not yet");
  };
  return {
    registry: () => erased(registryDefinition),
    lease: () => erased(leaseDefinition),
    "provider-gateway": () => erased(gatewayDefinition()),
    replay: none,
    runtime: none,
    "transport-websocket": none,
  };
}

/** A service's own fields are read by its own configuration alone. */
function erased<F extends ServiceFields>(definition: ServiceDefinition<F>): ServiceDefinition<ServiceFields> {
  return definition as unknown as ServiceDefinition<ServiceFields>;
}
