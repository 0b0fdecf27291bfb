import { generateKeyPairSync } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { InvokeRequestSchema, ProviderService } from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import { SessionTokenClaimsSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { afterEach, describe, expect, test } from "vitest";
import { RevokedTokens } from "./access-tokens.ts";
import { CallGuard, type GuardOptions } from "./call-guard.ts";
import { connectDirect, connectRpc, rpcErrorOf } from "./clients.ts";
import { RpcError } from "./errors.ts";
import { callUnary, openChannel, openDuplex } from "./grpc-client.ts";
import { bidiMethod, startGrpcServer, unaryMethod } from "./grpc-server.ts";
import { grpcHealth, Health } from "./health.ts";
import { route } from "./route.ts";
import { startRpcServer } from "./server.ts";
import { isServiceToken, serviceTokensOf } from "./service-token.ts";
import { signSessionToken, TokenKeys, tokenKeyToJwk } from "./tokens.ts";
import { HealthService } from "./well-known.ts";

const token = "platform-token-1-of-the-test";
const next = "platform-token-2-of-the-test";
const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const told = (failure: unknown) => {
  const { reason, detail } = rpcErrorOf(failure, "test");
  return { reason, ...detail.metadata };
};

async function api(options: Partial<GuardOptions>) {
  const guard = new CallGuard({ domain: "registry", ...options });
  const info = { pipeline: { name: "p", version: 1 }, state: 2 };
  const server = await startRpcServer({
    domain: "registry",
    port: 0,
    guard,
    routes: [
      route(RegistryService, { listTokenKeys: () => ({ keys: [] }) }),
      route(SessionService, {
        getSession: ({ session }) => ({ info: { ...info, ...(session === undefined ? {} : { session }) } }),
        listSessions: () => ({ sessions: [] }),
      }),
    ],
  });
  stops.push(() => server.stop(0));
  const as = (shown: string | null) =>
    connectRpc({ baseUrl: `http://127.0.0.1:${server.port}`, domain: "registry", attemptsMax: 1, token: () => shown });
  const keys = (shown: string | null) =>
    as(shown)
      .client(RegistryService)
      .listTokenKeys({})
      .then(() => "taken", told);
  return { server, as, keys };
}

const wrong: readonly [string | null, object][] = [
  [null, { reason: ErrorReason.UNAUTHENTICATED, wants: "service_token" }],
  ["wrong", { reason: ErrorReason.TOKEN_INVALID, problem: "service_token" }],
  [`${token}x`, { reason: ErrorReason.TOKEN_INVALID, problem: "service_token" }],
  [token.slice(0, -1), { reason: ErrorReason.TOKEN_INVALID, problem: "service_token" }],
  [token.toUpperCase(), { reason: ErrorReason.TOKEN_INVALID, problem: "service_token" }],
];

describe("F-119 the service token", () => {
  test("Connect: missing and wrong ones are refused, health answers all, this process needs none", async () => {
    const { server, as, keys } = await api({ serviceTokens: () => [token] });
    for (const [shown, refusal] of wrong) expect(await keys(shown)).toEqual(refusal);
    expect(await keys(token)).toBe("taken");
    expect((await as(null).client(HealthService).check({})).status).toBe(1);
    const direct = connectDirect(server.handlers, { domain: "registry" });
    expect((await direct.client(RegistryService).listTokenKeys({})).keys).toEqual([]);
    // Connect over HTTP/1.1 is guarded by the same.
    const url = `http://127.0.0.1:${server.port}/${RegistryService.typeName}/ListTokenKeys`;
    const post = (headers: Record<string, string>) =>
      fetch(url, { method: "POST", body: "{}", headers: { "content-type": "application/json", ...headers } });
    expect((await post({})).status).toBe(401);
    expect((await post({ authorization: `Bearer ${token}` })).status).toBe(200);
    const refused = await (await post({ authorization: "Bearer wrong-and-never-repeated" })).text();
    expect(refused).not.toContain("never-repeated");
    expect(refused).toContain("service_token");
  });

  test("grpc-js: streams, unary calls and their bodies alike", async () => {
    const guard = new CallGuard({ domain: "gateway", serviceTokens: () => [token] });
    let accepted = 0;
    const health = new Health([]);
    const methods = {
      invoke: bidiMethod(ProviderService.method.invoke, (duplex) => {
        accepted++;
        return { onMessage: () => undefined, onEnd: () => duplex.end() };
      }),
      listProviders: unaryMethod(ProviderService.method.listProviders, () =>
        create(ProviderService.method.listProviders.output, {}),
      ),
    };
    const services = [{ service: ProviderService, methods }, grpcHealth(health)];
    const server = await startGrpcServer({ domain: "gateway", port: 0, services, guard });
    const channel = openChannel({ address: `127.0.0.1:${server.port}` });
    stops.push(
      () => server.stop(0),
      () => channel.close(),
    );
    const headersOf = (shown: string | null): Record<string, string> =>
      shown === null ? {} : { authorization: `Bearer ${shown}` };
    const stream = (shown: string | null) =>
      new Promise<object | null>((resolve) => {
        const onClosed = (error: RpcError | null) => resolve(error === null ? null : told(error));
        const handlers = { onMessage: () => undefined, onClosed };
        const { invoke } = ProviderService.method;
        const duplex = openDuplex(channel, invoke, handlers, { headers: headersOf(shown) });
        duplex.write(create(InvokeRequestSchema, { message: { case: "credit", value: { chunks: 1 } } }));
        duplex.end();
      });
    const { listProviders } = ProviderService.method;
    const list = async (shown: string | null) => {
      const answer = await callUnary(channel, listProviders, create(listProviders.input), {
        headers: headersOf(shown),
      });
      return answer.ok ? null : told(answer.error);
    };
    for (const [shown, refusal] of wrong) {
      expect(await stream(shown)).toEqual(refusal);
      expect(await list(shown)).toEqual(refusal);
    }
    expect(accepted).toBe(0);
    expect(await stream(token)).toBe(null);
    expect(await list(token)).toBe(null);
    expect(accepted).toBe(1);
    const { check } = HealthService.method;
    expect((await callUnary(channel, check, create(check.input))).ok).toBe(true);
  });

  test("is changed without a stop: old and new are taken for a while", async () => {
    let present = [token];
    const { keys } = await api({ serviceTokens: () => present });
    present = [...serviceTokensOf(`${next}\n${token}\n`, "registry")];
    expect([await keys(token), await keys(next)]).toEqual(["taken", "taken"]);
    present = [next];
    expect(await keys(token)).toMatchObject({ problem: "service_token" });
    expect(await keys(next)).toBe("taken");
  });

  test("a short one, none and one with odd characters are no configuration, and are not repeated", () => {
    for (const secret of ["", "  \n", "hunter2-short", "späce-and-umlauts-in-it", Array(5).fill(token).join(" ")]) {
      try {
        serviceTokensOf(secret, "registry");
        expect.unreachable();
      } catch (failure) {
        expect(failure).toBeInstanceOf(RpcError);
        expect(told(failure)).toEqual({ reason: ErrorReason.CONFIG_INVALID, key: "service_token" });
        if (secret.trim() !== "") expect(String(failure)).not.toContain(secret.trim());
      }
    }
    expect(isServiceToken(token, [])).toBe(false);
    expect(isServiceToken("", [token])).toBe(false);
  });

  test("NF-015 a guard without token and certificates lets all in, and says so", async () => {
    const { keys } = await api({});
    expect(await keys(null)).toBe("taken");
    expect(new CallGuard({ domain: "registry" }).guards).toBe(false);
    expect(new CallGuard({ domain: "registry", mutualTls: true }).guards).toBe(true);
  });
});

test("F-088 F-119 a session's token reaches its own session's calls and nothing else", async () => {
  const nowMs = 1_790_000_000_000;
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
  const keys = new TokenKeys([tokenKeyToJwk({ keyId: "k1", publicKey: raw })]);
  const sign = (over: object = {}, key = privateKey) =>
    signSessionToken(
      create(SessionTokenClaimsSchema, {
        tenantId: "acme",
        sessionId: "s-1",
        pipelineVersion: "p@1",
        issuedWallMs: BigInt(nowMs),
        expiresWallMs: BigInt(nowMs + 60_000),
        tokenId: "t-1",
        ...over,
      }),
      { keyId: "k1", privateKey: key },
    );
  const tokens = { keys, revoked: new RevokedTokens(async () => []), wallMs: () => nowMs };
  const guarded = await api({ serviceTokens: () => [token], tokens });
  const get = (shown: string | null, tenantId = "acme", sessionId = "s-1") =>
    guarded
      .as(shown)
      .client(SessionService)
      .getSession({ session: { tenantId, sessionId } })
      .then(() => "taken", told);
  const good = await sign();
  expect(await get(good)).toBe("taken");
  expect(await get(token)).toBe("taken");
  expect(await get(null)).toEqual({ reason: ErrorReason.UNAUTHENTICATED, wants: "service_token" });
  expect(await get(good, "other")).toEqual({ reason: ErrorReason.TOKEN_INVALID, problem: "other_tenant" });
  expect(await get(good, "acme", "s-2")).toEqual({ reason: ErrorReason.TOKEN_INVALID, problem: "other_session" });
  const issued = { issuedWallMs: BigInt(nowMs - 120_000), expiresWallMs: BigInt(nowMs - 60_000) };
  expect(await get(await sign(issued))).toEqual({ reason: ErrorReason.TOKEN_EXPIRED });
  expect(await get(await sign({}, generateKeyPairSync("ed25519").privateKey))).toMatchObject({ problem: "signature" });
  const [head, body, mark] = good.split(".");
  const altered = Buffer.from(body ?? "", "base64url")
    .toString()
    .replace("s-1", "s-2");
  const forged = `${head}.${Buffer.from(altered).toString("base64url")}.${mark}`;
  expect(await get(forged, "acme", "s-2")).toMatchObject({ problem: "signature" });
  // A list of another tenant, and any other service, are no session's business.
  const list = guarded.as(good).client(SessionService).listSessions({ tenantId: "other" });
  expect(await list.then(() => "taken", told)).toMatchObject({ problem: "other_tenant" });
  const denied = { reason: ErrorReason.PERMISSION_DENIED, problem: "role", needs: "viewer", has: "session" };
  expect(await guarded.keys(good)).toEqual(denied);
});
