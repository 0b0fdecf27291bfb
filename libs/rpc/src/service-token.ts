/** The token that services of one platform share (config key `service_token`); see README.md, "Who may call". */
import { createHash, timingSafeEqual } from "node:crypto";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { rpcError } from "./errors.ts";

const charsMin = 16;
const charsMax = 512;
const tokensMax = 4;

/**
 * The tokens in a secret: one, or several with white space between while they are changed. The first is shown to others, all
 * are accepted.
 * @throws RpcError `config_invalid`; nothing of the secret is told.
 */
export function serviceTokensOf(secret: string, domain: string): readonly string[] {
  const tokens = secret.split(/\s+/).filter((token) => token !== "");
  const fits = tokens.length > 0 && tokens.length <= tokensMax && tokens.every(isFit);
  if (fits) return tokens;
  throw rpcError(ErrorReason.CONFIG_INVALID, {
    domain,
    metadata: { key: "service_token" },
    remedy: `Set ${charsMin} to ${charsMax} letters, digits or -._~+/= , e.g. by \`openssl rand -base64 32\`; at most ${tokensMax} of them.`,
  });
}

function isFit(token: string): boolean {
  return token.length >= charsMin && token.length <= charsMax && /^[A-Za-z0-9\-._~+/=]+$/.test(token);
}

/** Whether `shown` is one of `known`, in a time that tells nothing of them. */
export function isServiceToken(shown: string, known: readonly string[]): boolean {
  const digest = sha256(shown);
  // Every one is compared: which one fits is nobody's business either.
  return known.map((token) => timingSafeEqual(digest, sha256(token))).includes(true);
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
