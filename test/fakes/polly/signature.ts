/** AWS Signature Version 4 as its documentation describes the check ("Create a signed AWS API request"). */
import { createHash, createHmac } from "node:crypto";
import type { IncomingMessage } from "node:http";

export interface Signer {
  readonly keyId: string;
  readonly secret: string;
  readonly region: string;
  readonly service: string;
}

const sha256 = (data: string | Uint8Array): string => createHash("sha256").update(data).digest("hex");
const hmac = (key: string | Buffer, data: string): Buffer => createHmac("sha256", key).update(data).digest();

/** "" where the signature is right; else the exception that the vendor throws. */
export function signatureProblem(request: IncomingMessage, url: URL, body: Buffer, signer: Signer): string {
  const pattern =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([a-z0-9:;-]+), Signature=([0-9a-f]{64})$/;
  const found = pattern.exec(request.headers.authorization ?? "");
  if (found === null) return "MissingAuthenticationTokenException";
  const [, keyId = "", date = "", region = "", service = "", signed = "", signature = ""] = found;
  if (keyId !== signer.keyId) return "UnrecognizedClientException";
  const at = String(request.headers["x-amz-date"] ?? "");
  if (region !== signer.region || service !== signer.service || !at.startsWith(date))
    return "InvalidSignatureException";
  const names = signed.split(";");
  // Under HTTP/2 the host is a pseudo-header, and signed as such.
  if (!(names.includes("host") || names.includes(":authority")) || !names.includes("x-amz-date"))
    return "InvalidSignatureException";
  if (names.join(";") !== [...names].sort().join(";")) return "InvalidSignatureException";
  const headerOf = (name: string): string => String(request.headers[name] ?? "");
  const headers = names.map((name) => `${name}:${headerOf(name).trim().replace(/ +/g, " ")}\n`);
  const query = [...url.searchParams]
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .sort()
    .join("&");
  const canonical = [request.method, url.pathname, query, headers.join(""), signed, sha256(body)].join("\n");
  const scope = `${date}/${region}/${service}/aws4_request`;
  const toSign = ["AWS4-HMAC-SHA256", at, scope, sha256(canonical)].join("\n");
  const key = ["aws4_request"].reduce(
    (last, part) => hmac(last, part),
    hmac(hmac(hmac(`AWS4${signer.secret}`, date), region), service),
  );
  return hmac(key, toSign).toString("hex") === signature ? "" : "InvalidSignatureException";
}
