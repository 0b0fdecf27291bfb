/** Who a session belongs to and what it is called there: session ids are unique within a tenant only. */
export interface SessionName {
  readonly tenantId: string;
  readonly sessionId: string;
}

/** Both as one string, a different one for each pair whatever characters they hold. Make it once per session, not per frame. */
export function sessionKey({ tenantId, sessionId }: SessionName): string {
  return `${tenantId.length}/${tenantId}/${sessionId}`;
}
