import { createRequire } from "node:module";

interface Codec {
  decode(samples: Uint8Array): Int16Array;
  encode(samples: Int16Array): Uint8Array;
}

// The package's ES entry imports without file extensions, which Node refuses; its CommonJS build is sound.
const { alaw, mulaw } = createRequire(import.meta.url)("alawmulaw") as { alaw: Codec; mulaw: Codec };

/** G.711 mu-law: one byte a sample, 8 kHz in telephony. */
export function encodeMulaw(samples: Int16Array): Uint8Array {
  return mulaw.encode(samples);
}

export function decodeMulaw(bytes: Uint8Array): Int16Array {
  return mulaw.decode(bytes);
}

/** G.711 A-law: one byte a sample, 8 kHz in telephony. */
export function encodeAlaw(samples: Int16Array): Uint8Array {
  return alaw.encode(samples);
}

export function decodeAlaw(bytes: Uint8Array): Int16Array {
  return alaw.decode(bytes);
}
