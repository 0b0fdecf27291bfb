/** What this adapter is given: who may come in, and where sessions are opened. */
import type { Result } from "@rspp/base/result";
import type { TokenClaims } from "@rspp/ports/session-opener";

export type TokenRefusal =
  /** Signed by the control plane, past its time. `claims` allow a session that is open to be resumed. */
  | { kind: "expired"; claims: TokenClaims | null }
  /** Altered, foreign, or no token at all. */
  | { kind: "invalid" };

export interface TokenVerifier {
  /** Never throws, never logs the token. */
  verify(token: string): Promise<Result<TokenClaims, TokenRefusal>>;
}

/** One line of audit (F-091): who came, was refused, was cut off, came back, was given up. Holds no payload, no secret. */
export interface AuditEntry {
  kind: "opened" | "refused" | "waiting" | "resumed" | "adopted" | "given_up" | "closed" | "connection_closed";
  wallMs: number;
  /** "" before the token is known. */
  tenant: string;
  session: string;
  reason: string;
}
