/** A certificate made on the spot, for localhost and 127.0.0.1, signed by itself: a key in the repository would be one too many. */
import { generateKeyPairSync, sign } from "node:crypto";

function der(tag: number, ...parts: (Buffer | number[])[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const { length } = body;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}

const ecdsaWithSha256 = der(0x30, der(0x06, [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));
const subjectAltName = 0x11;
const basicConstraints = 0x13;

function extension(id: number, value: Buffer): Buffer {
  return der(0x30, der(0x06, [0x55, 0x1d, id]), der(0x04, value));
}

/** PEM texts; the certificate is its own authority. */
export function selfSigned(): { cert: string; key: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const utc = (text: string): Buffer => der(0x17, Buffer.from(text));
  const commonName = der(0x30, der(0x06, [0x55, 0x04, 0x03]), der(0x0c, Buffer.from("localhost")));
  const name = der(0x30, der(0x31, commonName));
  const names = der(0x30, der(0x82, Buffer.from("localhost")), der(0x87, [127, 0, 0, 1]));
  const isAuthority = der(0x30, der(0x01, [0xff]));
  const extensions = der(0x30, extension(subjectAltName, names), extension(basicConstraints, isAuthority));
  const body = der(
    0x30,
    der(0xa0, der(0x02, [2])),
    der(0x02, [1]),
    ecdsaWithSha256,
    name,
    der(0x30, utc("200101000000Z"), utc("491231235959Z")),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, extensions),
  );
  const bytes = der(0x30, body, ecdsaWithSha256, der(0x03, [0], sign("sha256", body, privateKey)));
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  const cert = `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
  return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}
