import type { RemoteProviders, RemoteProvidersOptions } from "./invocation-api.ts";

/**
 * The provider gateway over `rspp.provider.v1.ProviderService`, one stream per invocation (F-055, F-160). The list of
 * `providers()` is fetched at once and refreshed; await `refresh()` before it is needed.
 */
export function createRemoteProviders(_options: RemoteProvidersOptions): RemoteProviders {
  throw new Error("in the making");
}
