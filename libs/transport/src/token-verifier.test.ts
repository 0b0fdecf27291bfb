import { generateKeyPairSync } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { SessionTokenClaimsSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { connectDirect, type RpcConnection } from "@rspp/rpc/clients";
import { route } from "@rspp/rpc/route";
import { startRpcServer } from "@rspp/rpc/server";
import { signSessionToken } from "@rspp/rpc/tokens";
import { expect, onTestFinished, test } from "vitest";
import { createRegistryVerifier } from "./token-verifier.ts";

function keyOf(keyId: string) {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const x = publicKey.export({ format: "jwk" }).x ?? "";
  return { keyId, privateKey, publicKey: new Uint8Array(Buffer.from(x, "base64url")) };
}

const startMs = 1_800_000_000_000;

function tokenOf(key: ReturnType<typeof keyOf>, transport = "websocket"): Promise<string> {
  const claims = {
    tenantId: "acme",
    sessionId: "call",
    pipelineVersion: "echo@1",
    instanceId: "runtime-1",
    transport,
    tokenId: "t",
    issuedWallMs: BigInt(startMs),
    expiresWallMs: BigInt(startMs + 60_000),
    variables: { name: '"Ada"' },
  };
  return signSessionToken(create(SessionTokenClaimsSchema, claims), key);
}

async function rig(keys: ReturnType<typeof keyOf>[]) {
  let asked = 0;
  let away = false;
  const listTokenKeys = () => {
    asked++;
    if (away) throw new Error("away");
    return { keys: keys.map(({ keyId, publicKey }) => ({ keyId, publicKey })) };
  };
  const server = await startRpcServer({
    domain: "registry",
    port: 0,
    routes: [route(RegistryService, { listTokenKeys })],
  });
  onTestFinished(async () => void (await server.stop(0)));
  const registry: RpcConnection = connectDirect(server.handlers, { domain: "registry", attemptsMax: 1 });
  let now = startMs;
  const verifier = createRegistryVerifier({ registry, transport: "websocket", wallMs: () => now });
  return {
    verifier,
    asked: () => asked,
    setAway: (is: boolean) => (away = is),
    setOn: (ms: number) => (now += ms),
  };
}

test("F-088 a token of the registry is believed, and no other; an expired one still tells whose session it was", async () => {
  const key = keyOf("k1");
  const { verifier, setOn, asked } = await rig([key]);
  const token = await tokenOf(key);
  const claims = {
    tenant: "acme",
    session: "call",
    pipelineVersion: "echo@1",
    instance: "runtime-1",
    expiresWallMs: startMs + 60_000,
    variables: { name: '"Ada"' },
  };
  expect(await verifier.verify(token)).toEqual({ ok: true, value: claims });
  const [head, body = "", signature] = token.split(".");
  const other = Buffer.from(body, "base64url").toString().replace("acme", "evil");
  const forged = `${head}.${Buffer.from(other).toString("base64url")}.${signature}`;
  const invalid = { ok: false, error: { kind: "invalid" } };
  for (const bad of ["", "x", "a.b.c", forged, await tokenOf(keyOf("k1")), await tokenOf(key, "telephony")]) {
    expect(await verifier.verify(bad)).toEqual(invalid);
  }
  expect(asked()).toBe(1);
  setOn(70_000);
  expect(await verifier.verify(token)).toEqual({ ok: false, error: { kind: "expired", claims } });
  expect(await verifier.verify(forged)).toEqual(invalid);
  setOn(2 * 86_400_000);
  expect(await verifier.verify(token)).toEqual({ ok: false, error: { kind: "expired", claims: null } });
});

test("a registry that is away refuses no one whose key is known; before, nobody is taken for a stranger", async () => {
  const key = keyOf("k1");
  const { verifier, setAway, setOn } = await rig([key]);
  setAway(true);
  const token = await tokenOf(key);
  await expect(verifier.verify(token)).rejects.toThrow();
  setAway(false);
  setOn(1_000);
  expect(await verifier.verify(token)).toMatchObject({ ok: true });
  setAway(true);
  setOn(20_000);
  expect(await verifier.verify(token)).toMatchObject({ ok: true });
});
