/**
 * 10,000 connections that do nothing, against each kind of server: held up to the bound, refused beyond it with the reason,
 * while a call beside them goes on. The clients are a process of their own, as in life: in one process each connection
 * costs two file descriptors, and the limit of the process (`ulimit -n`) is met before any bound of the server.
 */
import { type ChildProcess, execFileSync, fork } from "node:child_process";
import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { InvokeRequestSchema, ProviderService } from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import { connectRpc, rpcErrorOf } from "@rspp/rpc/clients";
import type { RpcError } from "@rspp/rpc/errors";
import { openChannel, openDuplex } from "@rspp/rpc/grpc-client";
import { bidiMethod, startGrpcServer } from "@rspp/rpc/grpc-server";
import { limits } from "@rspp/rpc/limits";
import { startRpcServer } from "@rspp/rpc/server";
import { HealthService } from "@rspp/rpc/well-known";
import { limits as webSocketLimits } from "@rspp/transport-websocket/limits";
import { openWebSocketTransport } from "@rspp/transport-websocket/server";
import { expect, onTestFinished, test } from "vitest";
import type { IdleCounts, IdleOrder } from "./idle-clients.ts";
import { clock, until, verifier } from "./websocket-rig.ts";

const count = 10_000;
const descriptors = Number(execFileSync("sh", ["-c", "ulimit -n"], { encoding: "utf8" }));
const enough = !(descriptors < count + 2_000);
if (!enough)
  console.warn(`idle connections: not tried, ulimit -n is ${descriptors}; set it to ${count + 2_000} or more`);

class Crowd {
  readonly #child: ChildProcess;

  constructor() {
    this.#child = fork(new URL("./idle-clients.ts", import.meta.url).pathname, { execArgv: [] });
    onTestFinished(() => void this.#child.kill());
  }

  ask(order: IdleOrder = {}): Promise<IdleCounts> {
    return new Promise((resolve) => {
      this.#child.once("message", (counts) => resolve(counts as IdleCounts));
      this.#child.send(order);
    });
  }

  open(port: number, hello: string): Promise<IdleCounts> {
    return this.ask({ open: { port, count, hello: Buffer.from(hello, "latin1").toString("base64"), atOnce: 200 } });
  }
}

/** HTTP/2's preface and empty SETTINGS. */
const http2Hello = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const upgradeHello = [
  "GET /v1/session HTTP/1.1",
  "Host: idle",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Protocol: rspp.v1.json",
  "\r\n",
].join("\r\n");

function residentKb(): number {
  return process.memoryUsage().rss / 1_024;
}

function tell(what: string, held: number, { toldWhy, closed }: IdleCounts, beforeKb: number, slowestMs: number): void {
  const eachKb = (residentKb() - beforeKb) / held;
  console.info(
    `idle connections, ${what}: ${held} held of ${count}, ${closed} refused, ${toldWhy} of them told why, ` +
      `${eachKb.toFixed(1)} KB of resident memory each, a call beside them ${slowestMs.toFixed(0)} ms at most`,
  );
}

/** Calls again and again until told to end; the slowest in milliseconds. */
async function beside(call: () => Promise<unknown>, over: () => boolean): Promise<number> {
  let slowestMs = 0;
  while (!over()) {
    const startMs = performance.now();
    await call();
    slowestMs = Math.max(slowestMs, performance.now() - startMs);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return slowestMs;
}

async function crowded(crowd: Crowd, port: number, hello: string, call: () => Promise<unknown>) {
  let over = false;
  const slowest = beside(call, () => over);
  await crowd.open(port, hello);
  // Those past the bound that are told why are held for a moment.
  await until(() => true, "a turn");
  const endMs = performance.now() + 15_000;
  let counts = await crowd.ask();
  for (let last = -1; counts.closed !== last && performance.now() < endMs; ) {
    last = counts.closed;
    await new Promise((resolve) => setTimeout(resolve, limits.RPC_OVERFLOW_MS + 500));
    counts = await crowd.ask();
  }
  over = true;
  return { counts, slowestMs: await slowest };
}

test.runIf(enough)("10,000 idle connections against a Connect server", { timeout: 60_000 }, async () => {
  const server = await startRpcServer({ domain: "registry", port: 0, routes: [] });
  onTestFinished(async () => void (await server.stop(0)));
  const rpc = () => connectRpc({ baseUrl: `http://127.0.0.1:${server.port}`, domain: "registry", attemptsMax: 1 });
  const first = rpc().client(HealthService);
  await first.check({});
  const beforeKb = residentKb();
  const crowd = new Crowd();
  const { counts, slowestMs } = await crowded(crowd, server.port, http2Hello, () => first.check({}));
  expect(server.connections()).toBe(limits.RPC_CONNECTIONS_MAX);
  expect(counts.held).toBe(limits.RPC_CONNECTIONS_MAX - 1);
  expect(counts.toldWhy).toBeGreaterThan(0);
  tell("Connect", counts.held, counts, beforeKb, slowestMs);
  const late = await rpc()
    .client(HealthService)
    .check({})
    .then(
      () => null,
      (failure: unknown) => rpcErrorOf(failure, "registry"),
    );
  expect(late?.reason).toBe(ErrorReason.CAPACITY_EXHAUSTED);
  expect(late?.detail).toMatchObject({ domain: "registry", metadata: { what: "connections", limit: "4096" } });
  const http1 = await fetch(`http://127.0.0.1:${server.port}/livez`);
  expect([http1.status, (await http1.json()) as object]).toMatchObject([429, { code: "resource_exhausted" }]);
  await crowd.ask({ close: true });
  await until(() => server.connections() === 1, "all gone but the one that calls");
  expect((await rpc().client(HealthService).check({})).status).toBe(1);
});

test.runIf(enough)("10,000 idle connections against a grpc-js server", { timeout: 60_000 }, async () => {
  const { invoke } = ProviderService.method;
  const method = bidiMethod(invoke, (duplex) => ({ onMessage: () => undefined, onEnd: () => duplex.end() }));
  const server = await startGrpcServer({
    domain: "provider-gateway",
    port: 0,
    services: [{ service: ProviderService, methods: { invoke: method } }],
  });
  onTestFinished(async () => void (await server.stop(0)));
  const channelOf = () => {
    const channel = openChannel({ address: `127.0.0.1:${server.port}` });
    onTestFinished(() => channel.close());
    return channel;
  };
  const call = (channel: ReturnType<typeof openChannel>) =>
    new Promise<RpcError | null>((resolve) => {
      const duplex = openDuplex(channel, invoke, { onMessage: () => undefined, onClosed: resolve });
      duplex.write(create(InvokeRequestSchema, { message: { case: "credit", value: { chunks: 1 } } }));
      duplex.end();
    });
  const first = channelOf();
  expect(await call(first)).toBe(null);
  const beforeKb = residentKb();
  const crowd = new Crowd();
  const { counts, slowestMs } = await crowded(crowd, server.port, http2Hello, () => call(first));
  expect(server.connections()).toBe(limits.RPC_CONNECTIONS_MAX);
  expect(counts.toldWhy).toBeGreaterThan(0);
  tell("grpc-js", counts.held, counts, beforeKb, slowestMs);
  expect(await call(channelOf())).toMatchObject({ reason: ErrorReason.CAPACITY_EXHAUSTED });
  expect(await call(first)).toBe(null);
  await crowd.ask({ close: true });
  await until(() => server.connections() === 1, "all gone but the one that calls");
  expect(await call(channelOf())).toBe(null);
});

test.runIf(enough)("10,000 idle connections against the WebSocket transport", { timeout: 60_000 }, async () => {
  const never = () => Promise.reject(new Error("nobody opens"));
  const transport = await openWebSocketTransport({ port: 0, clock, verifier, openSession: never });
  onTestFinished(() => transport.close());
  const beforeKb = residentKb();
  const crowd = new Crowd();
  const page = async () => {
    const answer = await fetch(transport.url.replace("ws:", "http:"), { headers: { connection: "close" } });
    expect(answer.status).toBe(426);
    await answer.text();
  };
  let most = 0;
  let over = false;
  const slowest = beside(page, () => {
    most = Math.max(most, transport.stats().unopened);
    return over;
  });
  await crowd.open(transport.port, upgradeHello);
  over = true;
  // As many as may be unopened are held until their deadline; the rest is told to come again.
  await until(() => transport.stats().connections === 0, "all given up at their deadlines");
  const counts = await crowd.ask();
  expect(most).toBeLessThanOrEqual(webSocketLimits.UNOPENED_MAX);
  expect(transport.stats().refused.capacity_exhausted).toBeGreaterThan(0);
  const { capacity_exhausted: full = 0, deadline_exceeded: late = 0 } = transport.stats().refused;
  expect(full + late).toBe(count);
  expect(counts.connected).toBe(count);
  tell("WebSocket", most, { ...counts, closed: full }, beforeKb, await slowest);
  await until(() => transport.stats().connections === 0, "all gone");
});

test.runIf(enough)(
  "10,000 connections that say nothing at all: every one is taken, and let go at its deadline",
  { timeout: 60_000 },
  async () => {
    const transport = await openWebSocketTransport({
      port: 0,
      clock,
      verifier,
      openSession: () => Promise.reject(new Error("nobody opens")),
    });
    onTestFinished(() => transport.close());
    const crowd = new Crowd();
    expect(await crowd.open(transport.port, "")).toMatchObject({ connected: count, failed: 0 });
    await crowd.ask({ close: true });
  },
);
