/** Certificates made on the spot, for localhost and 127.0.0.1: a key in the repository would be one too many. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";

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

interface Made {
  /** PEM texts. */
  readonly cert: string;
  readonly key: string;
}

/** Signs certificates of others, by {@link issuedBy}. */
export interface Authority extends Made {
  readonly name: string;
  readonly privateKey: KeyObject;
}

interface Subject {
  readonly name: string;
  readonly issuer: { readonly name: string; readonly privateKey: KeyObject } | null;
  readonly serial: number;
}

function make({ name, issuer, serial }: Subject): Authority {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const utc = (text: string): Buffer => der(0x17, Buffer.from(text));
  const named = (text: string): Buffer =>
    der(0x30, der(0x31, der(0x30, der(0x06, [0x55, 0x04, 0x03]), der(0x0c, Buffer.from(text)))));
  const names = der(0x30, der(0x82, Buffer.from("localhost")), der(0x87, [127, 0, 0, 1]));
  const isAuthority = issuer === null ? [extension(basicConstraints, der(0x30, der(0x01, [0xff])))] : [];
  const extensions = der(0x30, extension(subjectAltName, names), ...isAuthority);
  const body = der(
    0x30,
    der(0xa0, der(0x02, [2])),
    der(0x02, [serial]),
    ecdsaWithSha256,
    named(issuer?.name ?? name),
    der(0x30, utc("200101000000Z"), utc("491231235959Z")),
    named(name),
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, extensions),
  );
  const signature = sign("sha256", body, issuer?.privateKey ?? privateKey);
  const bytes = der(0x30, body, ecdsaWithSha256, der(0x03, [0], signature));
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  const cert = `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
  return { name, privateKey, cert, key: privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}

/** The certificate is its own authority. */
export function selfSigned(): Made {
  const { cert, key } = make({ name: "localhost", issuer: null, serial: 1 });
  return { cert, key };
}

export function authority(name: string): Authority {
  return make({ name, issuer: null, serial: 1 });
}

/** `serial` tells one certificate of a name from the next; up to 127. */
export function issuedBy(issuer: Authority, name: string, serial: number): Made {
  const { cert, key } = make({ name, issuer, serial });
  return { cert, key };
}
