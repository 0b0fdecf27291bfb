/** Every RPC of the contracts, asked by every kind of caller, as servers ask their guard; no sockets. */
import { generateKeyPairSync } from "node:crypto";
import {
  create,
  type DescMessage,
  type DescMethod,
  getOption,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { AccessScope, access, Role } from "@rspp/gen/rspp/common/v1/access_pb";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { RecordingLevel } from "@rspp/gen/rspp/common/v1/lane_pb";
import { AccessTokenClaimsSchema } from "@rspp/gen/rspp/registry/v1/access_pb";
import { SessionTokenClaimsSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { accessOf, namesTenant } from "@rspp/rpc/access";
import { RevokedTokens, signAccessToken } from "@rspp/rpc/access-tokens";
import { CallAudit, type CallRecord } from "@rspp/rpc/call-audit";
import { CallGuard } from "@rspp/rpc/call-guard";
import { RpcError } from "@rspp/rpc/errors";
import { limits } from "@rspp/rpc/limits";
import { signSessionToken, TokenKeys, tokenKeyToJwk } from "@rspp/rpc/tokens";
import { describe, expect, test } from "vitest";
import { contracts, ownServices } from "./contracts.ts";

const methods = ownServices(contracts()).flatMap((service) => service.methods);
const nowMs = 1_790_000_000_000;
const serviceToken = "a-token-that-services-share";
const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const raw = new Uint8Array(Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url"));
const key = { keyId: "k1", privateKey };
const revoked = new Set(["atk_gone"]);
const tokens = {
  keys: new TokenKeys([tokenKeyToJwk({ keyId: "k1", publicKey: raw })]),
  revoked: new RevokedTokens(async () => [...revoked]),
  wallMs: () => nowMs,
};

function rig() {
  const records: CallRecord[] = [];
  const sink = { record: async (record: CallRecord) => void records.push(record) };
  const audit = new CallAudit(sink, () => 0);
  const guard = new CallGuard({ domain: "test", serviceTokens: () => [serviceToken], tokens, audit });
  const peer = { names: [], inProcess: false };
  /** `taken`, or the reason and problem it was refused with. */
  const ask = async (method: DescMethod, token: string | null, message: Message): Promise<string> => {
    try {
      const authorization = token === null ? null : `Bearer ${token}`;
      (await guard.admit({ method, authorization, peer })).check(message);
      return "taken";
    } catch (failure) {
      if (!(failure instanceof RpcError)) throw failure;
      const { problem } = failure.detail.metadata;
      return `${ErrorReason[failure.reason]}${problem === undefined ? "" : ` ${problem}`}`;
    }
  };
  return { ask, audit, guard, records };
}

const accessToken = (role: Role, tenantId: string, over: MessageInitShape<typeof AccessTokenClaimsSchema> = {}) =>
  signAccessToken(
    create(AccessTokenClaimsSchema, {
      tokenId: `atk_${Role[role]}_${tenantId}`,
      subject: "somebody",
      role,
      tenantId,
      issuedWallMs: BigInt(nowMs - 1_000),
      expiresWallMs: BigInt(nowMs + 60_000),
      ...over,
    }),
    key,
  );

const sessionToken = () =>
  signSessionToken(
    create(SessionTokenClaimsSchema, {
      tenantId: "acme",
      sessionId: "s-1",
      pipelineVersion: "p@1",
      tokenId: "t-1",
      issuedWallMs: BigInt(nowMs - 1_000),
      expiresWallMs: BigInt(nowMs + 60_000),
    }),
    key,
  );

/** A request whose every place for a tenant (and session) names it, as deep as they stand. */
function requestFor(schema: DescMessage, tenantId: string, depth = 0): Message {
  const init: Record<string, unknown> = {};
  for (const field of schema.fields) {
    if (field.name === "tenant_id") init[field.localName] = tenantId;
    else if (schema.typeName === "rspp.common.v1.SessionKey" && field.name === "session_id")
      init[field.localName] = "s-1";
    else if (field.message !== undefined && namesTenant(field.message) && depth < 4 && field.oneof === undefined) {
      const inner = requestFor(field.message, tenantId, depth + 1);
      if (field.fieldKind === "list") init[field.localName] = [inner];
      else if (field.fieldKind === "message") init[field.localName] = inner;
    }
  }
  return create(schema, init as MessageInitShape<typeof schema>);
}

const of = (method: DescMethod) => getOption(method, access);
const nameOf = (method: DescMethod): string => `${method.parent.typeName}/${method.name}`;
const forPeople = methods.filter((method) => of(method).role < Role.SERVICE && of(method).role > Role.OPEN);
const byTenant = forPeople.filter((method) => of(method).scope <= AccessScope.TENANT);

describe("F-115 roles", () => {
  test("every RPC takes its least role and all above, and no lesser one", async () => {
    const { ask } = rig();
    for (const method of methods) {
      const message = requestFor(method.input, "acme");
      const wanted = of(method).role;
      for (const role of [Role.VIEWER, Role.OPERATOR, Role.ADMIN] as const) {
        // Of the platform, so that the tenant is no question here.
        const answer = await ask(method, await accessToken(role, "*"), message);
        expect(answer, `${nameOf(method)} by ${Role[role]}`).toBe(role >= wanted ? "taken" : "PERMISSION_DENIED role");
      }
      expect(await ask(method, serviceToken, message), nameOf(method)).toBe("taken");
      const nobody = wanted === Role.OPEN ? "taken" : "UNAUTHENTICATED";
      expect(await ask(method, null, message), nameOf(method)).toBe(nobody);
    }
    expect(forPeople.length).toBeGreaterThan(20);
  });

  test("a session's token opens what is said to be open to it, and nothing else", async () => {
    const { ask } = rig();
    const token = await sessionToken();
    for (const method of methods) {
      const { role, session } = of(method);
      const expected = session || role <= Role.SESSION ? "taken" : "PERMISSION_DENIED role";
      expect(await ask(method, token, requestFor(method.input, "acme")), nameOf(method)).toBe(expected);
      if (!session) continue;
      expect(await ask(method, token, requestFor(method.input, "other")), nameOf(method)).toBe(
        "TOKEN_INVALID other_tenant",
      );
    }
  });

  test("streams of services open to services alone, at once", async () => {
    const { guard } = rig();
    const peer = { names: [], inProcess: false };
    const admin = await accessToken(Role.ADMIN, "*");
    const streams = methods.filter(({ methodKind }) => methodKind === "bidi_streaming");
    for (const method of streams) {
      const by = (token: string) => guard.streamRefusal({ method, authorization: `Bearer ${token}`, peer });
      expect(by(serviceToken), nameOf(method)).toBeNull();
      expect(by(admin)?.reason, nameOf(method)).toBe(ErrorReason.PERMISSION_DENIED);
      expect(by(await sessionToken())?.reason, nameOf(method)).toBe(ErrorReason.TOKEN_INVALID);
    }
    expect(streams.length).toBeGreaterThan(3);
  });
});

describe("F-114 tenants", () => {
  test("a token of one tenant never reads or changes what is another's, by any RPC that names one", async () => {
    const { ask } = rig();
    const admin = await accessToken(Role.ADMIN, "acme");
    for (const method of byTenant) {
      const at = (tenant: string) => ask(method, admin, requestFor(method.input, tenant));
      expect(await at("acme"), nameOf(method)).toBe("taken");
      for (const foreign of ["other", "*", "acme ", "ACME"]) {
        expect(await at(foreign), `${nameOf(method)} ${foreign}`).toBe("PERMISSION_DENIED other_tenant");
      }
      // Left out, it is nobody's, not everybody's.
      expect(await ask(method, admin, create(method.input)), nameOf(method)).toBe("PERMISSION_DENIED no_tenant");
    }
    expect(byTenant.length).toBeGreaterThan(15);
  });

  test("a request that hides a second tenant beside the right one is refused", async () => {
    const { ask } = rig();
    const admin = await accessToken(Role.ADMIN, "acme");
    let several = 0;
    for (const method of byTenant) {
      const message = requestFor(method.input, "acme") as unknown as Record<string, unknown>;
      const nested = method.input.fields.filter(({ message: inner }) => inner !== undefined && namesTenant(inner));
      if (!method.input.fields.some(({ name }) => name === "tenant_id") || nested.length === 0) continue;
      several++;
      for (const field of nested) {
        if (field.message === undefined || field.fieldKind !== "message") continue;
        const mixed = { ...message, [field.localName]: requestFor(field.message, "other") };
        expect(await ask(method, admin, mixed as unknown as Message), nameOf(method)).toBe(
          "PERMISSION_DENIED other_tenant",
        );
      }
    }
    expect(several).toBeGreaterThanOrEqual(0);
  });

  test("what is about the platform as a whole is closed to tenants, whatever their role", async () => {
    const { ask } = rig();
    const platform = forPeople.filter((method) => of(method).scope === AccessScope.PLATFORM);
    const admin = await accessToken(Role.ADMIN, "acme");
    for (const method of platform) {
      const message = requestFor(method.input, "acme");
      expect(await ask(method, admin, message), nameOf(method)).toBe("PERMISSION_DENIED platform");
    }
    expect(platform.length).toBeGreaterThan(3);
  });
});

describe("F-119 access tokens at every entry", () => {
  test("altered, expired, not yet valid, foreign, taken back and of no role: refused by every RPC", async () => {
    const { ask } = rig();
    const good = await accessToken(Role.ADMIN, "*");
    const [head, body, mark] = good.split(".");
    const claims = JSON.parse(Buffer.from(body ?? "", "base64url").toString());
    const with_ = (over: object) => Buffer.from(JSON.stringify({ ...claims, ...over })).toString("base64url");
    const foreign = generateKeyPairSync("ed25519").privateKey;
    const past = { issuedWallMs: BigInt(nowMs - 120_000), expiresWallMs: BigInt(nowMs - 60_000) };
    const future = { issuedWallMs: BigInt(nowMs + 60_000), expiresWallMs: BigInt(nowMs + 90_000) };
    const stranger = create(AccessTokenClaimsSchema, {
      tokenId: "atk_x",
      subject: "eve",
      role: Role.ADMIN,
      tenantId: "*",
      issuedWallMs: BigInt(nowMs),
      expiresWallMs: BigInt(nowMs + 60_000),
    });
    const bad: readonly [string, string][] = [
      [`${head}.${with_({ tnt: "other" })}.${mark}`, "TOKEN_INVALID signature"],
      [`${head}.${with_({ exp: claims.exp + 9_999 })}.${mark}`, "TOKEN_INVALID signature"],
      [await signAccessToken(stranger, { keyId: "k1", privateKey: foreign }), "TOKEN_INVALID signature"],
      [await signAccessToken(stranger, { keyId: "k9", privateKey: foreign }), "TOKEN_INVALID key_unknown"],
      [await accessToken(Role.ADMIN, "*", past), "TOKEN_EXPIRED"],
      [await accessToken(Role.ADMIN, "*", future), "TOKEN_INVALID not_yet_valid"],
      [await accessToken(Role.ADMIN, "*", { tokenId: "atk_gone" }), "TOKEN_INVALID revoked"],
      [await accessToken(Role.SERVICE, "*"), "TOKEN_INVALID claims"],
      [await accessToken(Role.SESSION, "*"), "TOKEN_INVALID claims"],
      [`${serviceToken}x`, "TOKEN_INVALID service_token"],
    ];
    for (const method of methods.filter((it) => of(it).role > Role.OPEN)) {
      for (const [token, expected] of bad) {
        expect(await ask(method, token, requestFor(method.input, "acme")), nameOf(method)).toBe(expected);
      }
    }
  });

  test("without a list of revocations younger than ten minutes who may do what is not known", async () => {
    let nowAtMs = nowMs;
    let away = false;
    const list = new RevokedTokens(async () => {
      if (away) throw new Error("away");
      return ["atk_a"];
    });
    expect([await list.has("atk_a", nowAtMs), await list.has("atk_b", nowAtMs)]).toEqual([true, false]);
    away = true;
    nowAtMs += limits.TOKEN_REVOKED_AGE_MAX_MS;
    expect([await list.has("atk_a", nowAtMs), await list.has("atk_b", nowAtMs)]).toEqual([true, false]);
    nowAtMs += 1_000;
    expect([await list.has("atk_a", nowAtMs), await list.has("atk_b", nowAtMs)]).toEqual([true, null]);
    expect(await new RevokedTokens(async () => Promise.reject(new Error("away"))).has("atk_b", nowAtMs)).toBeNull();
  });
});

test("F-115 F-117 NF-012 denials are recorded within a bound, with who and why, and nothing of the token", async () => {
  const { ask, audit, records } = rig();
  const [method] = byTenant;
  if (method === undefined) throw new Error("no method");
  const viewer = await accessToken(Role.VIEWER, "acme");
  const message = requestFor(method.input, "other");
  for (let n = 0; n < limits.AUDIT_DENIALS_PER_MINUTE_MAX + 7; n++) await ask(method, viewer, message);
  expect([records.length, audit.suppressed]).toEqual([limits.AUDIT_DENIALS_PER_MINUTE_MAX, 7]);
  expect(records[0]).toMatchObject({ tenantId: "acme", action: `denied ${nameOf(method)}` });
  expect(records[0]?.actor).toBe("somebody (atk_VIEWER_acme)");
  for (const part of viewer.split(".")) expect(JSON.stringify(records)).not.toContain(part);
});

test("F-076 a capture of what is said is an admin's alone, of his tenant; it is audited with session, level and time", async () => {
  const { ask, audit, records } = rig();
  const method = SessionService.method.captureSession;
  const session = { tenantId: "acme", sessionId: "s-1" };
  const message = create(method.input, { session, level: RecordingLevel.L2, durationMs: 600_000 });
  for (const role of [Role.VIEWER, Role.OPERATOR] as const)
    expect(await ask(method, await accessToken(role, "acme"), message)).toBe("PERMISSION_DENIED role");
  expect(await ask(method, await sessionToken(), message)).toBe("PERMISSION_DENIED role");
  expect(await ask(method, await accessToken(Role.ADMIN, "other"), message)).toBe("PERMISSION_DENIED other_tenant");
  expect(await ask(method, await accessToken(Role.ADMIN, "acme"), message)).toBe("taken");
  expect(accessOf(method).mutates).toBe(true);
  records.length = 0;
  const caller = { name: "ada", tenantId: "acme", role: Role.ADMIN } as Parameters<CallAudit["changed"]>[1];
  await audit.changed(method, caller, message, "done");
  expect(records).toMatchObject([
    {
      tenantId: "acme",
      actor: "ada",
      action: "rspp.runtime.v1.SessionService/CaptureSession",
      detail: { outcome: "done", request: { level: "RECORDING_LEVEL_L2", duration_ms: 600_000 } },
    },
  ]);
  expect(records[0]?.subject).toContain("s-1");
});
