/** The WebSocket adapter as a service. */
import type { PlainService } from "@rspp/host/service";
import { bindError, reachable } from "@rspp/transport/listener";
import {
  createTransportDefinition,
  type RunningTransport,
  type TransportContext,
  type TransportServiceOptions,
} from "@rspp/transport/service";
import { type WebSocketConfig, websocketFields } from "./config.ts";
import { websocketMetrics } from "./metrics.ts";
import { createRealtimeRoutes } from "./realtime/routes.ts";
import { openWebSocketTransport, type WebSocketTransportStats } from "./server.ts";

export function createWebSocketDefinition(options: TransportServiceOptions = {}): PlainService<typeof websocketFields> {
  const definition = { transport: "websocket", fields: websocketFields, metrics: websocketMetrics, open };
  return createTransportDefinition(definition, options);
}

async function open(
  values: WebSocketConfig,
  context: TransportContext,
): Promise<RunningTransport<WebSocketTransportStats>> {
  const { host, websocket_port: port } = values;
  const { clock, verifier, openSession, fleetSecret, audit, tls, log, registryForCallers } = context;
  const { realtime_routes: tenant, region } = values;
  const origins = values.origins.split(",").flatMap((origin) => origin.trim() || []);
  const transport = await openWebSocketTransport({
    clock,
    verifier,
    openSession,
    audit,
    resumeSecret: fleetSecret,
    host,
    port,
    compression: values.compression === "on",
    connectionsMax: values.connections_max,
    sessionsMax: values.sessions_max,
    resumeWithinMs: values.resume_within_ms,
    warn: (fields, text) => log.warn(fields, text),
    ...(tenant === ""
      ? {}
      : { realtimeRoutes: createRealtimeRoutes({ registry: registryForCallers(), tenant, region }) }),
    ...(origins.length === 0 ? {} : { origins }),
    ...(tls === undefined ? {} : { tls }),
  }).catch((failure: NodeJS.ErrnoException) => {
    throw bindError(failure, { domain: "transport-websocket", key: "websocket_port", host, port });
  });
  return {
    address: values.advertise_url || reachable(transport.url, host, transport.port),
    stats: () => transport.stats(),
    drain: () => transport.drain(),
    handOff: (which) => transport.handOff(which),
    close: () => transport.close(),
  };
}
