/** The LiveKit adapter as a service: agents that come into rooms. */
import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { SessionKeySchema } from "@rspp/gen/rspp/common/v1/reference_pb";
import { JoinRoomResponseSchema, LiveKitService } from "@rspp/gen/rspp/transport/v1/livekit_service_pb";
import { dialAddress } from "@rspp/host/address";
import type { PlainService } from "@rspp/host/service";
import { RpcError, rpcError } from "@rspp/rpc/errors";
import { type RpcRoute, route } from "@rspp/rpc/route";
import { secretSource } from "@rspp/store/secret";
import { problemDetail } from "@rspp/transport/problem";
import {
  createTransportDefinition,
  type RunningTransport,
  type TransportContext,
  type TransportServiceOptions,
} from "@rspp/transport/service";
import { type LiveKitConfig, livekitFields } from "./config.ts";
import { livekitMetrics } from "./metrics.ts";
import { RoomTokens } from "./room-tokens.ts";
import { type LiveKitStats, LiveKitTransport } from "./transport.ts";

const domain = "transport-livekit";

interface Running extends RunningTransport<LiveKitStats> {
  readonly transport: LiveKitTransport;
}

export function createLiveKitDefinition(options: TransportServiceOptions = {}): PlainService<typeof livekitFields> {
  return createTransportDefinition(
    { transport: "livekit", fields: livekitFields, metrics: livekitMetrics, open, routes },
    options,
  );
}

async function open(values: LiveKitConfig, context: TransportContext): Promise<Running> {
  const { clock, verifier, openSession, audit, api, tls } = context;
  for (const key of ["livekit_api_key", "livekit_api_secret"] as const) {
    if (values[key] !== "") continue;
    const remedy = `Set ${key} to that of the LiveKit server; the secret by reference, e.g. env:LIVEKIT_API_SECRET.`;
    throw rpcError(ErrorReason.CONFIG_INVALID, { domain, metadata: { key, problem: "missing" }, remedy });
  }
  const secret = secretSource(values.livekit_api_secret);
  const tokens = new RoomTokens({
    apiKey: values.livekit_api_key,
    secret: async () => (await secret.read()).reveal(),
  });
  // The SDK has a logger of its own on standard output, which tells everything unless this is production.
  process.env.NODE_ENV ||= "production";
  // Its native part is loaded where a room is joined at all.
  const { createLiveKitRoom } = await import("./livekit-room.ts");
  const transport = new LiveKitTransport({
    ...{ clock, verifier, openSession, audit, tokens },
    url: values.livekit_url,
    clientUrl: values.livekit_client_url,
    sessionsMax: values.sessions_max,
    resumeWithinMs: values.resume_within_ms,
    createRoom: createLiveKitRoom,
  });
  return {
    transport,
    address: values.advertise_url || `${tls === undefined ? "http" : "https"}://${dialAddress(api)}`,
    stats: () => transport.stats(),
    drain: () => transport.drain(),
    close: () => transport.close(),
  };
}

function routes(running: () => Running | null): readonly RpcRoute[] {
  return [
    route(LiveKitService, {
      joinRoom: async ({ token, room, callerIdentity, callerWithinMs }) => {
        const transport = running()?.transport;
        if (transport === undefined) throw new RpcError(problemDetail({ reason: "dependency_unavailable" }, domain));
        const joined = await transport.join({ token, room, callerIdentity, callerWithinMs });
        if (!joined.ok) throw new RpcError(problemDetail(joined.error, domain));
        const { tenant: tenantId, session: sessionId, ...rest } = joined.value;
        return create(JoinRoomResponseSchema, { ...rest, session: create(SessionKeySchema, { tenantId, sessionId }) });
      },
    }),
  ];
}
