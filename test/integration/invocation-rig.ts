/** Provider gateways behind real sockets, and one whose answers the test gives. */

import { createSystemClock } from "@rspp/host/system-clock";
import type { Invocation, InvocationSink, ProviderPort } from "@rspp/ports/provider";
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { describeProviders } from "@rspp/provider-gateway/descriptors";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { watchHealth } from "@rspp/provider-gateway/health";
import type { GatewayReach } from "@rspp/provider-gateway/testing/conformance";
import { recorder, request } from "@rspp/provider-gateway/testing/recorder";
import type { RemoteProvidersOptions } from "@rspp/remote/invocation-api";
import { createRemoteProviders } from "@rspp/remote/invocation-client";
import { type InvocationServiceOptions, invocationService } from "@rspp/remote/invocation-server";
import { startGrpcServer } from "@rspp/rpc/grpc-server";
import { noTracer, type RpcTracer } from "@rspp/rpc/tracing";
import { expect, onTestFinished } from "vitest";

export const clock = createSystemClock();
export const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
export const audio = (ms: number) =>
  ({ kind: "audio", bytes: new Uint8Array(ms * 32), format, durationUs: ms * 1000 }) as const;
export const question = { kind: "messages", messages: [{ role: "user", text: "one two three four" }] } as const;

export async function serve(
  port: ProviderPort,
  providers: readonly ManagedProvider[],
  more: Partial<InvocationServiceOptions> = {},
  tracer: RpcTracer = noTracer,
) {
  const names = providers.map(({ name }) => name);
  const health = watchHealth(port, clock, names);
  const describe = () => describeProviders(providers);
  const service = invocationService(health.port, { clock, describe, health, ...more });
  const grpc = await startGrpcServer({ domain: "provider-gateway", port: 0, services: [service.grpc], tracer });
  const stop = async () => {
    health.close();
    await grpc.stop(200);
  };
  return { service, grpc, health, address: `127.0.0.1:${grpc.port}`, stop };
}

export async function reach(port: ProviderPort, provider: ManagedProvider, shared = true): Promise<GatewayReach> {
  const served = await serve(port, [provider]);
  const remote = createRemoteProviders({ address: served.address, clock, shared });
  expect(await remote.refresh()).toBe(true);
  return {
    port: remote,
    settled: () => until(() => remote.inFlight === 0 && served.service.inFlight === 0, "nothing under way"),
    close: async () => {
      await remote.close();
      await served.stop();
    },
  };
}

export async function until(holds: () => boolean, what: string, ms = 10_000): Promise<void> {
  const endMs = performance.now() + ms;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A provider whose answers the test gives. */
export class Puppet implements ManagedProvider {
  readonly name = "local/flite";
  readonly modality = "tts";
  readonly sinks: InvocationSink[] = [];
  readonly heard: string[] = [];

  open(_request: unknown, sink: InvocationSink): Invocation {
    this.sinks.push(sink);
    return {
      push: (input) => this.heard.push(input.kind === "text" ? `${input.segment}` : input.kind),
      finish: () => this.heard.push("finish"),
      cancel: (reason) => {
        this.heard.push(`cancel ${reason}`);
        sink.outcome({ kind: "cancelled", detail: "cancelled" });
      },
    };
  }

  frame(segment: number, bytes = 640): void {
    const chunk = { kind: "audio", bytes: new Uint8Array(bytes), format, durationUs: 20_000, segment } as const;
    this.sinks.at(-1)?.chunk({ ...chunk, segmentEnd: false, segmentChars: 5 });
  }
}

export async function puppetRig(
  service: Partial<InvocationServiceOptions> = {},
  client: Partial<RemoteProvidersOptions> = {},
  tracer: RpcTracer = noTracer,
) {
  const puppet = new Puppet();
  const gateway = createProviderGateway({ clock, providers: [puppet], guards: false });
  const served = await serve(gateway, [puppet], service, tracer);
  const remote = createRemoteProviders({ address: served.address, clock, ...client });
  onTestFinished(async () => {
    await remote.close();
    await gateway.close();
    await served.stop();
  });
  expect(await remote.refresh()).toBe(true);
  const open = (over = {}) => {
    const sink = recorder();
    const invocation = remote.open(request({ modality: "tts", provider: puppet.name, ...over }), sink);
    return { sink, invocation };
  };
  return { puppet, gateway, served, remote, open };
}
