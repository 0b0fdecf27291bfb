/**
 * Keys to come back with. They carry a proof, so that an adapter that has not served the session knows one of its fleet: a
 * client whose adapter is gone comes back to any other (R4).
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { TokenClaims } from "@rspp/ports/session-opener";

export interface ResumeKeys {
  make(claims: TokenClaims): string;
  /** Whether an adapter with the same secret made the key for this session. */
  isOf(claims: TokenClaims, key: string): boolean;
}

const NONCE_BYTES = 18;
const PROOF_BYTES = 18;
/** Both in base64url. */
const KEY_CHARS = ((NONCE_BYTES + PROOF_BYTES) * 4) / 3;

/** `secret`: the same at all adapters of a fleet, e.g. the service token; asked for each time, since it may change. */
export function createResumeKeys(secret: () => string): ResumeKeys {
  const proofOf = ({ tenant, session, pipelineVersion }: TokenClaims, nonce: string): Buffer =>
    createHmac("sha256", `rspp-resume ${secret()}`)
      .update(JSON.stringify([tenant, session, pipelineVersion, nonce]))
      .digest()
      .subarray(0, PROOF_BYTES);
  return {
    make(claims) {
      const nonce = randomBytes(NONCE_BYTES).toString("base64url");
      return `${nonce}${proofOf(claims, nonce).toString("base64url")}`;
    },
    isOf(claims, key) {
      if (key.length !== KEY_CHARS) return false;
      const nonce = key.slice(0, (NONCE_BYTES * 4) / 3);
      const said = Buffer.from(key.slice(nonce.length), "base64url");
      return said.length === PROOF_BYTES && timingSafeEqual(said, proofOf(claims, nonce));
    },
  };
}
