import { generateKeyPairSync, sign } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { GrantSchema } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { SessionTokenClaimsSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { route } from "@rspp/rpc/route";
import { signSessionToken } from "@rspp/rpc/tokens";
import { expect, test } from "vitest";
import type { AdmissionProofs } from "./admission.ts";
import { createProofVerifier } from "./admission-proofs.ts";
import { createVirtualClock, runFast } from "./clock/virtual-clock.ts";
import { limits } from "./limits.ts";
import { away, peerOf } from "./testing/peers.ts";

const wallMs = 1_700_000_000_000;
const bound = { tenantId: "acme", sessionId: "s", pipelineVersion: "desk@1", epoch: 7 };

function keyOf(keyId: string) {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const { x = "" } = publicKey.export({ format: "jwk" });
  return { keyId, privateKey, publicKey: new Uint8Array(Buffer.from(x, "base64url")) };
}

async function rig() {
  const clock = createVirtualClock({ wallOriginMs: wallMs });
  const state = { registryAway: false, leaseAway: false, token: keyOf("t1"), grant: keyOf("g1"), asked: 0 };
  const told = ({ keyId, publicKey }: ReturnType<typeof keyOf>) => [{ keyId, publicKey }];
  const registry = await peerOf("registry", [
    route(RegistryService, {
      listTokenKeys: () => {
        state.asked += 1;
        if (state.registryAway) throw away("registry");
        return { keys: told(state.token) };
      },
    }),
  ]);
  const lease = await peerOf("lease", [
    route(LeaseService, {
      listSigningKeys: () => {
        if (state.leaseAway) throw away("lease");
        return { keys: told(state.grant), storeIncarnation: 1 };
      },
    }),
  ]);
  const proofs = createProofVerifier({ registry: registry.connection, lease: lease.connection, clock });
  const made = async (): Promise<AdmissionProofs> => {
    const claims = create(SessionTokenClaimsSchema, {
      tenantId: "acme",
      sessionId: "s",
      pipelineVersion: "desk@1",
      tokenId: "id",
      issuedWallMs: BigInt(wallMs),
      expiresWallMs: BigInt(wallMs + 300_000),
    });
    const session = { tenantId: "acme", sessionId: "s" };
    const fixed = { session, epoch: 7n, storeIncarnation: 1, holderId: "r", termMs: 60_000, grantId: "g" };
    const grant = toBinary(GrantSchema, create(GrantSchema, fixed));
    const signature = new Uint8Array(sign(null, grant, state.grant.privateKey));
    const { keyId } = state.grant;
    const token = await signSessionToken(claims, state.token);
    return { token, grant: { $typeName: "rspp.lease.v1.SignedGrant", grant, keyId, signature }, bound };
  };
  const verdict = async (given: AdmissionProofs): Promise<string> => {
    const found = await proofs.verify(given);
    return found.ok ? "believed" : `${found.error.reason}: ${found.error.remedy}`;
  };
  const pass = async (ms: number): Promise<void> => {
    let over = false;
    const untilNs = asMonoNs(clock.nowNs() + msToNs(ms));
    clock.timerAt(untilNs, () => {
      over = true;
    });
    await runFast(clock, { until: () => over, maxNs: asMonoNs(untilNs + 1) });
  };
  return { state, made, verdict, pass };
}

test("F-088 keys are fetched when first needed, not for each session, and again once a rotated one is met", async () => {
  const { state, made, verdict, pass } = await rig();
  const first = await made();
  expect(await verdict(first)).toBe("believed");
  expect(await verdict(first)).toBe("believed");
  expect(state.asked).toBe(1);
  state.token = keyOf("t2");
  state.grant = keyOf("g2");
  const rotated = await made();
  // A flood of unknown keys asks the registry no more often.
  expect(await verdict(rotated)).toMatch(/^permission_denied: .*key_unknown/);
  await pass(limits.KEYS_REFRESH_MS);
  expect(await verdict(rotated)).toBe("believed");
  expect(state.asked).toBe(2);
});

test("while the keys cannot be read nobody is called a liar; soon after they can, sessions are opened", async () => {
  const { state, made, verdict, pass } = await rig();
  state.registryAway = true;
  state.leaseAway = true;
  const given = await made();
  expect(await verdict(given)).toMatch(/^dependency_unavailable: the registry's token keys/);
  state.registryAway = false;
  await pass(limits.KEYS_RETRY_MS);
  expect(await verdict(given)).toMatch(/^dependency_unavailable: the lease service's keys/);
  state.leaseAway = false;
  await pass(limits.KEYS_RETRY_MS);
  expect(await verdict(given)).toBe("believed");
  // Known keys serve on.
  state.registryAway = true;
  state.leaseAway = true;
  await pass(limits.KEYS_REFRESH_MS);
  expect(await verdict(given)).toBe("believed");
});

test("F-119 a token that ran out, and bytes that are signed but are no grant", async () => {
  const { state, made, verdict, pass } = await rig();
  const given = await made();
  const bytes = new Uint8Array([255, 1, 2]);
  const signature = new Uint8Array(sign(null, bytes, state.grant.privateKey));
  expect(await verdict({ ...given, grant: { ...given.grant, grant: bytes, signature } })).toMatch(
    /^permission_denied: the grant cannot be read/,
  );
  await pass(400_000);
  expect(await verdict(given)).toMatch(/^permission_denied: the session token ran out: ask the registry/);
});
