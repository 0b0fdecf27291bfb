import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import {
  InvokeRequestSchema,
  type InvokeResponse,
  ProviderService,
} from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import { afterEach, describe, expect, test } from "vitest";
import type { Duplex, DuplexHandlers, InputOf, OutputOf } from "./duplex.ts";
import { type RpcError, rpcError } from "./errors.ts";
import { type GrpcChannel, openChannel, openDuplex } from "./grpc-client.ts";
import { bidiMethod, type CallInfo, type GrpcServer, type GrpcServerOptions, startGrpcServer } from "./grpc-server.ts";
import { startRpcServer } from "./server.ts";

type Invoke = typeof ProviderService.method.invoke;
type Accept = (duplex: Duplex<OutputOf<Invoke>>, info: CallInfo) => DuplexHandlers<InputOf<Invoke>>;

let server: GrpcServer | undefined;
const channels: GrpcChannel[] = [];
afterEach(async () => {
  for (const channel of channels.splice(0)) channel.close();
  await server?.stop(100);
});

async function serve(accept: Accept, more: Partial<GrpcServerOptions> = {}): Promise<GrpcServer> {
  const methods = { invoke: bidiMethod(ProviderService.method.invoke, accept) };
  server = await startGrpcServer({
    domain: "gateway",
    port: 0,
    services: [{ service: ProviderService, methods }],
    ...more,
  });
  return server;
}

interface Call {
  send(message: MessageInitShape<typeof InvokeRequestSchema>): void;
  end(): void;
  readonly got: InvokeResponse[];
  readonly ended: Promise<RpcError | null>;
}

function invoke(port: number, options: Parameters<typeof openDuplex>[3] = {}): Call {
  const channel = openChannel({ address: `127.0.0.1:${port}` });
  channels.push(channel);
  const got: InvokeResponse[] = [];
  let onClosed: (error: RpcError | null) => void = () => undefined;
  const ended = new Promise<RpcError | null>((resolve) => {
    onClosed = resolve;
  });
  const handlers = { onMessage: (message: InvokeResponse) => void got.push(message), onClosed };
  const duplex = openDuplex(channel, ProviderService.method.invoke, handlers, options);
  return { got, ended, end: () => duplex.end(), send: (m) => duplex.write(create(InvokeRequestSchema, m)) };
}

const credit = { message: { case: "credit" as const, value: { chunks: 1 } } };

test("an API server tells grpc-js that it has no such method, in gRPC's words", async () => {
  const api = await startRpcServer({ domain: "registry", port: 0, routes: [] });
  const call = invoke(api.port);
  call.send(credit);
  const ended = await call.ended;
  expect(ended).toMatchObject({
    reason: ErrorReason.NOT_FOUND,
    detail: { domain: "registry", metadata: { what: "rpc" } },
  });
  await api.stop(0);
});

describe("streams of grpc-js with messages of gen", () => {
  test("a stream that is failed in the turn it was opened in leaves nothing open at the server", async () => {
    let opened = 0;
    let closed = 0;
    const { port } = await serve(() => {
      opened++;
      return { onMessage: () => undefined, onClosed: () => void closed++ };
    });
    const channel = openChannel({ address: `127.0.0.1:${port}` });
    channels.push(channel);
    const failed = (before: () => Promise<void>): Promise<RpcError | null> =>
      new Promise((resolve) => {
        const handlers = { onMessage: () => undefined, onClosed: resolve };
        const duplex = openDuplex(channel, ProviderService.method.invoke, handlers);
        duplex.write(create(InvokeRequestSchema, credit));
        const fail = () => duplex.fail(rpcError(ErrorReason.DEADLINE_EXCEEDED, { domain: "test" }));
        void before().then(fail);
        if (before === now) fail();
      });
    const now = () => new Promise<void>(() => undefined);
    const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
    // Twice, since the first finds no connection yet.
    for (const before of [turn, now, now, () => Promise.resolve(), turn]) {
      expect((await failed(before))?.reason).toBe(ErrorReason.DEADLINE_EXCEEDED);
    }
    const last = invoke(port);
    last.send(credit);
    last.end();
    for (let n = 0; n < 500 && (opened === 0 || closed < opened - 1); n++) await turn();
    expect(opened).toBeGreaterThan(1);
    expect(closed).toBe(opened - 1);
  });

  test("messages go both ways in order, and both ends see the end", async () => {
    let closed: RpcError | null | undefined;
    const { port } = await serve((duplex, info) => {
      expect(info.header("x-test")).toBe("yes");
      return {
        onMessage: ({ message }) => {
          if (message.case === "credit") duplex.write({ $typeName: "rspp.provider.v1.InvokeResponse", message });
        },
        onEnd: () => duplex.end(),
        onClosed: (error) => {
          closed = error;
        },
      };
    });
    const call = invoke(port, { headers: { "x-test": "yes" } });
    for (let n = 0; n < 50; n++) call.send(credit);
    call.end();
    expect(await call.ended).toBe(null);
    expect(call.got.length).toBe(50);
    await expect.poll(() => closed).toBe(null);
  });

  test("a refusal by the handler, and a message that breaks its contract, arrive with reason and field", async () => {
    const refusing = await serve(() => {
      throw rpcError(ErrorReason.PROVIDER_UNKNOWN, { domain: "gateway", metadata: { names: "sim" } });
    });
    expect((await invoke(refusing.port).ended)?.detail).toMatchObject({
      reason: ErrorReason.PROVIDER_UNKNOWN,
      domain: "gateway",
    });
    await refusing.stop(50);
    const errors: string[] = [];
    const taking = await serve(() => ({ onMessage: () => undefined }), {
      onError: (method) => void errors.push(method),
    });
    const call = invoke(taking.port);
    call.send({});
    expect((await call.ended)?.detail).toMatchObject({
      reason: ErrorReason.SCHEMA_VALIDATION_ERROR,
      violations: [{ field: "message" }],
    });
    expect(errors).toEqual(["Invoke"]);
  });

  test("a handler that throws says nothing of itself", async () => {
    const { port } = await serve(() => ({
      onMessage: () => {
        throw new Error("key hunter2 is wrong");
      },
    }));
    const call = invoke(port);
    call.send(credit);
    const error = await call.ended;
    expect(error?.reason).toBe(ErrorReason.RUNTIME_INTERNAL_ERROR);
    expect(JSON.stringify(error?.detail)).not.toContain("hunter2");
  });

  test("a deadline, a server that goes and one that is not there end the stream with the reason", async () => {
    let messages = 0;
    const { port } = await serve(() => ({ onMessage: () => void messages++ }));
    expect((await invoke(port, { deadlineMs: 50 }).ended)?.reason).toBe(ErrorReason.DEADLINE_EXCEEDED);
    const call = invoke(port);
    call.send(credit);
    await expect.poll(() => messages).toBe(1);
    expect(await server?.stop(50)).toBe(false);
    expect((await call.ended)?.retryable).toBe(true);
    expect((await invoke(1).ended)?.detail).toMatchObject({ reason: ErrorReason.DEPENDENCY_UNAVAILABLE });
  });
});
