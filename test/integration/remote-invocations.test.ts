import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import {
  InvokeRequestSchema,
  type InvokeResponse,
  ProviderService,
} from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import type { Invocation, InvocationOutcome, ProviderPort } from "@rspp/ports/provider";
import { describeProviders } from "@rspp/provider-gateway/descriptors";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { watchHealth } from "@rspp/provider-gateway/health";
import { recorder, request } from "@rspp/provider-gateway/testing/recorder";
import { createRemoteProviders } from "@rspp/remote/invocation-client";
import { invocationLimits } from "@rspp/remote/invocation-limits";
import { invocationService } from "@rspp/remote/invocation-server";
import { connectRpc } from "@rspp/rpc/clients";
import type { RpcError } from "@rspp/rpc/errors";
import { openChannel, openDuplex } from "@rspp/rpc/grpc-client";
import { startGrpcServer } from "@rspp/rpc/grpc-server";
import { startRpcServer } from "@rspp/rpc/server";
import { expect, onTestFinished, test } from "vitest";

import { clock, Puppet, puppetRig, question, serve, until } from "./invocation-rig.ts";

test("F-055 an absent gateway: outcome disconnect at once, no providers, and all is well when it comes", async () => {
  const puppet = new Puppet();
  const gateway = createProviderGateway({ clock, providers: [puppet] });
  const first = await serve(gateway, [puppet]);
  await first.stop();
  const reachable: boolean[] = [];
  const remote = createRemoteProviders({
    address: first.address,
    clock,
    refreshMs: 20,
    onReachable: (there) => reachable.push(there),
  });
  onTestFinished(() => remote.close());
  expect(await remote.refresh()).toBe(false);
  expect(remote.providers()).toEqual([]);
  const sink = recorder();
  const startMs = performance.now();
  const invocation = remote.open(request({ modality: "tts", provider: puppet.name }), sink);
  expect(sink.outcomes).toEqual([]);
  expect((await sink.ended).kind).toBe("disconnect");
  expect(performance.now() - startMs).toBeLessThan(1_000);
  invocation.cancel("again");
  expect(sink.outcomes.length).toBe(1);
  const port = Number(first.address.split(":")[1]);
  const health = watchHealth(gateway, clock, [puppet.name]);
  const service = invocationService(gateway, { clock, describe: () => describeProviders([puppet]), health });
  const again = await startGrpcServer({ domain: "provider-gateway", port, services: [service.grpc] });
  onTestFinished(async () => void (await again.stop(0)));
  await until(() => remote.providers().length > 0, "the gateway");
  expect(remote.providers()).toEqual([puppet.name]);
  expect(reachable).toEqual([false, true]);
});

test("F-055 a stream that dies in mid-invocation: one outcome disconnect, and the provider is told", async () => {
  const { puppet, served, open } = await puppetRig();
  const { sink, invocation } = open();
  invocation.push({ kind: "text", text: "hello", segment: 0 });
  await until(() => puppet.heard.length === 1, "the clause");
  puppet.frame(0);
  await until(() => sink.chunks.length === 1, "a frame");
  const stopped = served.grpc.stop(0);
  expect((await sink.ended).kind).toBe("disconnect");
  await stopped;
  await until(() => puppet.heard.includes("cancel connection_lost"), "the provider's end");
  expect(sink.outcomes.length).toBe(1);
});

test("F-055 a cancel overtakes input that waits for credit, and output that waits is dropped", async () => {
  const { puppet, open } = await puppetRig();
  const { sink, invocation } = open();
  const words = "word ".repeat(5_000);
  for (let segment = 0; segment < 100; segment++) invocation.push({ kind: "text", text: words, segment });
  invocation.finish();
  invocation.cancel("barge_in");
  expect(sink.outcomes.map(({ kind }) => kind)).toEqual(["cancelled"]);
  // Either the cancel came by itself, or the stream was reset over what the transport held.
  await until(() => puppet.heard.some((word) => word.startsWith("cancel")) || puppet.sinks.length === 0, "the cancel");
  expect(puppet.heard).not.toContain("finish");
  expect(puppet.heard.length).toBeLessThan(64);
});

test("F-055 the typed reason of a cancel arrives", async () => {
  const { puppet, open } = await puppetRig();
  const { invocation } = open();
  await until(() => puppet.sinks.length === 1, "the open");
  invocation.cancel("barge_in");
  await until(() => puppet.heard.length > 0, "the cancel");
  expect(puppet.heard).toEqual(["cancel barge_in"]);
});

test("more output than a window of credit arrives whole and in order, and so does more input", async () => {
  const { puppet, open } = await puppetRig();
  const { sink, invocation } = open();
  for (let segment = 0; segment < 500; segment++) invocation.push({ kind: "text", text: `clause ${segment}`, segment });
  invocation.finish();
  await until(() => puppet.heard.at(-1) === "finish", "all input");
  expect(puppet.heard).toEqual([...Array.from({ length: 500 }, (_, n) => `${n}`), "finish"]);
  for (let n = 0; n < 3_000; n++) puppet.frame(n);
  puppet.sinks[0]?.outcome({ kind: "success", detail: "", usage: { characters: 5 } });
  const outcome = await sink.ended;
  expect(outcome).toEqual({ kind: "success", detail: "", usage: { characters: 5 } } satisfies InvocationOutcome);
  expect(sink.chunks.map((chunk) => (chunk.kind === "audio" ? chunk.segment : -1))).toEqual(
    Array.from({ length: 3_000 }, (_, n) => n),
  );
});

test("the first output is on its way at once", async () => {
  const { puppet, remote } = await puppetRig();
  const delaysMs: number[] = [];
  for (let n = 0; n < 30; n++) {
    const { promise, resolve } = Promise.withResolvers<number>();
    const sink = recorder(() => resolve(performance.now()));
    remote.open(request({ modality: "tts", provider: puppet.name }), sink);
    await until(() => puppet.sinks.length === n + 1, "the open");
    const sentMs = performance.now();
    puppet.frame(0);
    delaysMs.push((await promise) - sentMs);
    puppet.sinks.at(-1)?.outcome({ kind: "success", detail: "" });
    await sink.ended;
  }
  const median = delaysMs.sort((a, b) => a - b)[15] ?? Number.NaN;
  console.info(`remote providers: first output after ${median.toFixed(2)} ms, median`);
  expect(median).toBeLessThan(20);
});

test("past its maximum the gateway ends in overload, and a caller past its own too", async () => {
  const { remote, puppet, open, served } = await puppetRig({ invocationsMax: 2 }, { invocationsMax: 3 });
  open();
  open();
  await until(() => puppet.sinks.length === 2, "two");
  const third = open();
  expect((await third.sink.ended).kind).toBe("overload");
  await until(() => remote.inFlight === 2, "the third's stream to end");
  open();
  const fifth = open();
  expect((await fifth.sink.ended).detail).toContain("invocations run already");
  expect(served.service.inFlight).toBe(2);
});

test("F-156 a lower epoch is refused by the gateway's authority table, tenants apart", async () => {
  const { puppet, open } = await puppetRig(
    {},
    { origin: ({ turn }) => ({ tenantId: `t${turn}`, nodeId: "n", attempt: 1 }) },
  );
  open({ epoch: 5, turn: 1 });
  await until(() => puppet.sinks.length === 1, "the first");
  const stale = open({ epoch: 4, turn: 1 });
  expect(await stale.sink.ended).toMatchObject({ kind: "error", detail: expect.stringContaining("stale_epoch") });
  open({ epoch: 4, turn: 2 });
  await until(() => puppet.sinks.length === 2, "another tenant's session of the same id");
});

test("a gateway that does not answer: disconnect within the time given", async () => {
  const mute: Invocation = { push: () => {}, finish: () => {}, cancel: () => {} };
  const silent: ProviderPort = { open: () => mute, providers: () => [], close: async () => {} };
  const served = await serve(silent, [], {});
  const remote = createRemoteProviders({ address: served.address, clock, acceptTimeoutMs: 50 });
  onTestFinished(async () => {
    await remote.close();
    await served.stop();
  });
  const sink = recorder();
  remote.open(request({ modality: "tts", provider: "local/flite" }), sink);
  expect(await sink.ended).toMatchObject({ kind: "disconnect", detail: expect.stringContaining("50 ms") });
});

// --- bad callers ---

type RequestInit = MessageInitShape<typeof InvokeRequestSchema>["message"];
const openInit = {
  case: "open",
  value: {
    invocationId: "inv-1",
    session: { tenantId: "t", sessionId: "s" },
    authorityEpoch: 1n,
    nodeId: "say",
    attempt: 1,
    modality: 3,
    candidate: { provider: "local/flite" },
    idempotencyKey: "k",
  },
} as const;
const inputInit = (sequence: number) =>
  ({ case: "input", value: { sequence, input: { case: "text", value: { text: "a", segment: 0 } } } }) as const;

test("F-131 a caller that breaks the order is refused by name, and the provider's work ends", async () => {
  const { puppet, gateway, served } = await puppetRig();
  const channel = openChannel({ address: served.address });
  onTestFinished(() => channel.close());
  const cases: [RequestInit[], string, ErrorReason][] = [
    [[inputInit(1)], "first message is open", ErrorReason.OUT_OF_ORDER],
    [[openInit, openInit], "opened once", ErrorReason.OUT_OF_ORDER],
    [[openInit, inputInit(2)], "without gaps", ErrorReason.OUT_OF_ORDER],
    [[openInit, inputInit(1), inputInit(1)], "without gaps", ErrorReason.OUT_OF_ORDER],
    [
      [openInit, { case: "inputEnd", value: { lastSequence: 0 } }, inputInit(1)],
      "after input_end",
      ErrorReason.OUT_OF_ORDER,
    ],
    [[openInit, { case: "inputEnd", value: { lastSequence: 7 } }], "last_sequence", ErrorReason.OUT_OF_ORDER],
    [[{ case: undefined }], "message", ErrorReason.SCHEMA_VALIDATION_ERROR],
    [
      [{ case: "open", value: { ...openInit.value, authorityEpoch: 0n } }],
      "authority_epoch",
      ErrorReason.SCHEMA_VALIDATION_ERROR,
    ],
    [
      [
        openInit,
        {
          case: "input",
          value: {
            sequence: 1,
            input: { case: "audio", value: { format: { codec: 1, sampleRateHz: 16_000, channels: 1 } } },
          },
        },
      ],
      "tts takes text",
      ErrorReason.SCHEMA_VALIDATION_ERROR,
    ],
  ];
  for (const [messages, words, reason] of cases) {
    const error = await refusalOf(channel, messages);
    expect(error?.message).toContain(words);
    expect(error?.reason).toBe(reason);
  }
  const flood = [openInit, ...Array.from({ length: 3 }, (_, n) => inputInit(n + 1))] as RequestInit[];
  expect(await refusalOf(channel, flood, { endAfter: true })).toMatchObject({ reason: ErrorReason.OUT_OF_ORDER });
  await until(() => served.service.inFlight === 0, "all gone");
  expect(gateway.counters()).toMatchObject({ threw: 0, chunksAfterTerminal: 0 });
  expect(puppet.heard.filter((word) => word === "cancel connection_lost").length).toBeGreaterThan(0);
});

function refusalOf(
  channel: ReturnType<typeof openChannel>,
  messages: RequestInit[],
  { endAfter = false } = {},
): Promise<RpcError | null> {
  return new Promise((resolve) => {
    const duplex = openDuplex(channel, ProviderService.method.invoke, { onMessage: () => {}, onClosed: resolve });
    for (const message of messages) duplex.write(create(InvokeRequestSchema, { message } as never));
    if (endAfter) duplex.end();
  });
}

test("a caller that says all and ends its side gets everything, without giving credit", async () => {
  const { puppet, served } = await puppetRig();
  const channel = openChannel({ address: served.address });
  onTestFinished(() => channel.close());
  const seen: InvokeResponse["message"][] = [];
  const { promise, resolve } = Promise.withResolvers<RpcError | null>();
  const onMessage = ({ message }: InvokeResponse) => void seen.push(message);
  const duplex = openDuplex(channel, ProviderService.method.invoke, { onMessage, onClosed: resolve });
  for (const message of [openInit, inputInit(1), { case: "inputEnd", value: { lastSequence: 1 } }] as RequestInit[]) {
    duplex.write(create(InvokeRequestSchema, { message } as never));
  }
  duplex.end();
  await until(() => puppet.heard.at(-1) === "finish", "the input");
  for (let n = 0; n < 1_000; n++) puppet.frame(0);
  puppet.sinks[0]?.outcome({ kind: "success", detail: "" });
  expect(await promise).toBe(null);
  expect(seen.map(({ case: kind }) => kind)).toEqual(["accepted", ...Array<string>(1_000).fill("output"), "outcome"]);
  expect(seen.at(-1)?.value).toMatchObject({ lastOutputSequence: 1_000 });
});

// --- lists and health ---

test("F-108 providers are listed on both ports; health follows their outcomes: serving, degraded, down", async () => {
  const { puppet, served, open, remote } = await puppetRig();
  const api = await startRpcServer({ domain: "provider-gateway", port: 0, routes: [served.service.route] });
  onTestFinished(async () => void (await api.stop(0)));
  const rpc = connectRpc({ baseUrl: `http://127.0.0.1:${api.port}`, domain: "provider-gateway" });
  const client = rpc.client(ProviderService);
  const listed = (await client.listProviders({})).providers;
  expect(listed.map(({ name, available, terms }) => [name, available, terms])).toEqual([
    ["local/flite", true, "flite, small English voices"],
  ]);
  expect((await client.listProviders({ modality: 1 })).providers).toEqual([]);
  expect(remote.list()).toEqual([{ name: "local/flite", modality: "tts", available: true }]);
  const answer = async (kind: InvocationOutcome["kind"]) => {
    const before = puppet.sinks.length;
    const { sink } = open();
    await until(() => puppet.sinks.length > before, "the open");
    puppet.sinks.at(-1)?.outcome({ kind, detail: "" });
    await sink.ended;
  };
  const state = () => served.health.report()[0];
  for (let n = 0; n < 9; n++) await answer("success");
  expect(state()).toMatchObject({ state: "serving", outcomes: 9, failures: 0 });
  await answer("timeout");
  expect(state()).toMatchObject({ state: "degraded", outcomes: 10, failures: 1 });
  for (let n = 0; n < 4; n++) await answer("error");
  expect(state()).toMatchObject({ state: "down", failures: 5 });
  const end = new AbortController();
  const first = await client.watchProviderHealth({}, { signal: end.signal })[Symbol.asyncIterator]().next();
  end.abort();
  expect(first.value?.health[0]).toMatchObject({ provider: "local/flite", circuit: 2, inFlight: 0 });
  await answer("success");
  expect(state()).toMatchObject({ state: "degraded" });
});

// --- processes ---

async function startProcess(): Promise<{ child: ChildProcess; ready: { port: number; stream_port: number } }> {
  const main = new URL("../../services/provider-gateway/src/main.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [main, "--port", "0", "--stream-port", "0", "--log-level", "silent"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [line] = (await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), "line")) as [string];
  return { child, ready: JSON.parse(line) };
}

test("F-055 the gateway as a process: real speech; killed in mid-invocation, each ends in one outcome, within a bound", async () => {
  const { child, ready } = await startProcess();
  const remote = createRemoteProviders({ address: `127.0.0.1:${ready.stream_port}`, clock });
  onTestFinished(() => remote.close());
  expect(await remote.refresh()).toBe(true);
  expect(remote.providers()).toEqual(expect.arrayContaining(["local/flite", "local/responder", "sim/stt"]));
  const spoken = recorder();
  const say = remote.open(request({ modality: "tts", provider: "local/flite" }), spoken);
  say.push({ kind: "text", text: "Good morning.", segment: 0 });
  say.finish();
  expect((await spoken.ended).kind).toBe("success");
  expect(spoken.audio().length).toBeGreaterThan(10_000);
  const settings = { first_chunk_ms: 20, chunk_ms: 20 };
  const running = Array.from({ length: 20 }, () => {
    const sink = recorder();
    const invocation = remote.open(request({ modality: "llm", provider: "sim/llm", settings }), sink);
    const text = "word ".repeat(200);
    invocation.push({ kind: "messages", messages: [{ role: "user", text }] });
    return { sink, invocation };
  });
  await until(() => running.every(({ sink }) => sink.chunks.length > 0), "every answer to begin");
  const killedMs = performance.now();
  child.kill("SIGKILL");
  const outcomes = await Promise.all(running.map(({ sink }) => sink.ended));
  expect(performance.now() - killedMs).toBeLessThan(2_000);
  expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(["disconnect"]));
  for (const { invocation } of running) invocation.cancel("late");
  expect(running.every(({ sink }) => sink.outcomes.length === 1)).toBe(true);
  await until(() => remote.inFlight === 0, "no stream left");
  expect(invocationLimits.LINGER_MS).toBeLessThan(2_000);
});

test("F-108 SIGTERM: what runs is let finish, the process ends in order", async () => {
  const { child, ready } = await startProcess();
  const remote = createRemoteProviders({ address: `127.0.0.1:${ready.stream_port}`, clock });
  onTestFinished(() => remote.close());
  const sink = recorder();
  const settings = { first_chunk_ms: 100, chunk_ms: 10 };
  const invocation = remote.open(request({ modality: "llm", provider: "sim/llm", settings }), sink);
  invocation.push(question);
  await remote.refresh();
  child.kill("SIGTERM");
  expect((await sink.ended).kind).toBe("success");
  const [code] = (await once(child, "exit")) as [number];
  expect(code).toBe(0);
});
