import type { SessionKey } from "@rspp/store/state-store";

/** The one name of a session in grants and floors: tenants may choose the same session ids, and `/` may stand in both. */
export function sessionName({ tenantId, sessionId }: SessionKey): string {
  return `${encodeURIComponent(tenantId)}/${encodeURIComponent(sessionId)}`;
}

/** Undefined for whatever {@link sessionName} did not make. */
export function sessionKeyOf(name: string): SessionKey | undefined {
  const [tenant, session, ...more] = name.split("/");
  if (!tenant || !session || more.length > 0) return undefined;
  try {
    return { tenantId: decodeURIComponent(tenant), sessionId: decodeURIComponent(session) };
  } catch {
    return undefined;
  }
}
