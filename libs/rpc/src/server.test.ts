import { execFile } from "node:child_process";
import { connect } from "node:net";
import { promisify } from "node:util";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { ErrorDetailSchema, ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { GetPipelineRequestSchema, RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { afterEach, describe, expect, test } from "vitest";
import { fromConnectError, RpcError, rpcError } from "./errors.ts";
import { startGrpcServer } from "./grpc-server.ts";
import { grpcHealth, Health } from "./health.ts";
import type { LogFields } from "./log.ts";
import { grpcReflection, Reflection } from "./reflection.ts";
import { route } from "./route.ts";
import { type RpcServer, type RpcServerOptions, startRpcServer } from "./server.ts";
import { HealthService } from "./well-known.ts";

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

const registry = route(RegistryService, {
  getPipeline: async ({ tenantId, name }, { signal }) => {
    if (name === "missing") throw rpcError(ErrorReason.NOT_FOUND, { domain: "registry", metadata: { name } });
    if (name === "broken") throw new Error(`cannot reach postgres://rspp:hunter2@db for ${tenantId}`);
    if (name === "hangs") await new Promise((resolve) => signal.addEventListener("abort", resolve));
    return {};
  },
});

async function start(more: Partial<RpcServerOptions> = {}): Promise<RpcServer> {
  const server = await startRpcServer({ domain: "registry", port: 0, routes: [registry], ...more });
  stops.push(() => server.stop(200));
  return server;
}

const transports: Record<string, (baseUrl: string) => Transport> = {
  grpc: (baseUrl) => createGrpcTransport({ baseUrl }),
  "grpc-web on HTTP/1.1": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  "connect on HTTP/1.1": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  "connect on HTTP/2": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" }),
};

const request = { tenantId: "acme", name: "voice-assistant" };

async function failureOf(call: Promise<unknown>): Promise<RpcError> {
  const failure = await call.then(
    () => new Error("it succeeded"),
    (thrown: unknown) => thrown,
  );
  if (failure instanceof ConnectError) return fromConnectError(failure, "no-detail");
  throw failure;
}

describe.each(Object.entries(transports))("one port over %s", (_name, transportOf) => {
  test("answers, refuses with field and remedy, and says nothing of its defects", async () => {
    const server = await start();
    const client = createClient(RegistryService, transportOf(`http://127.0.0.1:${server.port}`));
    expect(await client.getPipeline(request)).toBeDefined();
    const missing = await failureOf(client.getPipeline({ ...request, name: "missing" }));
    expect(missing.detail).toMatchObject({
      reason: ErrorReason.NOT_FOUND,
      domain: "registry",
      metadata: { name: "missing" },
    });
    expect(missing.detail.remedy).not.toBe("");
    const invalid = await failureOf(client.getPipeline({ ...request, tenantId: "" }));
    expect(invalid.code).toBe(Code.InvalidArgument);
    expect(invalid.detail.violations[0]).toMatchObject({ field: "tenant_id", rule: "string.min_len" });
    expect(invalid.message).toContain("set tenant_id");
    const broken = await failureOf(client.getPipeline({ ...request, name: "broken" }));
    expect(broken.reason).toBe(ErrorReason.RUNTIME_INTERNAL_ERROR);
    expect(broken.message).not.toContain("hunter2");
    expect(broken.detail.metadata.incident).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("refuses what is too large, with the bound", async () => {
    const server = await start({ messageBytesMax: 1_000 });
    const client = createClient(RegistryService, transportOf(`http://127.0.0.1:${server.port}`));
    const large = await failureOf(client.getPipeline({ ...request, name: "n".repeat(2_000) }));
    expect(large.detail).toMatchObject({ reason: ErrorReason.MESSAGE_TOO_LARGE, metadata: { bytes_max: "1000" } });
  });

  test("ends a call by its deadline, whatever the handler does", async () => {
    const server = await start({ deadlineDefaultMs: 30, deadlineMaxMs: 40 });
    const client = createClient(RegistryService, transportOf(`http://127.0.0.1:${server.port}`));
    for (const options of [{}, { timeoutMs: 60_000 }]) {
      const late = await failureOf(client.getPipeline({ ...request, name: "hangs" }, options));
      expect(late.reason).toBe(ErrorReason.DEADLINE_EXCEEDED);
    }
  });
});

describe("malformed input", () => {
  test("NF-013 bytes and JSON that are no message name what is wrong, without their text", async () => {
    const server = await start();
    const url = `http://127.0.0.1:${server.port}/rspp.registry.v1.RegistryService/GetPipeline`;
    const post = async (type: string, body: string | Uint8Array) => {
      const answer = await fetch(url, { method: "POST", headers: { "content-type": type }, body });
      return { status: answer.status, text: await answer.text() };
    };
    const truncated = toBinary(GetPipelineRequestSchema, create(GetPipelineRequestSchema, request)).subarray(0, 4);
    const binary = await post("application/proto", truncated);
    expect(binary.status).toBe(400);
    expect(binary.text).toContain("malformed_frame");
    const wrongType = await post("application/json", `{"tenantId": {"secret": "hunter2"}}`);
    expect(wrongType.text).toContain("rspp.registry.v1.GetPipelineRequest.tenant_id");
    expect(wrongType.text).not.toContain("hunter2");
    expect((await post("text/plain", "hello")).status).toBe(415);
    const unknown = await fetch(`${url}X`, { method: "POST", headers: { "content-type": "application/grpc" } });
    expect(unknown.headers.get("grpc-status")).toBe(String(Code.Unimplemented));
    const bin = Buffer.from(unknown.headers.get("grpc-status-details-bin") ?? "", "base64");
    expect(bin.length).toBeGreaterThan(10);
    expect(fromBinary(ErrorDetailSchema, new Uint8Array()).reason).toBe(0);
  });
});

test("NF-013 whatever bytes come first, the port goes on answering", async () => {
  const server = await start();
  const noise = [
    "\r\n\r\n",
    "GARBAGE",
    "PR",
    "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    "\x16\x03\x01\x02",
    "GET / HTTP/9.9\r\n\r\n",
  ];
  const sockets = noise.map((text) => {
    const socket = connect({ host: "127.0.0.1", port: server.port });
    socket.on("error", () => undefined);
    socket.write(text);
    return socket;
  });
  const client = createClient(RegistryService, createGrpcTransport({ baseUrl: `http://127.0.0.1:${server.port}` }));
  for (let n = 0; n < 3; n++) expect(await client.getPipeline(request)).toBeDefined();
  for (const socket of sockets) socket.destroy();
});

describe("starting and stopping", () => {
  test("NF-015 a taken port is a clear error", async () => {
    const server = await start();
    const again = await start({ port: server.port }).catch((failure: unknown) => failure);
    expect(again).toBeInstanceOf(RpcError);
    expect((again as RpcError).detail.metadata).toMatchObject({ port: String(server.port), problem: "EADDRINUSE" });
    expect((again as RpcError).message).toContain("Another process listens there");
  });

  test("a call that runs finishes before the server is gone; one that hangs is ended after the grace", async () => {
    let finish: () => void = () => undefined;
    let started: () => void = () => undefined;
    const running = new Promise<void>((resolve) => {
      started = resolve;
    });
    const slow = route(RegistryService, {
      getPipeline: async () => {
        started();
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        return {};
      },
    });
    for (const finishes of [true, false]) {
      const server = await startRpcServer({ domain: "registry", port: 0, routes: [slow] });
      const client = createClient(RegistryService, createGrpcTransport({ baseUrl: `http://127.0.0.1:${server.port}` }));
      const call = client.getPipeline(request).then(
        () => "answered",
        () => "ended",
      );
      await running;
      await expect.poll(() => server.connections()).toBe(1);
      const stopped = server.stop(finishes ? 5_000 : 100);
      expect(server.health.ready).toBe(false);
      if (finishes) finish();
      expect(await stopped).toBe(finishes);
      expect(await call).toBe(finishes ? "answered" : "ended");
    }
  });

  test("connections past the bound are closed; those that say nothing cost no more", async () => {
    const server = await start({ connectionsMax: 2 });
    const baseUrl = `http://127.0.0.1:${server.port}`;
    const one = createClient(RegistryService, createGrpcTransport({ baseUrl }));
    const two = createClient(RegistryService, createGrpcTransport({ baseUrl }));
    const three = createClient(RegistryService, createGrpcTransport({ baseUrl }));
    await Promise.all([one.getPipeline(request), two.getPipeline(request)]);
    await expect(three.getPipeline(request)).rejects.toThrow();
    await one.getPipeline(request);
  });
});

describe("F-108 health", () => {
  test("over HTTP and gRPC: alive while not ready, and a watcher is told of the change", async () => {
    const health = new Health([RegistryService.typeName]);
    health.setReady(false, ["database"]);
    const server = await start({ health });
    const base = `http://127.0.0.1:${server.port}`;
    expect((await fetch(`${base}/livez`)).status).toBe(200);
    const unready = await fetch(`${base}/readyz`);
    expect([unready.status, await unready.json()]).toEqual([503, { status: "not ready", missing: ["database"] }]);
    const client = createClient(HealthService, createGrpcTransport({ baseUrl: base }));
    expect((await client.check({ service: RegistryService.typeName })).status).toBe(2);
    expect((await failureOf(client.check({ service: "nobody" }))).code).toBe(Code.NotFound);
    const statuses: number[] = [];
    for await (const { status } of client.watch({ service: "" })) {
      statuses.push(status);
      if (statuses.length === 2) break;
      health.setReady(true);
    }
    expect(statuses).toEqual([2, 1]);
    expect((await fetch(`${base}/readyz`)).status).toBe(200);
  });
});

const run = promisify(execFile);

/** `buf curl` as a user would call it. */
async function bufCurl(port: number, path: string, ...args: string[]): Promise<string> {
  const base = ["--no-install", "buf", "curl", "--protocol", "grpc", "--http2-prior-knowledge"];
  const { stdout } = await run("npx", [...base, ...args, `http://127.0.0.1:${port}${path}`]);
  return stdout;
}

describe.each(["connect", "grpc-js"] as const)("buf curl at a server of %s", (stack) => {
  async function serve(): Promise<number> {
    if (stack === "connect") return (await start({ routes: [registry] })).port;
    const health = new Health([SessionService.typeName]);
    health.setReady(true);
    const services = [grpcHealth(health), ...grpcReflection(new Reflection([SessionService, RegistryService]))];
    const server = await startGrpcServer({ domain: "runtime", port: 0, services });
    stops.push(() => server.stop(200));
    return server.port;
  }

  test("lists, describes over both versions of reflection, and asks for health", async () => {
    const port = await serve();
    const [v1, v1alpha, health] = await Promise.all([
      bufCurl(port, "", "--list-methods", "--reflect-protocol", "grpc-v1"),
      bufCurl(port, "", "--list-methods", "--reflect-protocol", "grpc-v1alpha"),
      bufCurl(port, "/grpc.health.v1.Health/Check", "--reflect-protocol", "grpc-v1", "-d", "{}"),
    ]);
    for (const list of [v1, v1alpha]) {
      expect(list).toContain("rspp.registry.v1.RegistryService/GetPipeline");
      expect(list).toContain("grpc.health.v1.Health/Watch");
    }
    expect(JSON.parse(health)).toEqual({ status: "SERVING" });
    // The schema comes over reflection alone, with the imports of a large contract.
    const refused = await bufCurl(port, "/rspp.registry.v1.RegistryService/GetPipeline", "-d", "{}").catch(
      (failure: { stderr: string }) => failure.stderr,
    );
    expect(refused).toContain(stack === "connect" ? "tenant_id" : "unimplemented");
  });
});

test("F-117 a refused call's log line says what was refused and holds no text of the failure", async () => {
  const lines: { fields: LogFields; message: string }[] = [];
  const take = (fields: LogFields, message: string): void => void lines.push({ fields, message });
  const server = await start({ log: { isLevelEnabled: () => true, debug: take, info: take, warn: take, error: take } });
  const client = createClient(RegistryService, createGrpcTransport({ baseUrl: `http://127.0.0.1:${server.port}` }));
  await failureOf(client.getPipeline({ ...request, name: "broken" }));
  await failureOf(client.getPipeline({ ...request, name: "missing" }));
  const failed = lines.find(({ message }) => message === "rpc failed");
  expect(failed?.fields).toMatchObject({ rpc: "rspp.registry.v1.RegistryService/GetPipeline", cause: "Error" });
  expect(lines.some(({ message }) => message === "rpc refused")).toBe(true);
  expect(JSON.stringify(lines, (_, value) => (typeof value === "bigint" ? String(value) : value))).not.toContain(
    "hunter2",
  );
});
