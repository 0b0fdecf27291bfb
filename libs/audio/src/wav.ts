import { decodeAlaw, decodeMulaw } from "./g711.ts";
import { bytesToS16, clipS16, downmix, s16ToBytes } from "./pcm.ts";
import { resample } from "./resample.ts";

export type WavEncoding = "u8" | "s16" | "s24" | "s32" | "f32" | "mulaw" | "alaw";

export type WavErrorCode =
  | "empty"
  | "not_wav"
  | "too_large"
  | "fmt_missing"
  | "fmt_damaged"
  | "encoding_unsupported"
  | "rate_unsupported"
  | "channels_unsupported"
  | "data_missing"
  | "no_audio";

/** What is wrong with the file and what to do about it; the message holds both. */
export class WavError extends Error {
  override readonly name = "WavError";
  readonly code: WavErrorCode;
  readonly remedy: string;

  constructor(code: WavErrorCode, problem: string, remedy: string) {
    super(`${problem}. ${remedy}`);
    this.code = code;
    this.remedy = remedy;
  }
}

export interface Wav {
  /** 8000 to 48000. */
  rateHz: number;
  channels: 1 | 2;
  /** As stored; `samples` is always 16-bit. */
  encoding: WavEncoding;
  /** Samples per channel. */
  frames: number;
  /** Interleaved; wider formats are rounded, floats clipped. */
  samples: Int16Array;
  durationUs: number;
  /** The file promises more audio than it holds, or ends inside a sample; what there is was kept. */
  truncated: boolean;
}

const bytesMax = 512 * 1024 * 1024;
const chunksMax = 1024;
const rateMinHz = 8000;
const rateMaxHz = 48_000;
const bytesPerSample: Readonly<Record<WavEncoding, number>> = {
  u8: 1,
  s16: 2,
  s24: 3,
  s32: 4,
  f32: 4,
  mulaw: 1,
  alaw: 1,
};
const convert = "Convert it, e.g. `sox in.wav -r 16000 -b 16 -c 1 out.wav`";
/** Bytes 2 to 15 of every subformat id of WAVE_FORMAT_EXTENSIBLE that names an ordinary format tag. */
const guidTail = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

interface Format {
  encoding: WavEncoding;
  rateHz: number;
  channels: 1 | 2;
}

/**
 * Reads a RIFF WAV of 8 to 48 kHz, mono or stereo: PCM of 8, 16, 24 or 32 bit, 32-bit float, mu-law or A-law, also as
 * WAVE_FORMAT_EXTENSIBLE. A file cut off in its audio is read as far as it goes and marked `truncated`; a data length
 * of 0xFFFFFFFF (written by a stream) means "to the end". Throws WavError and nothing else.
 */
export function parseWav(bytes: Uint8Array): Wav {
  checkRiff(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let format: Format | undefined;
  let at = 12;
  for (let n = 0; n < chunksMax && at + 8 <= bytes.length; n++) {
    const id = ascii(bytes, at, 4);
    const size = view.getUint32(at + 4, true);
    const start = at + 8;
    if (id === "fmt ") format = readFormat(view, start, Math.min(size, bytes.length - start));
    if (id === "data") return readData(bytes, format, start, size);
    at = start + size + (size % 2);
  }
  if (format === undefined) {
    throw new WavError("fmt_missing", "The WAV has no `fmt ` chunk, so its format is unknown", exportAgain);
  }
  throw new WavError("data_missing", "The WAV has no `data` chunk, so it holds no audio", exportAgain);
}

const exportAgain = "Export the recording again as PCM WAV";

function checkRiff(bytes: Uint8Array): void {
  if (bytes.length === 0) throw new WavError("empty", "The file is empty (0 bytes)", "Record or copy it again");
  if (bytes.length > bytesMax) {
    throw new WavError("too_large", `The file has ${bytes.length} bytes, the limit is ${bytesMax}`, "Split it");
  }
  const head = ascii(bytes, 0, 4);
  if (head === "RIFX" || head === "RF64" || head === "FORM") {
    throw new WavError("not_wav", `The file is of kind ${head}, not a little-endian RIFF WAV`, convert);
  }
  if (bytes.length < 12 || head !== "RIFF" || ascii(bytes, 8, 4) !== "WAVE") {
    throw new WavError("not_wav", "The file is no WAV: it does not begin with RIFF…WAVE", convert);
  }
}

function readFormat(view: DataView, start: number, size: number): Format {
  if (size < 16) {
    throw new WavError("fmt_damaged", `The \`fmt \` chunk has ${size} of at least 16 bytes`, exportAgain);
  }
  let tag = view.getUint16(start, true);
  const channels = view.getUint16(start + 2, true);
  const rateHz = view.getUint32(start + 4, true);
  const blockAlign = view.getUint16(start + 12, true);
  const bits = view.getUint16(start + 14, true);
  if (tag === 0xfffe) tag = subFormat(view, start, size);
  const encoding = encodingOf(tag, bits);
  if (channels !== 1 && channels !== 2) {
    throw new WavError("channels_unsupported", `The WAV has ${channels} channels; 1 or 2 are read`, convert);
  }
  if (rateHz < rateMinHz || rateHz > rateMaxHz) {
    throw new WavError("rate_unsupported", `The WAV has ${rateHz} Hz; 8000 to 48000 are read`, convert);
  }
  if (blockAlign !== bytesPerSample[encoding] * channels) {
    const expected = bytesPerSample[encoding] * channels;
    const problem = `The \`fmt \` chunk contradicts itself: block align ${blockAlign}, expected ${expected}`;
    throw new WavError("fmt_damaged", problem, exportAgain);
  }
  return { encoding, rateHz, channels };
}

function subFormat(view: DataView, start: number, size: number): number {
  if (size < 40) {
    throw new WavError("fmt_damaged", `The extensible \`fmt \` chunk has ${size} of 40 bytes`, exportAgain);
  }
  if (guidTail.some((byte, i) => view.getUint8(start + 26 + i) !== byte)) {
    throw new WavError("encoding_unsupported", "The WAV's extensible subformat is unknown", convert);
  }
  return view.getUint16(start + 24, true);
}

function encodingOf(tag: number, bits: number): WavEncoding {
  if (tag === 1 && bits === 8) return "u8";
  if (tag === 1 && bits === 16) return "s16";
  if (tag === 1 && bits === 24) return "s24";
  if (tag === 1 && bits === 32) return "s32";
  if (tag === 3 && bits === 32) return "f32";
  if (tag === 7 && bits === 8) return "mulaw";
  if (tag === 6 && bits === 8) return "alaw";
  throw new WavError("encoding_unsupported", `The WAV's encoding (tag ${tag}, ${bits} bit) is not read`, convert);
}

function readData(bytes: Uint8Array, format: Format | undefined, start: number, size: number): Wav {
  if (format === undefined) {
    throw new WavError("fmt_missing", "The WAV's `data` chunk comes before any `fmt ` chunk", exportAgain);
  }
  const { encoding, rateHz, channels } = format;
  const available = bytes.length - start;
  const promised = size === 0xffffffff ? available : size;
  const blockBytes = bytesPerSample[encoding] * channels;
  const frames = Math.floor(Math.min(promised, available) / blockBytes);
  if (frames === 0) {
    throw new WavError("no_audio", `The WAV's \`data\` chunk holds no whole sample (${available} bytes)`, exportAgain);
  }
  const truncated = promised > available || promised % blockBytes !== 0;
  const samples = decode(bytes.subarray(start, start + frames * blockBytes), encoding);
  return { rateHz, channels, encoding, frames, samples, durationUs: Math.round((frames * 1e6) / rateHz), truncated };
}

function decode(data: Uint8Array, encoding: WavEncoding): Int16Array {
  if (encoding === "s16") return bytesToS16(data).slice();
  if (encoding === "mulaw") return decodeMulaw(data);
  if (encoding === "alaw") return decodeAlaw(data);
  const width = bytesPerSample[encoding];
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const out = new Int16Array(data.length / width);
  for (let i = 0; i < out.length; i++) out[i] = sampleAt(view, i * width, encoding);
  return out;
}

function sampleAt(view: DataView, at: number, encoding: "u8" | "s24" | "s32" | "f32"): number {
  switch (encoding) {
    case "u8":
      return (view.getUint8(at) - 128) << 8;
    case "s24":
      return clipS16(view.getInt16(at + 1, true) + view.getUint8(at) / 256);
    case "s32":
      return clipS16(view.getInt32(at, true) / 65536);
    case "f32":
      return clipS16(view.getFloat32(at, true) * 32768);
  }
}

function ascii(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}

/**
 * Writes 16-bit PCM. `samples` is interleaved when there are two channels.
 * Throws RangeError when they do not make whole frames.
 */
export function writeWav(samples: Int16Array, format: { rateHz: number; channels: 1 | 2 }): Uint8Array {
  if (samples.length % format.channels !== 0) {
    throw new RangeError(`${samples.length} samples do not make whole frames of ${format.channels} channels`);
  }
  const out = new Uint8Array(44 + samples.byteLength);
  const view = new DataView(out.buffer);
  const text = (at: number, value: string) => {
    for (let i = 0; i < value.length; i++) out[at + i] = value.charCodeAt(i);
  };
  text(0, "RIFF");
  view.setUint32(4, 36 + samples.byteLength, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, format.channels, true);
  view.setUint32(24, format.rateHz, true);
  view.setUint32(28, format.rateHz * format.channels * 2, true);
  view.setUint16(32, format.channels * 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, samples.byteLength, true);
  out.set(s16ToBytes(samples), 44);
  return out;
}

/** A parsed WAV in the runtime's own format: 16 kHz, mono, 16 bit. */
export async function wavTo16kMono(wav: Wav): Promise<Int16Array> {
  return resample(downmix(wav.samples, wav.channels), { inRateHz: wav.rateHz, outRateHz: 16_000 });
}
