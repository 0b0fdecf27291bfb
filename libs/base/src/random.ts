import { canonicalJson } from "./canonical-json.ts";
import { invariant } from "./invariant.ts";
import { sha256Utf8Hex } from "./sha256.ts";

const twoPow32 = 2 ** 32;
const twoPow53 = 2 ** 53;
const base32 = "abcdefghijklmnopqrstuvwxyz234567";
const idChars = 16;
const idCharsPerDraw = 6;

/** State of one stream (xoshiro128**), four unsigned 32-bit words; plain data, so that a snapshot can hold it. */
export interface RandomStream {
  s: [number, number, number, number];
}

/**
 * The stream of that name. Different seeds, epochs or names give unrelated streams, so that a successor never repeats
 * its predecessor's ids (kernel.md §1). Not for secrets.
 */
export function createStream(seed: string, epoch: number, name: string): RandomStream {
  invariant(Number.isSafeInteger(epoch) && epoch >= 0, "an epoch is a safe integer, not negative", epoch);
  const hex = sha256Utf8Hex(canonicalJson(["rspp.random/v1", seed, epoch, name]));
  const word = (i: number): number => Number.parseInt(hex.slice(i * 8, i * 8 + 8), 16);
  const s: RandomStream["s"] = [word(0), word(1), word(2), word(3)];
  invariant((s[0] | s[1] | s[2] | s[3]) !== 0, "a stream's state is not all zero");
  return { s };
}

/** The next unsigned 32-bit integer; advances the stream. */
export function nextU32(stream: RandomStream): number {
  const s = stream.s;
  const [s0, s1, s2, s3] = s;
  const scrambled = Math.imul(s1, 5);
  const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0;
  const t2 = s2 ^ s0;
  const t3 = s3 ^ s1;
  s[0] = (s0 ^ t3) >>> 0;
  s[1] = (s1 ^ t2) >>> 0;
  s[2] = (t2 ^ (s1 << 9)) >>> 0;
  s[3] = ((t3 << 11) | (t3 >>> 21)) >>> 0;
  return result;
}

/** The next double in [0, 1), with 53 random bits; draws twice. */
export function nextFloat(stream: RandomStream): number {
  const high = nextU32(stream) >>> 5;
  const low = nextU32(stream) >>> 6;
  return (high * 2 ** 26 + low) / twoPow53;
}

/** The next integer in [lo, hiInclusive], without bias. The range holds at most 2^32 integers. */
export function nextInt(stream: RandomStream, lo: number, hiInclusive: number): number {
  const span = hiInclusive - lo + 1;
  invariant(Number.isSafeInteger(lo) && Number.isSafeInteger(hiInclusive), "the ends of a range are safe integers", [
    lo,
    hiInclusive,
  ]);
  invariant(span >= 1 && span <= twoPow32, "a range holds 1 to 2^32 integers", [lo, hiInclusive]);
  const usable = twoPow32 - (twoPow32 % span);
  // Draws past the last whole multiple of the span would favour small values; less than half of all draws are redrawn.
  let draw = nextU32(stream);
  while (draw >= usable) draw = nextU32(stream);
  return lo + (draw % span);
}

/** The next id: `prefix`, "_", and 80 random bits as 16 lower-case base32 characters. */
export function nextId(stream: RandomStream, prefix: string): string {
  let id = `${prefix}_`;
  let bits = 0;
  for (let i = 0; i < idChars; i++) {
    if (i % idCharsPerDraw === 0) bits = nextU32(stream);
    id += base32.charAt(bits & 31);
    bits >>>= 5;
  }
  return id;
}
