/** Invocations that share a stream (`ProviderService.InvokeMany`): as a stream each, without the opening of one. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import {
  InvokeManyRequestSchema,
  type InvokeManyResponseFrame,
  ProviderService,
} from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { watchHealth } from "@rspp/provider-gateway/health";
import { recorder, request } from "@rspp/provider-gateway/testing/recorder";
import { createRemoteProviders } from "@rspp/remote/invocation-client";
import { invocationLimits as limits } from "@rspp/remote/invocation-limits";
import { invocationService } from "@rspp/remote/invocation-server";
import type { RpcError } from "@rspp/rpc/errors";
import { openChannel, openDuplex } from "@rspp/rpc/grpc-client";
import { startGrpcServer } from "@rspp/rpc/grpc-server";
import type { RpcTracer } from "@rspp/rpc/tracing";
import { expect, onTestFinished, test } from "vitest";

import { clock, Puppet, puppetRig, serve, until } from "./invocation-rig.ts";

/** Spans begun at the gateway: method and parent. */
function spans(): { tracer: RpcTracer; seen: string[] } {
  const seen: string[] = [];
  const span = { run: <T>(work: () => T) => work(), set: () => undefined, end: () => undefined };
  const start: RpcTracer["start"] = ({ method, headers }) => {
    seen.push(`${method} ${headers.get("traceparent") ?? ""}`.trim());
    return span;
  };
  return { tracer: { start }, seen };
}

test("F-055 invocations share the streams that were opened ahead; each keeps its own trace", async () => {
  const { tracer, seen } = spans();
  const { puppet, remote, open } = await puppetRig({}, {}, tracer);
  expect(remote.sharedStreams).toBe(limits.CONNECTIONS);
  const headers = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
  const all = Array.from({ length: 50 }, () => open({ headers }));
  await until(() => puppet.sinks.length === 50, "all of them");
  for (const [n, sink] of puppet.sinks.entries()) sink.outcome({ kind: "success", detail: `${n}` });
  const outcomes = await Promise.all(all.map(({ sink }) => sink.ended));
  expect(outcomes.map(({ detail }) => detail)).toEqual(all.map((_, n) => `${n}`));
  expect(seen.filter((span) => span.startsWith("InvokeMany")).length).toBe(limits.CONNECTIONS);
  expect(seen.filter((span) => span === `Invoke ${headers.traceparent}`).length).toBe(50);
});

test("F-055 a cancel of one leaves its neighbours on the stream alone", async () => {
  const { puppet, open } = await puppetRig();
  const [first, second] = [open(), open()];
  await until(() => puppet.sinks.length === 2, "both");
  first.invocation.cancel("barge_in");
  expect(first.sink.outcomes.map(({ kind }) => kind)).toEqual(["cancelled"]);
  await until(() => puppet.heard.includes("cancel barge_in"), "the cancel");
  puppet.frame(0);
  puppet.sinks[1]?.outcome({ kind: "success", detail: "" });
  expect((await second.sink.ended).kind).toBe("success");
  expect(second.sink.chunks.length).toBe(1);
  expect(puppet.heard.filter((word) => word.startsWith("cancel"))).toEqual(["cancel barge_in"]);
});

test("F-055 a shared stream that dies ends all of its invocations in disconnect, and another takes its place", async () => {
  const puppet = new Puppet();
  const gateway = createProviderGateway({ clock, providers: [puppet] });
  const first = await serve(gateway, [puppet]);
  const remote = createRemoteProviders({ address: first.address, clock, refreshMs: 20 });
  onTestFinished(() => remote.close());
  expect(await remote.refresh()).toBe(true);
  const sinks = Array.from({ length: 20 }, () => {
    const sink = recorder();
    remote.open(request({ modality: "tts", provider: puppet.name }), sink);
    return sink;
  });
  await until(() => puppet.sinks.length === 20, "all");
  const stopped = first.grpc.stop(0);
  const outcomes = await Promise.all(sinks.map(({ ended }) => ended));
  expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(["disconnect"]));
  await stopped;
  await until(() => puppet.heard.filter((word) => word === "cancel connection_lost").length === 20, "the provider");
  await until(() => remote.sharedStreams === 0, "the streams' end");
  const port = Number(first.address.split(":")[1]);
  const health = watchHealth(gateway, clock, [puppet.name]);
  const service = invocationService(gateway, { clock, describe: () => [], health });
  const again = await startGrpcServer({ domain: "provider-gateway", port, services: [service.grpc] });
  onTestFinished(async () => void (await again.stop(0)));
  await until(() => remote.sharedStreams === limits.CONNECTIONS, "streams to the new gateway");
});

test("F-131 a gateway that does not know shared streams gets a stream for each invocation", async () => {
  const { tracer, seen } = spans();
  const puppet = new Puppet();
  const gateway = createProviderGateway({ clock, providers: [puppet] });
  const health = watchHealth(gateway, clock, [puppet.name]);
  const { grpc } = invocationService(gateway, { clock, describe: () => [], health });
  const { invokeMany: _, ...methods } = grpc.methods;
  const services = [{ service: grpc.service, methods }];
  const server = await startGrpcServer({ domain: "provider-gateway", port: 0, services, tracer });
  const remote = createRemoteProviders({ address: `127.0.0.1:${server.port}`, clock });
  onTestFinished(async () => {
    await remote.close();
    await server.stop(0);
  });
  expect(await remote.refresh()).toBe(true);
  expect(remote.sharedStreams).toBe(0);
  const sink = recorder();
  remote.open(request({ modality: "tts", provider: puppet.name }), sink);
  await until(() => puppet.sinks.length === 1, "the open");
  puppet.sinks[0]?.outcome({ kind: "success", detail: "" });
  expect((await sink.ended).kind).toBe("success");
  expect(seen).toEqual(["Invoke"]);
});

test("F-108 a gateway that drains lets what runs finish, then ends its shared streams itself", async () => {
  const { puppet, served, remote, open } = await puppetRig();
  const { sink } = open();
  await until(() => puppet.sinks.length === 1, "the open");
  const drained = served.service.drain(10_000);
  const late = open();
  expect((await late.sink.ended).kind).toBe("overload");
  puppet.sinks[0]?.outcome({ kind: "success", detail: "" });
  expect((await sink.ended).kind).toBe("success");
  expect(await drained).toBe(true);
  await until(() => remote.sharedStreams === 0, "the streams' end");
  expect(await served.grpc.stop(10_000)).toBe(true);
});

// --- by hand ---

type FrameInit = NonNullable<MessageInitShape<typeof InvokeManyRequestSchema>["frames"]>[number];
const open = (call: number, over: object = {}): FrameInit => ({
  call,
  step: {
    case: "message",
    value: {
      message: {
        case: "open",
        value: {
          invocationId: `inv-${call}`,
          session: { tenantId: "t", sessionId: "s" },
          authorityEpoch: 1n,
          nodeId: "say",
          attempt: 1,
          modality: 3,
          candidate: { provider: "local/flite" },
          idempotencyKey: `k-${call}`,
          ...over,
        },
      },
    },
  },
});
const input = (call: number, sequence: number): FrameInit => ({
  call,
  step: {
    case: "message",
    value: {
      message: { case: "input", value: { sequence, input: { case: "text", value: { text: "a", segment: 0 } } } },
    },
  },
});

function byHand(address: string) {
  const channel = openChannel({ address });
  onTestFinished(() => channel.close());
  const seen: InvokeManyResponseFrame[] = [];
  let closed: RpcError | null | undefined;
  const duplex = openDuplex(channel, ProviderService.method.invokeMany, {
    onMessage: ({ frames }) => void seen.push(...frames),
    onClosed: (error) => {
      closed = error;
    },
  });
  const say = (...frames: FrameInit[]) => duplex.write(create(InvokeManyRequestSchema, { frames }));
  const of = (call: number) => seen.filter((frame) => frame.call === call).map(({ step }) => step);
  const outputs = (call: number) =>
    of(call).filter((step) => step.case === "message" && step.value.message.case === "output").length;
  const end = (call: number) => {
    const last = of(call).at(-1);
    return last?.case === "closed" ? (last.value.error?.reason ?? 0) : undefined;
  };
  return { say, outputs, end, closed: () => closed, duplex };
}

test("credit is each invocation's own: one whose caller gives none holds no other up", async () => {
  const { puppet, served } = await puppetRig();
  const { say, outputs } = byHand(served.address);
  say(open(1), open(2));
  await until(() => puppet.sinks.length === 2, "both");
  const starved = puppet.sinks[0];
  const frame = (segment: number) =>
    ({
      kind: "audio",
      bytes: new Uint8Array(640),
      format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
      durationUs: 20_000,
      segment,
      segmentEnd: false,
      segmentChars: 1,
    }) as const;
  for (let n = 0; n < 500; n++) starved?.chunk(frame(n));
  puppet.frame(0);
  await until(() => outputs(2) === 1, "the neighbour's output");
  expect(outputs(1)).toBe(limits.WINDOW_CHUNKS);
});

test("F-131 a call that breaks its contract is refused alone, by name", async () => {
  const { puppet, served } = await puppetRig();
  const { say, outputs, end, closed } = byHand(served.address);
  say(open(1));
  const bad: [FrameInit[], ErrorReason][] = [
    [[input(2, 1)], ErrorReason.OUT_OF_ORDER],
    [[open(3), open(3)], ErrorReason.OUT_OF_ORDER],
    [[open(4), input(4, 2)], ErrorReason.OUT_OF_ORDER],
    [[open(5, { authorityEpoch: 0n })], ErrorReason.SCHEMA_VALIDATION_ERROR],
    [[{ call: 6 }], ErrorReason.SCHEMA_VALIDATION_ERROR],
    [[open(7), { call: 7, step: { case: "inputClosed", value: {} } }], ErrorReason.OUT_OF_ORDER],
  ];
  for (const [n, [frames, reason]] of bad.entries()) {
    say(...frames);
    await until(() => end(n + 2) !== undefined, `the refusal of call ${n + 2}`);
    expect(end(n + 2)).toBe(reason);
  }
  // A call that is over is not begun anew.
  puppet.heard.length = 0;
  const opened = puppet.sinks.length;
  say(open(3), { call: 1, step: { case: "reset", value: {} } }, open(8));
  await until(() => puppet.heard.includes("cancel connection_lost"), "the reset");
  await until(() => puppet.sinks.length > opened, "the last call's open");
  puppet.frame(0);
  await until(() => outputs(8) === 1, "the last call's output");
  expect(puppet.sinks.length).toBe(opened + 1);
  expect(closed()).toBe(undefined);
  expect(served.service.inFlight).toBe(1);
});
