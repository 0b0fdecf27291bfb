import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { ProviderService } from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { afterEach, describe, expect, test } from "vitest";
import { CallGuard } from "./call-guard.ts";
import { connectDirect, connectRpc, rpcErrorOf } from "./clients.ts";
import { type RpcError, rpcError } from "./errors.ts";
import { callUnary, openChannel, openDuplex } from "./grpc-client.ts";
import { bidiMethod, type GrpcServer, startGrpcServer } from "./grpc-server.ts";
import { grpcHealth, Health } from "./health.ts";
import { LiveCertificates } from "./live-certificates.ts";
import { grpcReflection, Reflection } from "./reflection.ts";
import { route } from "./route.ts";
import { type RpcServer, startRpcServer } from "./server.ts";
import { HealthService, reflectionContracts } from "./well-known.ts";

// Certificates made on the spot: a key in the repository would be one too many.

function der(tag: number, ...parts: (Buffer | number[])[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const { length } = body;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}

const sha256WithEcdsa = der(0x30, der(0x06, [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));

function nameOf(name: string): Buffer {
  const attribute = der(0x30, der(0x06, [0x55, 0x04, 0x03]), der(0x0c, Buffer.from(name)));
  return der(0x30, der(0x31, attribute));
}

function extension(id: number, value: Buffer): Buffer {
  return der(0x30, der(0x06, [0x55, 0x1d, id]), der(0x01, [0xff]), der(0x04, value));
}

interface Authority {
  readonly name: string;
  readonly key: KeyObject;
}

/** A certificate as PEM: of an authority itself, or of `name` with localhost and 127.0.0.1. */
function certificate(name: string, publicKey: KeyObject, issuer: Authority): string {
  const utc = (text: string): Buffer => der(0x17, Buffer.from(text));
  const isAuthority = issuer.name === name;
  const extensions = isAuthority
    ? extension(0x13, der(0x30, der(0x01, [0xff])))
    : extension(0x11, der(0x30, der(0x82, Buffer.from("localhost")), der(0x87, [127, 0, 0, 1])));
  const body = der(
    0x30,
    der(0xa0, der(0x02, [2])),
    der(0x02, [isAuthority ? 1 : 2]),
    sha256WithEcdsa,
    nameOf(issuer.name),
    der(0x30, utc("200101000000Z"), utc("491231235959Z")),
    nameOf(name),
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, der(0x30, extensions)),
  );
  const signature = sign("sha256", body, issuer.key);
  const bytes = der(0x30, body, sha256WithEcdsa, der(0x03, [0], signature));
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function pairOf(name: string, issuer?: Authority) {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const cert = certificate(name, createPublicKey(privateKey), issuer ?? { name, key: privateKey });
  return { cert, key, authority: { name, key: privateKey } };
}

const ca = pairOf("test-ca");
const serverPair = pairOf("registry", ca.authority);
const clientPair = pairOf("runtime-1", ca.authority);
const stranger = pairOf("stranger", pairOf("other-ca").authority);

let server: RpcServer | GrpcServer | undefined;
afterEach(async () => {
  await server?.stop(100);
});

const tlsOf = ({ cert, key }: { cert: string; key: string }) => ({ cert, key });

describe("TLS and mutual TLS", () => {
  test("the Connect stack: gRPC over HTTP/2 and Connect over HTTP/1.1 on one TLS port", async () => {
    server = await startRpcServer({ domain: "registry", port: 0, routes: [], tls: tlsOf(serverPair) });
    const baseUrl = `https://localhost:${server.port}`;
    const grpc = connectRpc({ baseUrl, domain: "registry", tls: { ca: ca.cert } }).client(HealthService);
    expect((await grpc.check({})).status).toBe(1);
    const http1 = createConnectTransport({ baseUrl, httpVersion: "1.1", nodeOptions: { ca: ca.cert } });
    expect((await createClient(HealthService, http1).check({})).status).toBe(1);
    const distrustful = connectRpc({ baseUrl, domain: "registry", attemptsMax: 1 }).client(HealthService);
    await expect(distrustful.check({})).rejects.toThrow();
  });

  test("the Connect stack takes only clients its authority signed, when it has one", async () => {
    const tls = { ...tlsOf(serverPair), ca: ca.cert };
    server = await startRpcServer({ domain: "registry", port: 0, routes: [], tls });
    const baseUrl = `https://localhost:${server.port}`;
    const check = (own: object) =>
      connectRpc({ baseUrl, domain: "registry", attemptsMax: 1, tls: { ca: ca.cert, ...own } })
        .client(HealthService)
        .check({})
        .then(
          ({ status }) => status,
          (failure: unknown) => rpcErrorOf(failure, "registry").code,
        );
    expect(await check(tlsOf(clientPair))).toBe(1);
    expect(await check({})).not.toBe(1);
    expect(await check(tlsOf(stranger))).not.toBe(1);
  });

  test("grpc-js: the same, and the handler knows the client's names", async () => {
    const health = new Health([]);
    const tls = { ...tlsOf(serverPair), ca: ca.cert };
    const services = [grpcHealth(health), ...grpcReflection(new Reflection([]))];
    const started = await startGrpcServer({ domain: "runtime", port: 0, services, tls });
    server = started;
    const list = (own: object) =>
      new Promise<number | RpcError | null>((resolve) => {
        const channel = openChannel({ address: `localhost:${started.port}`, tls: { ca: ca.cert, ...own } });
        const contract = reflectionContracts[0]!;
        const { serverReflectionInfo } = contract.service.method;
        const finish = (result: number | RpcError | null): void => {
          channel.close();
          resolve(result);
        };
        const duplex = openDuplex(channel, serverReflectionInfo, {
          onMessage: ({ messageResponse }) => {
            finish(messageResponse.case === "listServicesResponse" ? messageResponse.value.service.length : 0);
          },
          onClosed: finish,
        });
        duplex.write(create(serverReflectionInfo.input, { messageRequest: { case: "listServices", value: "" } }));
      });
    expect(await list(tlsOf(clientPair))).toBe(3);
    expect(await list(tlsOf(stranger))).toMatchObject({ retryable: true });
  });

  test("F-119 with peer names only those may call, on both stacks; health answers all that the CA has signed", async () => {
    const guardOf = (...peerNames: string[]) => new CallGuard({ domain: "registry", mutualTls: true, peerNames });
    const tls = { ...tlsOf(serverPair), ca: ca.cert };
    const listKeys = route(RegistryService, { listTokenKeys: () => ({ keys: [] }) });
    for (const [names, allowed] of [
      [["runtime-1"], true],
      [["lease-1", "localhost"], true],
      [["lease-1"], false],
      [[], true],
    ] as const) {
      const guard = guardOf(...names);
      const api = await startRpcServer({ domain: "registry", port: 0, routes: [listKeys], tls, guard });
      const client = { ca: ca.cert, ...tlsOf(clientPair) };
      const rpc = connectRpc({ baseUrl: `https://localhost:${api.port}`, domain: "registry", tls: client });
      const seen = await rpc
        .client(RegistryService)
        .listTokenKeys({})
        .then(
          () => null,
          (failure: unknown) => rpcErrorOf(failure, "registry").reason,
        );
      expect(seen).toBe(allowed ? null : ErrorReason.PERMISSION_DENIED);
      expect((await rpc.client(HealthService).check({})).status).toBe(1);
      // In the same process without a socket there is no certificate, and none is needed.
      const direct = connectDirect(api.handlers, { domain: "registry" });
      expect((await direct.client(RegistryService).listTokenKeys({})).keys).toEqual([]);
      await api.stop(0);
      const accept = () => ({ onMessage: () => undefined });
      const methods = { invoke: bidiMethod(ProviderService.method.invoke, accept) };
      const services = [{ service: ProviderService, methods }];
      const grpc = await startGrpcServer({ domain: "gateway", port: 0, services, tls, guard });
      const channel = openChannel({ address: `localhost:${grpc.port}`, tls: client });
      const refused = await new Promise<RpcError | null>((resolve) => {
        const handlers = { onMessage: () => undefined, onClosed: resolve };
        const duplex = openDuplex(channel, ProviderService.method.invoke, handlers);
        if (allowed) setTimeout(() => duplex.fail(rpcError(ErrorReason.DRAINING, { domain: "test" })), 50);
      });
      expect(refused?.reason).toBe(allowed ? ErrorReason.DRAINING : ErrorReason.PERMISSION_DENIED);
      channel.close();
      await grpc.stop(0);
    }
  });
});

describe("F-120 certificates change while the process runs", () => {
  const nextCa = pairOf("next-ca");
  const nextServer = pairOf("registry", nextCa.authority);
  const nextClient = pairOf("runtime-1", nextCa.authority);
  const both = `${ca.cert}${nextCa.cert}`;
  const serverAt = (pair: { cert: string; key: string }, trusted: string) => ({ ...tlsOf(pair), ca: trusted });

  test("the Connect stack: new connections have the new ones, a stream that is open lives on", async () => {
    const live = new LiveCertificates(serverAt(serverPair, ca.cert));
    const started = await startRpcServer({
      domain: "registry",
      port: 0,
      routes: [],
      tls: { ...serverAt(serverPair, ca.cert), live },
    });
    server = started;
    const baseUrl = `https://localhost:${started.port}`;
    const shown = new LiveCertificates(serverAt(clientPair, ca.cert));
    const client = () => {
      const tls = { ...serverAt(clientPair, ca.cert), live: shown };
      return connectRpc({ baseUrl, domain: "registry", attemptsMax: 1, tls }).client(HealthService);
    };
    const check = (from: ReturnType<typeof client>) =>
      from.check({}).then(
        ({ status }) => status,
        (failure: unknown) => rpcErrorOf(failure, "registry").code,
      );
    const early = client();
    const ended = new AbortController();
    const watch = early.watch({}, { signal: ended.signal })[Symbol.asyncIterator]();
    expect((await watch.next()).value?.status).toBe(1);
    // Both authorities first, then the pairs, then the old authority goes: no moment at which a client is refused.
    live.set(serverAt(serverPair, both));
    shown.set(serverAt(clientPair, both));
    expect(await check(client())).toBe(1);
    live.set(serverAt(nextServer, both));
    expect(await check(client())).toBe(1);
    shown.set(serverAt(nextClient, both));
    expect(await check(client())).toBe(1);
    live.set(serverAt(nextServer, nextCa.cert));
    shown.set(serverAt(nextClient, nextCa.cert));
    expect(await check(client())).toBe(1);
    // The old pair is worth nothing to a new connection any longer, and the one from the beginning goes on.
    const tls = serverAt(clientPair, both);
    const old = connectRpc({ baseUrl, domain: "registry", attemptsMax: 1, tls }).client(HealthService);
    expect(await check(old)).not.toBe(1);
    expect(await check(early)).toBe(1);
    started.health.setReady(false);
    expect((await watch.next()).value?.status).toBe(2);
    ended.abort();
  });

  test("grpc-js: the same, and plain text is refused", async () => {
    const health = new Health([]);
    const live = new LiveCertificates(serverAt(serverPair, ca.cert));
    const started = await startGrpcServer({
      domain: "runtime",
      port: 0,
      services: [grpcHealth(health)],
      tls: { ...serverAt(serverPair, ca.cert), live },
    });
    server = started;
    const address = `localhost:${started.port}`;
    const shown = new LiveCertificates(serverAt(clientPair, ca.cert));
    const open = (tls?: object) => openChannel({ address, ...(tls === undefined ? {} : { tls }) });
    const { check } = HealthService.method;
    const answers = async (channel: ReturnType<typeof open>) =>
      (await callUnary(channel, check, create(check.input), { deadlineMs: 3_000 })).ok;
    const once = async (tls?: object) => {
      const channel = open(tls);
      const answer = await answers(channel);
      channel.close();
      return answer;
    };
    const mine = { ...serverAt(clientPair, ca.cert), live: shown };
    const early = open(mine);
    expect(await answers(early)).toBe(true);
    expect(await once()).toBe(false);
    live.set(serverAt(nextServer, nextCa.cert));
    expect(await once(mine)).toBe(false);
    shown.set(serverAt(nextClient, nextCa.cert));
    expect(await once(mine)).toBe(true);
    expect(await once(serverAt(clientPair, both))).toBe(false);
    expect(await answers(early)).toBe(true);
    early.close();
  });
});
