/** The services' definitions, loaded only where they run in this process. */
import type { ServiceFields } from "@rspp/host/common-fields";
import type { ServiceDefinition } from "@rspp/host/service";
import type { LocalRuntime } from "@rspp/remote/link-session-types";
import type { UpOptions, UpService } from "./plan.ts";

export type Definitions = Readonly<Record<UpService, () => ServiceDefinition<ServiceFields>>>;

/** A function each, since the adapters are given the runtime beside them. */
export async function loadDefinitions({
  gateway,
  livekit = false,
}: Pick<UpOptions, "gateway" | "livekit">): Promise<Definitions> {
  const [registry, lease, replay, runtime, local, adapter, phones, rooms, providers] = await Promise.all([
    import("@rspp/registry/definition"),
    import("@rspp/lease/definition"),
    import("@rspp/replay/definition"),
    import("@rspp/runtime/definition"),
    import("@rspp/runtime/admission-local"),
    import("@rspp/transport-websocket/definition"),
    import("@rspp/transport-telephony/definition"),
    livekit ? import("@rspp/transport-livekit/definition") : null,
    gateway === "service" ? import("@rspp/provider-gateway/definition") : null,
  ]);
  const own = gateway === "library" ? await import("./own-providers.ts") : null;
  let beside: LocalRuntime | null = null;
  return {
    registry: () => erased(registry.registryDefinition),
    lease: () => erased(lease.leaseDefinition),
    replay: () => erased(replay.replayDefinition),
    "provider-gateway": () => {
      if (providers === null) throw new Error("the provider gateway is within the runtime");
      return erased(providers.gatewayDefinition());
    },
    runtime: () =>
      erased(
        runtime.createRuntimeDefinition({
          ...(own === null ? {} : { providers: own.openOwnProviders }),
          onAdmission: (admission, proofs) => {
            beside = local.createLocalRuntime(admission, proofs);
          },
        }),
      ),
    "transport-websocket": () => erased(adapter.createWebSocketDefinition({ local: () => beside })),
    "transport-livekit": () => {
      if (rooms === null) throw new Error("no LiveKit server is named");
      return erased(rooms.createLiveKitDefinition({ local: () => beside }));
    },
    "transport-telephony": () => erased(phones.createTelephonyDefinition({ local: () => beside })),
  };
}

/** A service's own fields are read by its own configuration alone. */
function erased<F extends ServiceFields>(definition: ServiceDefinition<F>): ServiceDefinition<ServiceFields> {
  return definition as unknown as ServiceDefinition<ServiceFields>;
}
