/** One line of audit (F-091): who came, was refused, was cut off, came back, was given up. Holds no payload, no secret. */
export interface AuditEntry {
  kind: "opened" | "refused" | "waiting" | "resumed" | "adopted" | "given_up" | "closed" | "connection_closed";
  wallMs: number;
  /** "" before the token is known. */
  tenant: string;
  session: string;
  reason: string;
}
