import { generateKeyPairSync } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { SessionTokenClaimsSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { describe, expect, test } from "vitest";
import { RevokedTokens } from "./access-tokens.ts";
import { CallGuard } from "./call-guard.ts";
import { connectRpc, rpcErrorOf } from "./clients.ts";
import { route } from "./route.ts";
import { startRpcServer } from "./server.ts";
import { claimsOfCall } from "./token-interceptor.ts";
import {
  type SigningKey,
  signSessionToken,
  type TokenBinding,
  TokenKeys,
  tokenKeyToJwk,
  verifySessionToken,
} from "./tokens.ts";

const nowMs = 1_790_000_000_000;

function keyPair(keyId: string): { signing: SigningKey; publicKey: Uint8Array } {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ format: "jwk" }).x ?? "";
  return { signing: { keyId, privateKey }, publicKey: Buffer.from(raw, "base64url") };
}

const ours = keyPair("k1");
const theirs = keyPair("k1");
const keys = new TokenKeys([tokenKeyToJwk({ keyId: "k1", publicKey: ours.publicKey })]);

function claims(more: object = {}) {
  return create(SessionTokenClaimsSchema, {
    tenantId: "acme",
    sessionId: "s-1",
    pipelineVersion: "voice-assistant@3",
    instanceId: "runtime-1",
    issuedWallMs: BigInt(nowMs),
    expiresWallMs: BigInt(nowMs + 300_000),
    tokenId: "t-1",
    variables: { name: '"Ada"' },
    ...more,
  });
}

async function verify(token: string, binding: TokenBinding = {}, atMs = nowMs) {
  const result = await verifySessionToken(token, keys, binding, atMs, "runtime");
  return result.ok ? result.value : { reason: result.error.reason, problem: result.error.detail.metadata.problem };
}

describe("F-119 session tokens", () => {
  test("what was signed is read again, within its time", async () => {
    const token = await signSessionToken(claims(), ours.signing);
    expect(await verify(token, { tenantId: "acme", sessionId: "s-1", pipelineVersion: "voice-assistant@3" })).toEqual(
      claims(),
    );
    expect(await verify(token, {}, nowMs + 304_000)).toMatchObject({ tenantId: "acme" });
    expect(await verify(token, {}, nowMs + 305_001)).toEqual({ reason: ErrorReason.TOKEN_EXPIRED, problem: undefined });
    expect(await verify(token, {}, nowMs - 60_000)).toMatchObject({ problem: "not_yet_valid" });
  });

  test("F-088 wrong, altered and foreign ones are refused, saying which", async () => {
    const token = await signSessionToken(claims(), ours.signing);
    const [head = "", body = "", mark = ""] = token.split(".");
    const altered = Buffer.from(body, "base64url").toString().replace("acme", "evil");
    const none = Buffer.from(JSON.stringify({ alg: "none", kid: "k1" })).toString("base64url");
    const cases: [string, string][] = [
      [`${head}.${Buffer.from(altered).toString("base64url")}.${mark}`, "signature"],
      [await signSessionToken(claims(), theirs.signing), "signature"],
      [await signSessionToken(claims(), keyPair("k9").signing), "key_unknown"],
      [`${none}.${body}.`, "form"],
      [await signSessionToken(claims({ tenantId: "" }), ours.signing), "claims"],
      ["not a token", "form"],
      ["x".repeat(10_000), "form"],
      ["", "form"],
    ];
    for (const [wrong, problem] of cases) {
      expect(await verify(wrong)).toEqual({ reason: ErrorReason.TOKEN_INVALID, problem });
    }
  });

  test.each([
    [{ tenantId: "other" }, "other_tenant"],
    [{ sessionId: "s-2" }, "other_session"],
    [{ pipelineVersion: "voice-assistant@4" }, "other_pipeline_version"],
    [{ instanceId: "runtime-2" }, "other_instance"],
  ])("is bound: %j", async (binding, problem) => {
    const token = await signSessionToken(claims(), ours.signing);
    expect(await verify(token, binding)).toEqual({ reason: ErrorReason.TOKEN_INVALID, problem });
  });

  test("an unknown key is asked for once in a while, and a failed fetch keeps what is known", async () => {
    const next = keyPair("k2");
    let fetches = 0;
    const rotating = new TokenKeys([tokenKeyToJwk({ keyId: "k1", publicKey: ours.publicKey })], async () => {
      fetches++;
      if (fetches === 1) throw new Error("the registry is away");
      return [tokenKeyToJwk({ keyId: "k2", publicKey: next.publicKey })];
    });
    const token = await signSessionToken(claims(), next.signing);
    const at = async (atMs: number) => (await verifySessionToken(token, rotating, {}, atMs, "runtime")).ok;
    expect([await at(nowMs), await at(nowMs + 1), fetches]).toEqual([false, false, 1]);
    expect(rotating.has("k1", nowMs)).toBe(true);
    expect([await at(nowMs + 10_000), fetches]).toEqual([true, 2]);
  });
});

test("F-088 a server takes calls with a good token alone, for its tenant and session alone", async () => {
  const server = await startRpcServer({
    domain: "runtime",
    port: 0,
    guard: new CallGuard({
      domain: "runtime",
      serviceTokens: () => ["a-token-of-services"],
      tokens: { keys, revoked: new RevokedTokens(async () => []), wallMs: () => nowMs },
    }),
    routes: [
      route(SessionService, {
        getSession: (_request, { values }) => ({
          info: {
            session: { tenantId: claimsOfCall(values)?.tenantId ?? "", sessionId: "s-1" },
            pipeline: { name: "voice-assistant", version: 3 },
            state: 2,
          },
        }),
      }),
    ],
  });
  let token: string | null = null;
  const baseUrl = `http://127.0.0.1:${server.port}`;
  const client = connectRpc({ baseUrl, domain: "runtime", token: () => token }).client(SessionService);
  const get = (tenantId: string, sessionId: string) =>
    client.getSession({ session: { tenantId, sessionId } }).then(
      ({ info }) => info?.session?.tenantId,
      (failure: unknown) => rpcErrorOf(failure, "runtime").detail,
    );
  expect(await get("acme", "s-1")).toMatchObject({ reason: ErrorReason.UNAUTHENTICATED });
  token = await signSessionToken(claims(), ours.signing);
  expect(await get("acme", "s-1")).toBe("acme");
  expect(await get("other", "s-1")).toMatchObject({ metadata: { problem: "other_tenant" } });
  expect(await get("acme", "s-2")).toMatchObject({ metadata: { problem: "other_session" } });
  await server.stop(200);
});
