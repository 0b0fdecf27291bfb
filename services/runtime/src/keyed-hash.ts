import { createHash, hash } from "node:crypto";
import { limits } from "./limits.ts";

const blockBytes = 64;
const hexChars = 16;

/**
 * HMAC-SHA-256 of a payload, cut to 16 hex digits (`kernel.md` §11: a bare hash of "yes" is no secret). Built on one-shot
 * hashes, since a frame arrives every 20 ms of every session and setting up an Hmac object costs more than hashing it.
 */
export function createKeyedHash(key: Uint8Array): (content: Uint8Array | string) => string {
  const short = key.length > blockBytes ? createHash("sha256").update(key).digest() : key;
  let inner = Buffer.alloc(blockBytes + 2_048);
  let view = inner.subarray(0, 0);
  const outer = Buffer.alloc(blockBytes + 32);
  for (let i = 0; i < blockBytes; i++) {
    inner[i] = (short[i] ?? 0) ^ 0x36;
    outer[i] = (short[i] ?? 0) ^ 0x5c;
  }
  return (content) => {
    const most = typeof content === "string" ? content.length * 3 : content.length;
    if (blockBytes + most > inner.length) {
      const grown = Buffer.alloc(blockBytes + Math.max(most, Math.min(2 * inner.length, limits.CHUNK_AUDIO_BYTES_MAX)));
      inner.copy(grown, 0, 0, blockBytes);
      inner = grown;
    }
    let bytes = content.length;
    if (typeof content === "string") bytes = inner.write(content, blockBytes, "utf8");
    else inner.set(content, blockBytes);
    // Frames are of one length: the view of the last one serves again.
    if (view.length !== blockBytes + bytes || view.buffer !== inner.buffer)
      view = inner.subarray(0, blockBytes + bytes);
    outer.write(hash("sha256", view, "binary"), blockBytes, 32, "latin1");
    return hash("sha256", outer, "hex").slice(0, hexChars);
  };
}
