/** Access tokens of people and tools (F-115): made by admins, told once, taken back by id. */
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { Role } from "@rspp/gen/rspp/common/v1/access_pb";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { AccessTokenClaimsSchema } from "@rspp/gen/rspp/registry/v1/access_pb";
import { AccessService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import type { KeyRing } from "@rspp/host/key-ring";
import { overStore } from "@rspp/host/store-failure";
import { roleName } from "@rspp/rpc/access";
import { signAccessToken } from "@rspp/rpc/access-tokens";
import { callerOf } from "@rspp/rpc/caller";
import { rpcError } from "@rspp/rpc/errors";
import { type RpcRoute, route } from "@rspp/rpc/route";
import type { AccessTokenRow, TokenStore } from "@rspp/store/token-store";

export interface AccessPorts {
  readonly store: TokenStore;
  readonly keys: Pick<KeyRing, "current" | "noteUse" | "rotate">;
  wallMs(): number;
}

const domain = "registry";
const pageSizeDefault = 100;

export function accessRoute(ports: AccessPorts): RpcRoute {
  const { store, keys, wallMs } = ports;
  return route(AccessService, {
    createToken: ({ tenantId, role, subject, ttlMs }, { values }) =>
      overStore(domain, async () => {
        const caller = callerOf(values);
        // An admin gives no more than he has; the guard has seen to the tenant.
        if (caller.role !== Role.SERVICE && role > caller.role) throw tooMuch(role);
        const issuedWallMs = wholeSeconds(wallMs());
        const row: AccessTokenRow = {
          tokenId: `atk_${randomBytes(12).toString("base64url")}`,
          tenantId,
          subject,
          role,
          issuedWallMs,
          expiresWallMs: issuedWallMs + Number(ttlMs),
          revokedWallMs: 0,
          createdBy: caller.name.slice(0, 256),
        };
        // The key must stay good as long as what it signs; a token nobody was told of harms nobody.
        await keys.noteUse(row.expiresWallMs);
        await store.addToken(row);
        return { minted: { about: tokenToWire(row), token: await signAccessToken(claimsOf(row), keys.current) } };
      }),
    listTokens: ({ tenantId, page }) =>
      overStore(domain, async () => {
        const ask = { tenantId, limit: page?.size || pageSizeDefault, after: page?.token || null };
        const { tokens, next } = await store.listTokens(ask);
        return { tokens: tokens.map(tokenToWire), nextPageToken: next ?? "" };
      }),
    revokeToken: ({ tenantId, tokenId }) =>
      overStore(domain, async () => {
        const found = await store.revokeToken(tenantId, tokenId, wallMs());
        if (found !== undefined) return { token: tokenToWire(found) };
        const remedy = "List the tokens of the tenant: `rspp token list`.";
        throw rpcError(ErrorReason.NOT_FOUND, { domain, metadata: { token: tokenId, tenant: tenantId }, remedy });
      }),
    listRevokedTokens: () => overStore(domain, async () => ({ tokenIds: [...(await store.revokedIds(wallMs()))] })),
    rotateTokenKey: ({ oldIsStolen }) =>
      overStore(domain, async () => {
        const { keyId, oldKeyId, oldNotAfterWallMs } = await keys.rotate(oldIsStolen);
        return { keyId, oldKeyId, oldNotAfterWallMs: BigInt(oldNotAfterWallMs) };
      }),
  });
}

/** Tokens count in seconds; what is listed and what is signed say the same. */
function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1_000) * 1_000;
}

function tooMuch(role: Role) {
  const metadata = { problem: "role", needs: roleName(role) };
  const remedy = "Make a token of your own role or a lesser one.";
  return rpcError(ErrorReason.PERMISSION_DENIED, { domain, metadata, remedy });
}

function claimsOf({ tokenId, subject, role, tenantId, issuedWallMs, expiresWallMs }: AccessTokenRow) {
  const instants = { issuedWallMs: BigInt(issuedWallMs), expiresWallMs: BigInt(expiresWallMs) };
  return create(AccessTokenClaimsSchema, { tokenId, subject, role, tenantId, ...instants });
}

function tokenToWire({ issuedWallMs, expiresWallMs, revokedWallMs, ...row }: AccessTokenRow) {
  return {
    ...row,
    issuedWallMs: BigInt(issuedWallMs),
    expiresWallMs: BigInt(expiresWallMs),
    revokedWallMs: BigInt(revokedWallMs),
  };
}
