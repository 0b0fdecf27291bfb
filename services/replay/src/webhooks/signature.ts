/** Signatures as Standard Webhooks has them: HMAC-SHA256 over `id.timestamp.body`, base64, one `v1,` for each secret. */
import { createHmac } from "node:crypto";

const prefix = "whsec_";
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** Of a key, as Standard Webhooks wants them. */
const keyBytes = { min: 24, max: 64 } as const;

/**
 * The keys of a secret's text: `whsec_` and base64 of 24 to 64 bytes; two or three with spaces between while one takes the
 * place of another. Null when it is not of that form.
 */
export function keysOf(secret: string): readonly Uint8Array[] | null {
  const words = secret.trim().split(/\s+/);
  if (words.length > 3) return null;
  const keys: Uint8Array[] = [];
  for (const word of words) {
    const text = word.startsWith(prefix) ? word.slice(prefix.length) : word;
    const key = Buffer.from(text, "base64");
    if (!base64.test(text) || key.length < keyBytes.min || key.length > keyBytes.max) return null;
    keys.push(key);
  }
  return keys;
}

/** @param wallMs of the attempt. */
export function signedHeaders(
  { id, body }: { readonly id: string; readonly body: string },
  keys: readonly Uint8Array[],
  wallMs: number,
): Readonly<Record<"webhook-id" | "webhook-timestamp" | "webhook-signature", string>> {
  const timestamp = String(Math.floor(wallMs / 1_000));
  const sign = (key: Uint8Array) => createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64");
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": keys.map((key) => `v1,${sign(key)}`).join(" "),
  };
}
