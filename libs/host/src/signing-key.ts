/** The Ed25519 key a service signs with: by reference, or made once in the data directory. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomUUID,
} from "node:crypto";
import { chmod, link, mkdir, open, readFile, rename, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { secretSource } from "@rspp/store/secret";
import { osCode, StoreError } from "@rspp/store/store-error";

export interface SigningPair {
  /** Of the public half, so that equal keys have equal ids. */
  readonly keyId: string;
  readonly privateKey: KeyObject;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Where it was found; may be printed. */
  readonly reference: string;
}

export interface KeyPlace {
  /** `env:NAME`, `file:/path`, or empty: `<dataDir>/keys/<name>.pem`, made when it is not there. */
  readonly reference: string;
  readonly dataDir: string;
  readonly name: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** @throws StoreError `secret_missing`, `permission` or `invalid`, saying what to do; nothing of the key is told. */
export async function openSigningKey({ reference, dataDir, name, env }: KeyPlace): Promise<SigningPair> {
  if (reference !== "") {
    return pairOf((await secretSource(reference, env).read()).reveal(), reference);
  }
  const path = join(dataDir, "keys", `${name}.pem`);
  try {
    await makeOnce(path);
    await checkRights(path);
    return pairOf(await readFile(path, "utf8"), `file:${path}`);
  } catch (error) {
    if (error instanceof StoreError) throw error;
    const what = `The key ${path} cannot be made or read (${osCode(error) || "unknown"})`;
    throw new StoreError("permission", what, "Check the data directory and its rights", error);
  }
}

/**
 * Makes a new key in the data directory and puts it in the place of the old one, whole or not at all.
 * @throws StoreError `invalid` for a key by reference, which is changed where it is kept.
 */
export async function replaceSigningKey(place: KeyPlace): Promise<SigningPair> {
  if (place.reference !== "") {
    const what = `The key is kept elsewhere (${place.reference})`;
    throw new StoreError("invalid", what, "Change it there: it is taken up within seconds");
  }
  const path = join(place.dataDir, "keys", `${place.name}.pem`);
  const fresh = await writeFresh(path);
  await rename(fresh, path);
  return openSigningKey(place);
}

/** Whole or not at all, and never over another: of two that start at once both use the first one's. */
async function makeOnce(path: string): Promise<void> {
  if (await stat(path).catch(() => undefined)) return;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await chmod(dirname(path), 0o700);
  const fresh = await writeFresh(path);
  await link(fresh, path).catch((error: unknown) => {
    if (osCode(error) !== "EEXIST") throw error;
  });
  await unlink(fresh);
}

/** Beside `path`, for its owner alone. */
async function writeFresh(path: string): Promise<string> {
  const fresh = `${path}.${randomUUID()}`;
  const file = await open(fresh, "wx", 0o600);
  try {
    const { privateKey } = generateKeyPairSync("ed25519");
    await file.writeFile(privateKey.export({ type: "pkcs8", format: "pem" }));
    await file.sync();
  } finally {
    await file.close();
  }
  return fresh;
}

async function checkRights(path: string): Promise<void> {
  const { mode } = await stat(path);
  if ((mode & 0o077) === 0) return;
  throw new StoreError("permission", `Others may read the key ${path}`, `Run chmod 600 ${path}, and replace the key`);
}

function pairOf(pem: string, reference: string): SigningPair {
  const privateKey = privateKeyOf(pem);
  const x = privateKey === undefined ? undefined : createPublicKey(privateKey).export({ format: "jwk" }).x;
  if (privateKey?.asymmetricKeyType !== "ed25519" || x === undefined) {
    throw new StoreError(
      "invalid",
      `The key ${reference} is no Ed25519 private key in PEM`,
      "Make one with `openssl genpkey -algorithm ed25519`, or leave it out",
    );
  }
  const publicKey = new Uint8Array(Buffer.from(x, "base64url"));
  const keyId = createHash("sha256").update(publicKey).digest("base64url").slice(0, 22);
  return { keyId, privateKey, publicKey, reference };
}

function privateKeyOf(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}
