// A rolling digest for the hot path: two 32-bit lanes of multiply and xor-shift, no allocation. It finds divergence
// between two runs of the same code; it proves nothing against an adversary (for that: sha256.ts).

const scratchDouble = new Float64Array(1);
const scratchWords = new Uint32Array(scratchDouble.buffer);
scratchDouble[0] = 1;
const highWord = scratchWords[1] === 0 ? 0 : 1;
const lowWord = 1 - highWord;

// The high words of NaN patterns: no double that takes the long way through digestNumber carries the first two.
const tagInt = 0x7ff80001;
const tagString = 0x7ff80002;
const canonicalNanHigh = 0x7ff80000;

/** State of a rolling digest, two signed 32-bit integers; plain data, so that a snapshot can hold it. */
export interface Digest {
  a: number;
  b: number;
}

export function digestCreate(): Digest {
  return { a: 0x243f6a88 | 0, b: 0x85a308d3 | 0 };
}

/** Feeds any double, by its bits; -0 counts as 0 and every NaN as one. */
export function digestNumber(d: Digest, n: number): void {
  const int = n | 0;
  if (int === n) {
    mix(d, int);
    mix(d, tagInt);
    return;
  }
  if (Number.isNaN(n)) {
    mix(d, 0);
    mix(d, canonicalNanHigh);
    return;
  }
  scratchDouble[0] = n;
  mix(d, scratchWords[lowWord] as number);
  mix(d, scratchWords[highWord] as number);
}

/** Feeds a string by its UTF-16 code units, with its length, so that "ab","c" differs from "a","bc". */
export function digestString(d: Digest, s: string): void {
  mix(d, s.length);
  mix(d, tagString);
  let i = 0;
  for (; i + 1 < s.length; i += 2) mix(d, s.charCodeAt(i) | (s.charCodeAt(i + 1) << 16));
  if (i < s.length) mix(d, s.charCodeAt(i));
}

/** 16 lower-case hex digits of what was fed so far; the digest itself is unchanged and may go on. */
export function digestHex(d: Digest): string {
  return hex32(finish(d.a ^ Math.imul(d.b, 0x9e3779b1))) + hex32(finish(d.b ^ Math.imul(d.a, 0x85ebca77)));
}

function mix(d: Digest, word: number): void {
  let a = Math.imul(d.a ^ word, 0x85ebca6b);
  a = ((a << 13) | (a >>> 19)) ^ d.b;
  let b = Math.imul((d.b + word) | 0, 0xc2b2ae35);
  b = ((b << 17) | (b >>> 15)) + a;
  d.a = (Math.imul(a, 5) + 0x52dce729) | 0;
  d.b = (Math.imul(b, 5) + 0x38495ab5) | 0;
}

/** The finaliser of MurmurHash3: every bit of the state reaches every bit of the output. */
function finish(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Two digits a byte: `toString(16)` and padding cost more than the whole rest of a quiet step's digest. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hex32(word: number): string {
  const high = (HEX[word >>> 24] as string) + (HEX[(word >>> 16) & 255] as string);
  return high + (HEX[(word >>> 8) & 255] as string) + (HEX[word & 255] as string);
}
