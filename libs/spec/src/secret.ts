/**
 * A spec names secrets, it never holds them: `env:OPENAI_API_KEY`. What looks like a key is refused and is not printed
 * again in the error that refuses it.
 */

const shapes: readonly RegExp[] = [
  /\bsk-[A-Za-z0-9_-]{16,}/g,
  /\bAKIA[0-9A-Z]{16}\b/g,
  /\bgh[pousr]_[A-Za-z0-9]{20,}/g,
  /\bxox[abprs]-[A-Za-z0-9-]{10,}/g,
  /\bAIza[0-9A-Za-z_-]{30,}/g,
  /\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?/g,
  /-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----/g,
  /\bBearer\s+[A-Za-z0-9._~+/-]{16,}/gi,
];

const keyName =
  /(^|[_-])(api_?key|key|secret|token|password|passwd|credentials?|private_?key|access_?key|authorization)$/i;

export const SECRET_REMEDY = "name an environment variable instead, e.g. env:OPENAI_API_KEY";

/** A reference by name, e.g. `env:OPENAI_API_KEY`, `file:/run/secrets/key` or `mount:openai`. */
export function isSecretReference(text: string): boolean {
  return /^(env:[A-Z][A-Z0-9_]{0,127}|file:\/[\w./-]{1,250}|mount:[\w-][\w.-]{0,127})$/.test(text);
}

/** Whether the text has the shape of a known kind of key. */
export function looksSecret(text: string): boolean {
  return shapes.some((shape) => text.search(shape) >= 0);
}

/** Whether a field of this name is expected to hold a secret, e.g. `api_key`. */
export function namesSecret(key: string): boolean {
  return keyName.test(key);
}

/** The text with everything key-shaped replaced. */
export function maskSecrets(text: string): string {
  return shapes.reduce((masked, shape) => masked.replace(shape, "<hidden>"), text);
}

/** As `maskSecrets`, each character replaced by `*`, so that columns stay where they are. */
export function coverSecrets(text: string): string {
  return shapes.reduce((covered, shape) => covered.replace(shape, (found) => "*".repeat(found.length)), text);
}
