/** Mu-law as it is, without decoding a whole packet where a look will do. */
import { decodeMulaw, encodeMulaw } from "@rspp/audio/g711";

/** Above about 900 of 32767: a voice, not the noise of a line. */
const LOUD = 0x30;

export function isLoud(packet: Uint8Array): boolean {
  for (const byte of packet) if ((~byte & 0x7f) >= LOUD) return true;
  return false;
}

/** The packet quieter, by 6 dB a step: what a short loss is filled with. */
export function fadedMulaw(packet: Uint8Array, step: number): Uint8Array {
  const samples = decodeMulaw(packet);
  for (let i = 0; i < samples.length; i++) samples[i] = (samples[i] ?? 0) >> step;
  return encodeMulaw(samples);
}
