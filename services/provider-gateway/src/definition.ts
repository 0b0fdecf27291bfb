/** The provider gateway as a service: every provider behind `rspp.provider.v1`, keys kept here alone (decision 10). */
import type { ProviderHealth } from "@rspp/gen/rspp/provider/v1/provider_pb";
import { dialAddress } from "@rspp/host/address";
import { startReporter } from "@rspp/host/instance-report";
import type { Bound, PlainService, ServiceContext } from "@rspp/host/service";
import { createSystemClock } from "@rspp/host/system-clock";
import type { Clock } from "@rspp/ports/clock";
import { type InvocationService, invocationService } from "@rspp/remote/invocation-server";
import type { ManagedProvider } from "./attempt.ts";
import type { PriceOf } from "./caps.ts";
import { type GatewayConfig, gatewayFields } from "./config.ts";
import { describeProviders } from "./descriptors.ts";
import { createProviderGateway } from "./gateway.ts";
import { watchHealth } from "./health.ts";
import { readPrices } from "./prices.ts";
import { createProviders } from "./providers.ts";
import { watchPublished } from "./published.ts";
import { TermsBook } from "./resilience/terms.ts";
import { toolAccessFrom } from "./tools/access.ts";
import { openVendors } from "./vendors/vendors.ts";

/** Of the contract. */
const healthReportsMax = 256;

export interface GatewayDefinitionOptions {
  /** In place of those that ship with RSPP. */
  readonly providers?: (clock: Clock) => readonly ManagedProvider[];
}

export function gatewayDefinition(options: GatewayDefinitionOptions = {}): PlainService<typeof gatewayFields> {
  return {
    service: "provider-gateway",
    fields: gatewayFields,
    database: false,
    start: async (values, context) => {
      const clock = createSystemClock();
      const vendors = await openVendors({ values, env: context.env, log: context.log });
      const tools = toolAccessFrom(values, context.env);
      const providers = options.providers?.(clock) ?? createProviders({ clock, vendors, tools });
      const priceOf = readPrices(values.provider_prices);
      const terms = new TermsBook();
      const { metrics } = context.telemetry;
      const gateway = createProviderGateway({
        clock,
        providers,
        priceOf,
        terms: terms.of,
        seed: context.instanceId,
        metrics,
      });
      const health = watchHealth(
        gateway,
        clock,
        providers.map(({ name }) => name),
      );
      const service = invocationService(health.port, {
        clock,
        describe: () => describeProviders(providers),
        health,
        invocationsMax: values.invocations_max,
      });
      await gateway.warm();
      context.log.info({ providers: gateway.providers() }, "providers");
      const published = values.registry === "" ? null : watchPublished(vendors, values.registry, context, clock, terms);
      let reporting: Reporting | null = null;
      return {
        routes: [service.route],
        streams: [service.grpc],
        sweep: () => vendors.refresh(),
        bound: async (_api, streams) => {
          if (values.registry !== "" && streams !== null)
            reporting = report(values, context, service, streams, () =>
              priced(health.snapshot(), gateway.providers(), priceOf),
            );
          return {};
        },
        drain: (graceMs) => {
          reporting?.drain();
          return service.drain(graceMs);
        },
        close: async () => {
          health.close();
          await published?.close();
          await reporting?.stop();
          await gateway.close();
        },
      };
    },
  };
}

interface Reporting {
  drain(): void;
  stop(): Promise<void>;
}

function report(
  { registry, region, advertise_address, invocations_max }: GatewayConfig,
  { instanceId, build, log, connect }: ServiceContext,
  service: InvocationService,
  streams: Bound,
  providerHealth: () => readonly ProviderHealth[],
): Reporting {
  let draining = false;
  const reporter = startReporter({
    registry: connect("registry", registry),
    log,
    report: () => ({
      instanceId,
      role: "provider-gateway",
      address: advertise_address || dialAddress(streams),
      region,
      build,
      capacitySessions: invocations_max,
      sessions: service.inFlight,
      draining,
      ready: !draining,
      endpoints: [],
      providerHealth: providerHealth(),
    }),
  });
  return {
    drain: () => {
      draining = true;
      reporter.now();
    },
    stop: () => reporter.stop(),
  };
}

/** The last word of this gateway on its providers, with what they cost and whether it can open them. */
function priced(
  health: readonly ProviderHealth[],
  available: readonly string[],
  priceOf: PriceOf,
): readonly ProviderHealth[] {
  return health.slice(0, healthReportsMax).map((one) => {
    const price = priceOf(one.provider);
    const there = available.includes(one.provider);
    return { ...one, available: there, ...(price === undefined ? {} : { priceMicros: BigInt(price) }) };
  });
}
