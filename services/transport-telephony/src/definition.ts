/** The telephone adapter as a service. */
import { err, ok } from "@rspp/base/result";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { secretReader } from "@rspp/host/secret-reader";
import type { PlainService } from "@rspp/host/service";
import { type RpcConnection, rpcErrorOf } from "@rspp/rpc/clients";
import { rpcError } from "@rspp/rpc/errors";
import { bindError, reachable } from "@rspp/transport/listener";
import { detailName } from "@rspp/transport/problem";
import {
  createTransportDefinition,
  type RunningTransport,
  type TransportContext,
  type TransportServiceOptions,
} from "@rspp/transport/service";
import { type TelephonyConfig, telephonyFields } from "./config.ts";
import type { JitterProfile } from "./limits.ts";
import { telephonyMetrics } from "./metrics.ts";
import { destinationOf, type Numbers, parseNumbers } from "./numbers.ts";
import { DOMAIN } from "./refusal.ts";
import { openTelephoneTransport, type TelephoneStats } from "./server.ts";
import type { RouteForCall, VoicePolicy } from "./webhooks.ts";

export function createTelephonyDefinition(options: TransportServiceOptions = {}): PlainService<typeof telephonyFields> {
  const definition = { transport: "telephony", fields: telephonyFields, metrics: telephonyMetrics, open };
  return createTransportDefinition(definition, options);
}

async function open(values: TelephonyConfig, context: TransportContext): Promise<RunningTransport<TelephoneStats>> {
  const { host, telephony_port: port } = values;
  const { clock, verifier, openSession, audit, tls, env, registry } = context;
  const secret = secretReader(values.twilio_auth_token, env);
  const transport = await openTelephoneTransport({
    clock,
    verifier,
    openSession,
    audit,
    host,
    port,
    route: routes(registry, numbersOf(values), values.region),
    policy: {
      machine: values.machine as VoicePolicy["machine"],
      notice: values.machine_notice,
      afterUrl: urlOf(values),
    },
    // Required and not configured: everything is refused, with what to do.
    authToken: values.signature === "off" ? null : (secret ?? (() => Promise.resolve(""))),
    publicUrl: publicUrlOf(values),
    connectionsMax: values.connections_max,
    sessionsMax: values.sessions_max,
    resumeWithinMs: values.resume_within_ms,
    jitter: values.jitter as JitterProfile,
    leadMs: values.lead_ms,
    markEveryMs: values.mark_every_ms,
    ...(tls === undefined ? {} : { tls }),
  }).catch((failure: NodeJS.ErrnoException) => {
    throw bindError(failure, { domain: DOMAIN, key: "telephony_port", host, port });
  });
  return {
    address: values.public_url === "" ? reachable(transport.url, host, transport.port) : transport.url,
    stats: () => transport.stats(),
    drain: () => transport.drain(),
    close: () => transport.close(),
  };
}

/** Its origin; "" where none is set. */
function publicUrlOf({ public_url: url }: TelephonyConfig): string {
  if (url === "") return "";
  const parsed = URL.parse(url);
  if (parsed !== null && /^https?:$/.test(parsed.protocol) && parsed.pathname === "/") return parsed.origin;
  const remedy = "Write the origin that the carrier calls, e.g. https://voice.example.com";
  throw rpcError(ErrorReason.CONFIG_INVALID, { domain: DOMAIN, metadata: { key: "public_url" }, remedy });
}

function urlOf({ after_url: url }: TelephonyConfig): string {
  if (url === "" || /^https?:$/.test(URL.parse(url)?.protocol ?? "")) return url;
  const remedy = "Write an address, e.g. https://app.example.com/after";
  throw rpcError(ErrorReason.CONFIG_INVALID, { domain: DOMAIN, metadata: { key: "after_url" }, remedy });
}

function numbersOf({ numbers }: TelephonyConfig): Numbers {
  const parsed = parseNumbers(numbers);
  if (parsed.ok) return parsed.value;
  const remedy = `Write number=tenant/pipeline or number=tenant/pipeline@version, not ${parsed.error}`;
  throw rpcError(ErrorReason.CONFIG_INVALID, { domain: DOMAIN, metadata: { key: "numbers" }, remedy });
}

/** A retry of the carrier is the same call, and gets the same route. */
function routes(registry: RpcConnection, numbers: Numbers, region: string): RouteForCall {
  return async ({ callSid, to }) => {
    const destination = destinationOf(numbers, to);
    if (destination === undefined) return err({ reason: "not_found", remedy: "No pipeline answers this number." });
    const { tenant, pipeline, version } = destination;
    try {
      const { route } = await registry.client(RegistryService).createRoute({
        tenantId: tenant,
        pipelineName: pipeline,
        pipelineVersion: version,
        transport: "telephony",
        region,
        idempotencyKey: `twilio:${callSid}`.slice(0, 128),
      });
      if (route?.endpoint === undefined) return err({ reason: "dependency_unavailable" });
      return ok({ url: route.endpoint.url, token: route.token });
    } catch (failure) {
      const { detail } = rpcErrorOf(failure, "registry");
      return err({ reason: detailName(detail), remedy: detail.remedy });
    }
  };
}
