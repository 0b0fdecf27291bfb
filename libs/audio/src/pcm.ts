/** Plain PCM helpers. `s16` is signed 16-bit, little endian as bytes; `f32` is -1..1. */

/** Views bytes as samples without copying where alignment allows; a trailing odd byte is left out. */
export function bytesToS16(bytes: Uint8Array): Int16Array {
  const length = bytes.byteLength >> 1;
  if (bytes.byteOffset % 2 === 0) return new Int16Array(bytes.buffer, bytes.byteOffset, length);
  // Not `slice`: on a Buffer that copies nothing.
  const copy = new Uint8Array(bytes.subarray(0, length * 2));
  return new Int16Array(copy.buffer, copy.byteOffset, length);
}

/** Views samples as little-endian bytes, without copying. */
export function s16ToBytes(samples: Int16Array): Uint8Array {
  return new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
}

/** Rounds and clips to the 16-bit range; NaN becomes 0. */
export function clipS16(value: number): number {
  if (value >= 32767) return 32767;
  if (value <= -32768) return -32768;
  return Math.round(value) || 0;
}

export function s16ToF32(samples: Int16Array): Float32Array {
  const out = new Float32Array(samples.length);
  for (let i = 0; i < samples.length; i++) out[i] = (samples[i] ?? 0) / 32768;
  return out;
}

export function f32ToS16(samples: Float32Array): Int16Array {
  const out = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i++) out[i] = clipS16((samples[i] ?? 0) * 32768);
  return out;
}

/** Averages interleaved channels into one; a partial last frame is left out. One channel is returned as it is. */
export function downmix(samples: Int16Array, channels: number): Int16Array {
  if (channels === 1) return samples;
  const frames = Math.floor(samples.length / channels);
  const out = new Int16Array(frames);
  for (let i = 0; i < frames; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += samples[i * channels + c] ?? 0;
    out[i] = clipS16(sum / channels);
  }
  return out;
}

/** Interleaves equally long channels; the shorter one is padded with silence. */
export function interleave(left: Int16Array, right: Int16Array): Int16Array {
  const frames = Math.max(left.length, right.length);
  const out = new Int16Array(frames * 2);
  for (let i = 0; i < frames; i++) {
    out[i * 2] = left[i] ?? 0;
    out[i * 2 + 1] = right[i] ?? 0;
  }
  return out;
}

/** Root mean square on the scale 0..1; 0 for no samples. */
export function rms(samples: Int16Array): number {
  if (samples.length === 0) return 0;
  let sum = 0;
  for (let i = 0; i < samples.length; i++) {
    const value = samples[i] ?? 0;
    sum += value * value;
  }
  return Math.sqrt(sum / samples.length) / 32768;
}

/** Level in dB relative to full scale; -120 at and below that. */
export function dbfs(level: number): number {
  return level <= 1e-6 ? -120 : 20 * Math.log10(level);
}
