/** The platform's published configuration of providers, as the registry tells it, at a gateway (F-102). */
import type { PolicySnapshot } from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import type { ServiceContext } from "@rspp/host/service";
import type { Clock } from "@rspp/ports/clock";
import { SnapshotWatch } from "@rspp/remote/snapshot-watch";
import { describeFailure } from "@rspp/rpc/log";
import type { ConfiguredProvider, TermsBook } from "./resilience/terms.ts";
import type { VendorDocument, Vendors } from "./vendors/vendors.ts";

/** Of whom alone a gateway is told where to send and which secrets to read; tenants are not asked. */
const PLATFORM = "*";
const FORMAT = "rspp/provider-config/v1";

/** By provider, field by field, what comes later counts; a text tells which document cannot be read. */
export function publishedVendors(
  documents: PolicySnapshot["providerConfigs"],
): Readonly<Record<string, VendorDocument>> | string {
  const merged: Record<string, VendorDocument> = {};
  for (const { tenantId, name, version, content } of documents) {
    if (tenantId !== PLATFORM) continue;
    const providers = providersOf(content);
    if (providers === null) return `${tenantId}/${name}@${version}: this build cannot read it`;
    for (const [provider, own] of Object.entries(providers)) {
      const before = merged[provider] ?? {};
      // A key belongs to the endpoint it was named for.
      const settings = own.endpoint === undefined ? { ...before.settings, ...own.settings } : (own.settings ?? {});
      merged[provider] = { ...before, ...own, settings };
    }
  }
  return merged;
}

/** What every tenant's documents say of limits and prices, by tenant; those that cannot be read say nothing. */
export function publishedTerms(
  documents: PolicySnapshot["providerConfigs"],
): ReadonlyMap<string, Readonly<Record<string, ConfiguredProvider>>> {
  const terms = new Map<string, Record<string, ConfiguredProvider>>();
  for (const { tenantId, content } of documents) {
    const own = terms.get(tenantId) ?? {};
    terms.set(tenantId, own);
    for (const [provider, one] of Object.entries(providersOf(content) ?? {}))
      own[provider] = { ...own[provider], ...(one as ConfiguredProvider) };
  }
  return terms;
}

function providersOf(content: Uint8Array): Readonly<Record<string, VendorDocument>> | null {
  try {
    const read = JSON.parse(new TextDecoder().decode(content)) as {
      format?: unknown;
      config?: { providers?: Record<string, VendorDocument> };
    };
    return read.format === FORMAT ? (read.config?.providers ?? null) : null;
  } catch {
    return null;
  }
}

/** Puts each version to use as it comes; while none does, the last one stays. */
export function watchPublished(
  vendors: Pick<Vendors, "configure">,
  registry: string,
  { instanceId, log, connect }: Pick<ServiceContext, "instanceId" | "log" | "connect">,
  clock: Clock,
  terms?: TermsBook,
): { close(): Promise<void> } {
  let last = Promise.resolve();
  const watch = new SnapshotWatch({
    clock,
    registry: connect("registry", registry),
    instanceId,
    log,
    take: {
      policy: ({ providerConfigs }) => {
        const found = publishedVendors(providerConfigs);
        if (typeof found === "string") return found;
        terms?.replace(publishedTerms(providerConfigs));
        last = last
          .then(() => vendors.configure(found))
          .catch((failure: unknown) => log.warn(describeFailure(failure), "providers cannot be configured"));
        return null;
      },
    },
    disk: null,
  });
  void watch.start();
  return {
    close: async () => {
      await watch.close();
      await last;
    },
  };
}
