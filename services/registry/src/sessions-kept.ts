/** How long each tenant's ended sessions are kept, by the configurations in force (F-116): `retention.sessions_days`. */
import { publishedTenantConfig } from "@rspp/spec/tenant/tenant-config";
import { ACTIVE_DOCUMENTS_MAX, type ActiveDocument, type ActiveDocuments } from "@rspp/store/active-documents";
import { PLATFORM_TENANT } from "@rspp/store/active-versions";
import type { SessionsKept } from "@rspp/store/session-store";

const dayMs = 86_400_000;
/** What cannot be read removes nothing. */
const foreverMs = 36_500 * dayMs;

export async function sessionsKept(documents: Pick<ActiveDocuments, "list">): Promise<readonly SessionsKept[]> {
  const found = await documents.list("tenant_config");
  const kept = found.flatMap(keptOf);
  // Cut off, the list may lack a tenant's own document, which may keep longer than the platform's.
  return found.length < ACTIVE_DOCUMENTS_MAX ? kept : kept.filter(({ tenantId }) => tenantId !== PLATFORM_TENANT);
}

function keptOf({ tenantId, kind, name, version, digest, content }: ActiveDocument): readonly SessionsKept[] {
  const config = publishedTenantConfig(content);
  const days = config === null ? foreverMs / dayMs : config.retention?.sessions_days;
  if (days === undefined) return [];
  const policy = `${kind}/${name}@${version}`;
  const reason = { policy, policy_tenant: tenantId, policy_digest: digest, sessions_days: days };
  return [{ tenantId, keepMs: days * dayMs, reason }];
}
