// SHA-256 (FIPS 180-4) in plain TypeScript: kernel.md §1 keeps node:crypto out of the kernel, and the browser's replay
// view runs the same code.

const roundConstants = new Int32Array([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
  0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
  0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
  0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
  0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
  0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
  0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
  0xc67178f2,
]);
const blockBytes = 64;
const lengthFieldBytes = 8;

// One message schedule for all hashes: the code is synchronous and never re-entered while it is in use.
const schedule = new Int32Array(64);
const utf8 = new TextEncoder();

/** A hash in progress. Feed it with {@link sha256Update}, close it with {@link sha256FinishHex}; then it is spent. */
export interface Sha256 {
  readonly words: Int32Array;
  readonly block: Uint8Array;
  blockUsed: number;
  totalBytes: number;
}

export function sha256Create(): Sha256 {
  const words = new Int32Array([
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
  ]);
  return { words, block: new Uint8Array(blockBytes), blockUsed: 0, totalBytes: 0 };
}

export function sha256Update(hash: Sha256, bytes: Uint8Array): void {
  hash.totalBytes += bytes.length;
  let at = 0;
  if (hash.blockUsed > 0) {
    at = Math.min(blockBytes - hash.blockUsed, bytes.length);
    hash.block.set(bytes.subarray(0, at), hash.blockUsed);
    hash.blockUsed += at;
    if (hash.blockUsed < blockBytes) return;
    compress(hash.words, hash.block, 0);
    hash.blockUsed = 0;
  }
  for (; at + blockBytes <= bytes.length; at += blockBytes) compress(hash.words, bytes, at);
  if (at < bytes.length) {
    hash.block.set(bytes.subarray(at));
    hash.blockUsed = bytes.length - at;
  }
}

/** Pads and closes the hash; 32 bytes. */
export function sha256Finish(hash: Sha256): Uint8Array {
  const { words, block } = hash;
  block[hash.blockUsed] = 0x80;
  block.fill(0, hash.blockUsed + 1);
  if (hash.blockUsed + 1 > blockBytes - lengthFieldBytes) {
    compress(words, block, 0);
    block.fill(0);
  }
  const view = new DataView(block.buffer);
  view.setUint32(56, Math.floor(hash.totalBytes / 2 ** 29));
  view.setUint32(60, (hash.totalBytes << 3) >>> 0);
  compress(words, block, 0);
  const out = new Uint8Array(32);
  const outView = new DataView(out.buffer);
  words.forEach((word, i) => {
    outView.setInt32(i * 4, word);
  });
  return out;
}

/** Like {@link sha256Finish}; 64 lower-case hex digits. */
export function sha256FinishHex(hash: Sha256): string {
  let hex = "";
  for (const byte of sha256Finish(hash)) hex += byte.toString(16).padStart(2, "0");
  return hex;
}

/** SHA-256 of `bytes`; 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  const hash = sha256Create();
  sha256Update(hash, bytes);
  return sha256Finish(hash);
}

/** SHA-256 of `bytes`; 64 lower-case hex digits. */
export function sha256Hex(bytes: Uint8Array): string {
  const hash = sha256Create();
  sha256Update(hash, bytes);
  return sha256FinishHex(hash);
}

/** SHA-256 of the UTF-8 form of `s` (a lone surrogate counts as U+FFFD); 64 lower-case hex digits. */
export function sha256Utf8Hex(s: string): string {
  return sha256Hex(utf8.encode(s));
}

function expandSchedule(bytes: Uint8Array, offset: number): void {
  const w = schedule;
  for (let i = 0; i < 16; i++) {
    const p = offset + i * 4;
    w[i] = (num(bytes[p]) << 24) | (num(bytes[p + 1]) << 16) | (num(bytes[p + 2]) << 8) | num(bytes[p + 3]);
  }
  for (let i = 16; i < 64; i++) {
    const x = num(w[i - 15]);
    const y = num(w[i - 2]);
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = (num(w[i - 16]) + s0 + num(w[i - 7]) + s1) | 0;
  }
}

function compress(words: Int32Array, bytes: Uint8Array, offset: number): void {
  expandSchedule(bytes, offset);
  let a = num(words[0]);
  let b = num(words[1]);
  let c = num(words[2]);
  let d = num(words[3]);
  let e = num(words[4]);
  let f = num(words[5]);
  let g = num(words[6]);
  let h = num(words[7]);
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + num(roundConstants[i]) + num(schedule[i])) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  words[0] = num(words[0]) + a;
  words[1] = num(words[1]) + b;
  words[2] = num(words[2]) + c;
  words[3] = num(words[3]) + d;
  words[4] = num(words[4]) + e;
  words[5] = num(words[5]) + f;
  words[6] = num(words[6]) + g;
  words[7] = num(words[7]) + h;
}

/** For the type checker: every index here is in range by construction. Inlined by the engine. */
function num(x: number | undefined): number {
  return x as number;
}
