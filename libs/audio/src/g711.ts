import { createRequire } from "node:module";

interface Codec {
  decode(samples: Uint8Array): Int16Array;
  encode(samples: Int16Array): Uint8Array;
}

// The package's ES entry imports without file extensions, which Node refuses; its CommonJS build is sound.
const { alaw, mulaw } = createRequire(import.meta.url)("alawmulaw") as { alaw: Codec; mulaw: Codec };

const words = Uint8Array.from({ length: 256 }, (_, word) => word);
const mulawSamples = mulaw.decode(words);
const alawSamples = alaw.decode(words);

const MULAW_BIAS = 0x84;
const MULAW_CLIP = 32_635;

/** G.711 mu-law: one byte a sample, 8 kHz in telephony. Into `out`, as long as `samples`, where it is given. */
export function encodeMulaw(samples: Int16Array, out: Uint8Array = new Uint8Array(samples.length)): Uint8Array {
  for (let i = 0; i < samples.length; i++) {
    const sample = samples[i] as number;
    const level = Math.min(MULAW_CLIP, (sample < 0 ? -sample : sample) + MULAW_BIAS);
    // The highest bit is one of 7 to 14: that is the segment; the four bits below it are the step.
    const segment = 24 - Math.clz32(level);
    out[i] = ~((sample < 0 ? 0x80 : 0) | (segment << 4) | ((level >> (segment + 3)) & 0x0f));
  }
  return out;
}

/** Into `out`, as long as `bytes`, where it is given. */
export function decodeMulaw(bytes: Uint8Array, out: Int16Array = new Int16Array(bytes.length)): Int16Array {
  return decodeBy(mulawSamples, bytes, out);
}

/** G.711 A-law: one byte a sample, 8 kHz in telephony. */
export function encodeAlaw(samples: Int16Array): Uint8Array {
  return alaw.encode(samples);
}

/** Into `out`, as long as `bytes`, where it is given. */
export function decodeAlaw(bytes: Uint8Array, out: Int16Array = new Int16Array(bytes.length)): Int16Array {
  return decodeBy(alawSamples, bytes, out);
}

function decodeBy(samples: Int16Array, bytes: Uint8Array, out: Int16Array): Int16Array {
  for (let i = 0; i < bytes.length; i++) out[i] = samples[bytes[i] as number] as number;
  return out;
}
