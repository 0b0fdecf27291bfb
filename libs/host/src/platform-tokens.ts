/** What a service needs to know the tokens of people, tools and sessions: keys and revocations, of the registry or its database. */
import { AccessService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { type PlatformTokens, RevokedTokens } from "@rspp/rpc/access-tokens";
import type { RpcConnection } from "@rspp/rpc/clients";
import { TokenKeys, tokenKeyToJwk } from "@rspp/rpc/tokens";
import type { TokenStore } from "@rspp/store/token-store";

const wallMs = (): number => Date.now();

/** Asked of the registry, when a token is shown. */
export function tokensOfRegistry(registry: RpcConnection): PlatformTokens {
  const keys = async () => (await registry.client(RegistryService).listTokenKeys({})).keys.map(tokenKeyToJwk);
  const revoked = async () => (await registry.client(AccessService).listRevokedTokens({})).tokenIds;
  return { keys: new TokenKeys([], keys), revoked: new RevokedTokens(revoked), wallMs };
}

/** A look into the database costs less than one over the network. */
const storeRefreshMs = 1_000;

/** Read from the database that a service shares with the registry. */
export function tokensOfStore(store: TokenStore): PlatformTokens {
  const keys = async () =>
    (await store.listKeys("session-token", wallMs())).map(({ keyId, publicKey, notAfterWallMs }) =>
      tokenKeyToJwk({ keyId, publicKey, notAfterWallMs: BigInt(notAfterWallMs) }),
    );
  const revoked = new RevokedTokens(() => store.revokedIds(wallMs()));
  return { keys: new TokenKeys([], keys, storeRefreshMs), revoked, wallMs };
}
